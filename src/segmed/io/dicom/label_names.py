"""Names of segments and structures as those of labels, but for names that tell who the patient is."""

import re
from collections.abc import Iterator, MutableSequence, Sequence
from dataclasses import dataclass

from segmed.io.dicom.headers import Dataset

PEOPLE = (
    "PatientName", "PatientBirthName", "PatientMotherBirthName", "OtherPatientNames", "ResponsiblePerson",
    "ReferringPhysicianName", "PerformingPhysicianName", "PhysiciansOfRecord", "OperatorsName", "ContentCreatorName",
)  # fmt: skip
"""Attributes that hold names, of which each word tells, but for single Latin letters."""
NUMBERS = ("PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber", "StudyID", "PatientTelephoneNumbers")
"""Attributes that tell as a whole, however they are punctuated, and by their longer numbers."""
SHORTEST_WORD, SHORTEST_NUMBER = 2, 4


@dataclass(frozen=True)
class LabelName:
    """The name of a label; `withheld` says that it stands for one that holds something of the patient's header."""

    name: str
    withheld: bool = False


def label_name(dataset: Dataset, stored: object, fallback: str) -> LabelName:
    """The name that a segment or structure has in a mask's header, or `fallback` where it has none that may be told.

    A name is withheld that holds a word of a name in the mask's own header, or its patient's identifier or birth date.
    What else somebody has typed into it cannot be known.
    """
    name = str(stored or "").strip()
    words = {word.casefold() for word in re.findall(r"[^\W\d_]+", name)}
    people = {word.casefold() for key in PEOPLE for word in re.findall(r"[^\W\d_]+", _text(dataset, key))}
    plain = _plain(name)
    values = [text for key in NUMBERS for text in _text(dataset, key).split("\\")]
    numbers = {*map(_plain, values), *(digits for text in values for digits in re.findall(r"\d+", text))}
    numbers |= set(_days(_text(dataset, "PatientBirthDate")))
    tells = any(len(word) >= SHORTEST_WORD for word in words & people)
    tells = tells or any(not word.isascii() and word in name.casefold() for word in people)
    tells = tells or any(len(number) >= SHORTEST_NUMBER and number in plain for number in numbers)
    return LabelName(fallback, withheld=True) if tells else LabelName(name or fallback)


def segment_name(dataset: Dataset, segment: Dataset) -> LabelName:
    """Of a segmentation: its label, else its number."""
    return label_name(dataset, segment.get("SegmentLabel"), str(segment.SegmentNumber))


def structure_name(dataset: Dataset, roi: Dataset) -> LabelName:
    """Of a structure set: its name, else one by its number."""
    return label_name(dataset, roi.get("ROIName"), f"structure {roi.ROINumber}")


def withheld_numbers(dataset: Dataset) -> tuple[int, ...]:
    """The segments or structures of a mask whose names are withheld, by their numbers."""
    segments = {int(each.SegmentNumber): segment_name(dataset, each) for each in dataset.get("SegmentSequence") or ()}
    rois = dataset.get("StructureSetROISequence") or ()
    told = segments | {int(each.ROINumber): structure_name(dataset, each) for each in rois}
    return tuple(number for number, each in told.items() if each.withheld)


def said_of_withheld(numbers: Sequence[int]) -> str:
    """What to say of them."""
    return (
        f"the name of segment {', '.join(map(str, numbers))} holds something of the patient's header, so its number "
        "stands for it. Rename it, as in other masks."
    )


def _days(date: str) -> Iterator[str]:
    """A date of a header, yyyymmdd, with the day or the month first."""
    if re.fullmatch(r"\d{8}", date):
        year, month, day = date[:4], date[4:6], date[6:]
        yield from (day + month + year, month + day + year)


def _text(dataset: Dataset, key: str) -> str:
    value = dataset.get(key)  # a name is iterable too, letter by letter
    return "\\".join(map(str, value)) if isinstance(value, MutableSequence) else str(value or "")


def _plain(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())
