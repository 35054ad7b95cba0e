"""nnU-Net's raw data and the Medical Segmentation Decathlon's: `imagesTr`, `labelsTr` and `dataset.json`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.reading import read_json
from segmed.core.stacking import Plane
from segmed.data.layouts.volume_listing import (
    PatientVolumeFiles,
    by_sequence,
    list_volumes,
    masks_by_name,
    paired,
    volumes_below,
)
from segmed.data.listing import Findings, Listing
from segmed.io.volumes import VOLUME_SUFFIXES

DESCRIPTION = "dataset.json"
WHAT = "a dataset.json of nnU-Net or the Medical Segmentation Decathlon, with labels"

WHOLE = re.compile(r"[0-9]{1,9}")
"""A value of a label, in digits."""


@dataclass(frozen=True)
class _Description:
    """What we take of a `dataset.json`; the Decathlon calls channel names modality."""

    labels: dict[str, int | str | list[int]]
    file_ending: str = ".nii.gz"
    channel_names: dict[str, str] | None = None


def holds_nnunet(root: Path) -> bool:
    """Whether `imagesTr` and `dataset.json` lie in a folder."""
    return (root / DESCRIPTION).is_file() and (root / "imagesTr").is_dir()


def list_nnunet(
    root: Path, labels: LabelMap | None, patient_regex: str | None = None, plane: Plane = "acquired"
) -> Listing:
    """List `imagesTr` with `labelsTr`, labels as `dataset.json` names them; `imagesTs` is left out.

    In nnU-Net's data the sequences of `X` are `X_0000`, `X_0001`, …; in the Decathlon's a file is a volume.
    """
    path = root / DESCRIPTION
    described = read_json(path, _Description, what=WHAT, remedy="Correct it.")
    if described.file_ending.lower() not in VOLUME_SUFFIXES:
        raise DataError(
            f"{path}: file_ending {described.file_ending} is not read in this layout, expected one of "
            f"{', '.join(VOLUME_SUFFIXES)}. Convert the volumes, or put images of single slices in images/ and masks/."
        )
    findings = Findings()
    images = by_sequence(root / "imagesTr", volumes_below(root / "imagesTr"), findings)
    masks = masks_by_name(root / "labelsTr", findings)
    if (tests := root / "labelsTs").is_dir() and (others := volumes_below(tests)):
        text = (
            f"{len(others)} masks of imagesTs are left out: a test set of its own. Predict imagesTs, then score with "
            "`segmed compare ours=MASKS --references labelsTs`."
        )
        findings.note("test-set", tests, text)
    found = [PatientVolumeFiles(files) for files in paired(images, masks, findings, "labelsTr")]
    count = len(described.channel_names or ())
    if count and found and len(found[0].files.images) != count:
        text = f"names {count} channels, but volumes have {len(found[0].files.images)} files. Correct one."
        findings.error("channels", path, text)
    return list_volumes(
        root, found, findings, labels=labels or labels_of(path, described.labels), patient_regex=patient_regex,
        plane=plane,
    )  # fmt: skip


def labels_of(path: Path, described: Mapping[str, int | str | list[int]]) -> LabelMap:
    """The labels of a `dataset.json`: nnU-Net's `{"liver": 1}` or the Decathlon's `{"1": "liver"}`.

    Raises:
        DataError: Names the file, and what is no name with a value of 0 to 255 of its own.
    """
    values: dict[str, int] = {}
    for name, value in described.items():
        if isinstance(value, list):
            raise DataError(
                f"{path}: label {name!r} is a region of several values, {value}. Regions are not read: name the values "
                "with --labels, such as 'background=0,core=1,oedema=2'."
            )
        text, word = (str(value), name) if WHOLE.fullmatch(str(value)) else (name, str(value))
        if WHOLE.fullmatch(text) is None or int(text) > 255:
            raise DataError(
                f"{path}: label {name!r} with value {value!r}, expected a name and a whole number of 0 to 255. "
                "Correct it."
            )
        number = int(text)
        if word in values:
            raise DataError(f"{path}: label {word!r} has values {values[word]} and {number}. Give each one name.")
        if word == "ignore":
            raise DataError(f"{path}: has a label to ignore ({number}), which is not read. Say --labels without it.")
        values[word] = number
    background = next((word for word, number in values.items() if number == 0), None)
    if background is None or len(values) < 2:
        raise DataError(f"{path}: labels need a background of 0 and at least one more. Correct them.")
    ordered = sorted((number, word) for word, number in values.items() if number)
    try:
        return LabelMap(tuple(word for _, word in ordered), (0, *(number for number, _ in ordered)))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
