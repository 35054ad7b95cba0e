"""Folders of volumes: `images/` beside `masks/` or `labels/`, by patient or not, or both in each patient's folder."""

from collections.abc import Iterator
from pathlib import Path

from segmed.core.labels import LabelMap
from segmed.core.records import VolumeFiles
from segmed.core.stacking import Plane
from segmed.core.wording import plural
from segmed.data.layouts.volume_listing import (
    LABELS,
    PatientVolumeFiles,
    by_sequence,
    list_volumes,
    masks_by_name,
    paired,
    volumes_below,
)
from segmed.data.listing import Findings, Listing, natural_key
from segmed.data.names import is_hidden, is_slice

MASKS = ("masks", "labels")


def holds_volume_folder(root: Path) -> bool:
    """Whether there are volumes in `root/images`, or in `images/` of folders in `root`."""
    return bool(_volumes_in_images(root)) or any(True for _ in _patients(root))


def has_masks(root: Path) -> bool:
    """Whether masks lie beside the images."""
    places = [root, *_patients(root)]
    return any((place / name).is_dir() for place in places for name in MASKS)


def list_volume_folder(
    root: Path, labels: LabelMap | None, patient_regex: str | None = None, plane: Plane = "acquired"
) -> Listing:
    """List the volumes of `root/images` with the masks of the same paths in `root/masks` or `root/labels`, where
    `_mask` or `_seg` may be added; or `images` and `masks` in each folder of `root`, which is a patient then.

    Images named `X_0000`, `X_0001` are sequences of X. The first folder below `images` is the patient.
    """
    findings = Findings()
    if (root / "images").is_dir():
        found = [PatientVolumeFiles(files, _folder_of(files)) for files in _pairs(root, findings)]
        found = found if all(each.patient for each in found) else [PatientVolumeFiles(each.files) for each in found]
    else:
        found = [
            PatientVolumeFiles(_moved(files, patient.name), patient.name)
            for patient in _patients(root)
            for files in _pairs(patient, findings)
        ]
    return list_volumes(root, found, findings, labels=labels or LABELS, patient_regex=patient_regex, plane=plane)


def _pairs(root: Path, findings: Findings) -> Iterator[VolumeFiles]:
    """The volumes of one `images` folder with their masks."""
    folder = root / "images"
    others = [path for path in sorted(folder.rglob("*")) if is_slice(path) and not is_hidden(path, folder)]
    if others:
        among = f"{plural(len(others), 'image')} among volumes"
        text = f"{among}, such as {others[0].name}. Keep them in folders of their own."
        findings.error("mixed-formats", root / "images", text)
    there = [name for name in MASKS if (root / name).is_dir()]
    if len(there) > 1:
        findings.error("two-mask-folders", root / there[1], f"besides {there[0]}/. Keep one of them.")
    where = there[0] if there else MASKS[0]
    images = by_sequence(root / "images", _volumes_in_images(root), findings)
    yield from paired(images, masks_by_name(root / where, findings), findings, where)


def _volumes_in_images(root: Path) -> list[Path]:
    return volumes_below(root / "images") if (root / "images").is_dir() else []


def _patients(root: Path) -> list[Path]:
    folders = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    return sorted((path for path in folders if _volumes_in_images(path)), key=lambda path: natural_key(path.name))


def _folder_of(files: VolumeFiles) -> str | None:
    return files.name.split("/")[0] if "/" in files.name else None


def _moved(files: VolumeFiles, patient: str) -> VolumeFiles:
    """The volume under its patient's name, which names in other patients' folders may share."""
    name = patient if files.name == patient else f"{patient}/{files.name}"
    return VolumeFiles(name, files.images, files.mask)
