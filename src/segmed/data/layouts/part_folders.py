"""`train/`, `val/` and `test/`, each with `images/` beside `masks/`: a folder for each part of a split."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from segmed.core.labels import LabelMap
from segmed.core.records import Record, SliceDataset
from segmed.data.layouts.folder import list_folder
from segmed.data.listing import Finding, Findings, Listing, grouped, in_order
from segmed.data.names import composed, is_hidden
from segmed.io.formats import IMAGE_SUFFIXES

PARTS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
"""What folders of parts are called, in any case."""


def holds_part_folders(root: Path) -> bool:
    """Whether there is more than one such folder with images of slices."""
    return len([path for path in _parts(root) if _has_images(path)]) > 1


def has_masks(root: Path) -> bool:
    """Whether masks lie beside the images of any part."""
    return any((part / "masks").is_dir() for part in _parts(root))


def list_part_folders(root: Path, labels: LabelMap, patient_regex: str | None = None) -> Listing:
    """List every part as `list_folder` does, slices named with the part, which is the column `split`.

    `patient_regex` looks at the stem alone, so that a patient of two parts is one, and a leak is found.
    """
    findings, records = list[Finding](), list[tuple[str, Record]]()
    for part in _parts(root):
        listing = list_folder(part, labels)
        findings += listing.findings
        records += [(composed(part.name), record) for record in listing.dataset.records]
    parts = {record.image: part for part, record in records}
    listed, own = [record for _, record in records], Findings()
    if patient_regex is not None:
        listed = grouped(listed, patient_regex, own)
    named = [_within(parts[record.image], record, told=patient_regex is not None) for record in listed]
    columns: Mapping[str, Mapping[str, str]] = {"split": {record.slice_id: parts[record.image] for record in named}}
    dataset = SliceDataset(
        root.resolve().name, root, in_order(named), labels, patients_known=patient_regex is not None, columns=columns
    )
    return Listing(dataset, (*findings, *own.found))


def _parts(root: Path) -> list[Path]:
    """The folders of parts, in the order of `PARTS`."""
    found = [path for path in root.iterdir() if path.is_dir() and path.name.lower() in PARTS] if root.is_dir() else []
    return sorted(found, key=lambda path: PARTS.index(path.name.lower()))


def _has_images(part: Path) -> bool:
    folder = part / "images"
    return folder.is_dir() and any(
        path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path, folder) for path in folder.iterdir()
    )


def _within(part: str, record: Record, *, told: bool) -> Record:
    slice_id = f"{part}/{record.slice_id}"
    return replace(record, slice_id=slice_id, patient=record.patient if told else slice_id)
