"""Who is a patient, where a folder does not say: names that ask, and a user's word that each image is one."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.records import SliceDataset

NUMBERED = re.compile(r"^(?P<name>.+?)[ _.-]+[A-Za-z]*(?P<number>\d+)$")
"""`p01_003`, `p01-slice003`: a name and a number, as slices of one patient are called."""


def alike(slice_ids: Iterable[str]) -> tuple[str, str] | None:
    """The first two slices that differ in their number alone, so that they may be slices of one patient."""
    first: dict[str, str] = {}
    for slice_id in slice_ids:
        match = NUMBERED.match(slice_id)
        if match and first.setdefault(match["name"], slice_id) != slice_id:
            return first[match["name"]], slice_id
    return None


def require_told(dataset: SliceDataset) -> None:
    """Raise `DataError` where patients are not known though names of images look as if they told them."""
    if dataset.patients_known:
        return
    require_unlike(dataset.path, (record.slice_id for record in dataset.records if record.source is None))
    pair = alike(dict.fromkeys(record.volume for record in dataset.records if record.source is not None))
    if pair is not None:
        raise DataError(
            f"{dataset.path}: {pair[0]} and {pair[1]} look like volumes of one patient. Say who the patient is with "
            "--patient-regex, such as '^(.+)_[0-9]+$', or say --each-image-is-a-patient."
        )


def require_unlike(path: Path, slice_ids: Iterable[str]) -> None:
    """Raise `DataError` where two of the slices at `path`, of patients who are not known, may be slices of one."""
    pair = alike(slice_ids)
    if pair is not None:
        raise DataError(
            f"{path}: {pair[0]} and {pair[1]} look like slices of one patient. Say who the patient is with "
            "--patient-regex, such as '^(.+)_(?P<slice>[0-9]+)$', or say --each-image-is-a-patient."
        )


def each_image_a_patient(dataset: SliceDataset) -> SliceDataset:
    """The data set on the user's word that no two of its images are of one patient.

    Raises `DataError` where the data set says itself who the patients are.
    """
    if dataset.patients_known:
        raise DataError(
            f"{dataset.path}: patients are known already, so --each-image-is-a-patient says nothing. Leave it out."
        )
    return replace(dataset, patients_known=True)
