"""Names of segments and structures as those of labels, but for names that tell who the patient is."""

import re
from collections.abc import Iterator, MutableSequence, Sequence
from dataclasses import dataclass

from segmed.core.identity import NOBODY, Identity, plain
from segmed.io.dicom.headers import Dataset

PEOPLE = (
    "PatientName", "PatientBirthName", "PatientMotherBirthName", "OtherPatientNames", "ResponsiblePerson",
    "ReferringPhysicianName", "PerformingPhysicianName", "PhysiciansOfRecord", "OperatorsName", "ContentCreatorName",
)  # fmt: skip
"""Attributes that hold names, of which each word tells, but for single Latin letters."""
NUMBERS = ("PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber", "StudyID", "PatientTelephoneNumbers")
"""Attributes that tell as a whole, however they are punctuated, and by their longer numbers."""


@dataclass(frozen=True)
class LabelName:
    """The name of a label; `withheld` says that it stands for one that holds something of the patient's header."""

    name: str
    withheld: bool = False


def identity_of(dataset: Dataset) -> Identity:
    """What a header says of people."""
    words = {word.casefold() for key in PEOPLE for word in re.findall(r"[^\W\d_]+", _text(dataset, key))}
    values = [text for key in NUMBERS for text in _text(dataset, key).split("\\")]
    numbers = {*map(plain, values), *(digits for text in values for digits in re.findall(r"\d+", text))}
    numbers |= set(_days(_text(dataset, "PatientBirthDate")))
    return Identity(frozenset(words), frozenset(numbers))


def label_name(known: Identity, stored: object, fallback: str) -> LabelName:
    """The name that a segment or structure has in a mask's header, or `fallback` where it has none that may be told.

    A name is withheld that holds a word of a name in the mask's header or in that of its image, or the patient's
    identifier or birth date there. What else somebody has typed into it cannot be known.

    Args:
        known: Of the mask's header, and of its image's where that is at hand.
        stored: The name in the header.
        fallback: What stands for it.
    """
    name = str(stored or "").strip()
    return LabelName(fallback, withheld=True) if known.is_in(name) else LabelName(name or fallback)


def segment_names(dataset: Dataset, image: Identity = NOBODY) -> dict[int, LabelName]:
    """Of the segments of a segmentation, by their numbers: the label, else the number. Background is none."""
    known = identity_of(dataset) | image
    segments = [each for each in dataset.get("SegmentSequence") or () if int(each.SegmentNumber) > 0]
    return {
        int(each.SegmentNumber): label_name(known, each.get("SegmentLabel"), str(each.SegmentNumber))
        for each in segments
    }


def structure_names(dataset: Dataset, image: Identity = NOBODY) -> dict[int, LabelName]:
    """Of the structures of a structure set, by their numbers: the name, else one by the number."""
    known = identity_of(dataset) | image
    rois = dataset.get("StructureSetROISequence") or ()
    return {int(each.ROINumber): label_name(known, each.get("ROIName"), f"structure {each.ROINumber}") for each in rois}


def withheld_numbers(dataset: Dataset, image: Identity = NOBODY) -> tuple[int, ...]:
    """The segments or structures of a mask whose names are withheld, by their numbers."""
    told = segment_names(dataset, image) | structure_names(dataset, image)
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
