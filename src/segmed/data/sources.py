"""Open a data set of any known layout as records; no pixel is read."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from segmed.core.errors import DataError
from segmed.core.escaping import shortened_text
from segmed.core.labels import Colour, LabelMap, StoredValue
from segmed.core.records import SliceDataset
from segmed.core.stacking import Plane
from segmed.data.layouts.coco import holds_coco, is_coco, list_coco, reads_as_coco
from segmed.data.layouts.dicom_studies import holds_dicom_studies, list_dicom_studies
from segmed.data.layouts.fairseg import holds_fairseg, holds_fairseg_keys, list_fairseg
from segmed.data.layouts.folder import list_folder, other_labels
from segmed.data.layouts.lgg import LABELS, holds_lgg, holds_lgg_pairs, list_lgg
from segmed.data.layouts.manifest import list_manifest
from segmed.data.layouts.nnunet import holds_nnunet, list_nnunet
from segmed.data.layouts.part_folders import has_masks as masks_in_parts
from segmed.data.layouts.part_folders import holds_part_folders, list_part_folders
from segmed.data.layouts.sequences import holds_sequences, list_sequences
from segmed.data.layouts.volume_folder import has_masks, holds_volume_folder, list_volume_folder
from segmed.data.listing import Findings, Listing, alike_patients, find_own_masks, require_no_errors
from segmed.data.names import shown, unread
from segmed.io.formats import IMAGE_FORMATS

LAYOUTS = (
    "a folder with images/ and masks/ of images or of volumes, or of images in each of train/, val/ and test/, "
    "nnU-Net's or the Decathlon's imagesTr/ with dataset.json, a folder for each volume with a file a sequence "
    "(BraTS), the Kaggle LGG layout, FairSeg's data_*.npz, images with COCO's annotations, a folder of DICOM "
    "studies, or a manifest (CSV or JSON)"
)
MANIFESTS = ("manifest.csv", "manifest.json")
Layout = Literal["manifest", "nnunet", "volumes", "folder", "parts", "fairseg", "sequences", "lgg", "dicom", "coco"]


@dataclass(frozen=True)
class Reading:
    """How a data set is read: what is not given is as the layout has it.

    Args:
        labels: How masks store labels.
        patient_regex: Finds the patient in names.
        plane: How volumes are cut into slices.
    """

    labels: LabelMap | None = None
    patient_regex: str | None = None
    plane: Plane = "acquired"


@dataclass(frozen=True)
class LayoutKind:
    """One layout of folders.

    Args:
        name: What it is called here.
        is_here: Whether names of files in a folder say so.
        holds_pairs: Whether it is sure, for files of another kind may be named alike: `scan_1.tif` in a folder of
            images, or masks that `predict` wrote.
        list: Lists a folder.
        tells_patients: Whether it says itself who the patients are.
    """

    name: Layout
    is_here: Callable[[Path], bool]
    holds_pairs: Callable[[Path], bool]
    list: Callable[[Path, Reading], Listing]
    tells_patients: bool = False


def _folder_with_files(path: Path, how: Reading) -> Listing:
    listing = list_folder(path, how.labels or LabelMap(), how.patient_regex)
    if listing.dataset.records or listing.findings:
        return listing
    raise DataError(f"{path / 'images'}: holds no image; expected {IMAGE_FORMATS} files, or volumes.")


def _manifest_in(folder: Path) -> Path | None:
    return next((folder / name for name in MANIFESTS if (folder / name).is_file()), None)


LAYOUT_KINDS = (
    LayoutKind(
        "manifest",
        lambda path: _manifest_in(path) is not None,
        lambda path: True,
        lambda path, how: list_manifest(_manifest_in(path) or path, how.labels, how.patient_regex, how.plane),
    ),
    LayoutKind(
        "nnunet",
        holds_nnunet,
        lambda path: True,
        lambda path, how: list_nnunet(path, how.labels, how.patient_regex, how.plane),
    ),
    LayoutKind(
        "volumes",
        holds_volume_folder,
        has_masks,
        lambda path, how: list_volume_folder(path, how.labels, how.patient_regex, how.plane),
    ),
    LayoutKind(
        "coco", holds_coco, reads_as_coco, lambda path, how: list_coco(path, how.labels, how.patient_regex)
    ),
    LayoutKind(
        "folder", lambda path: (path / "images").is_dir(), lambda path: (path / "masks").is_dir(), _folder_with_files
    ),
    LayoutKind(
        "parts",
        holds_part_folders,
        masks_in_parts,
        lambda path, how: list_part_folders(path, how.labels or LabelMap(), how.patient_regex),
    ),
    LayoutKind(
        "fairseg", holds_fairseg, holds_fairseg_keys, lambda path, how: list_fairseg(path, how.labels),
        tells_patients=True,
    ),
    LayoutKind(
        "sequences",
        holds_sequences,
        holds_sequences,
        lambda path, how: list_sequences(path, how.labels, how.patient_regex, how.plane),
    ),
    LayoutKind(
        "lgg", holds_lgg, holds_lgg_pairs, lambda path, how: list_lgg(path, how.labels or LABELS), tells_patients=True
    ),
    LayoutKind(
        "dicom",
        holds_dicom_studies,
        lambda path: False,  # series may be there to be predicted, all of them
        lambda path, how: list_dicom_studies(path, how.labels, how.patient_regex, how.plane),
    ),
)  # fmt: skip
"""The layouts, each a file of its own and a row here. Of several in one folder the first counts: what was made on
purpose comes first."""


def layout_of(path: Path) -> Layout | None:
    """The layout that the names of files at `path` say; None for any other, and for what does not exist."""
    if path.is_file():
        if path.suffix.lower() == ".json" and is_coco(path):
            return "coco"
        return "manifest" if path.suffix.lower() in (".csv", ".json") else None
    return next((kind.name for kind in LAYOUT_KINDS if path.is_dir() and kind.is_here(path)), None)


def holds_pairs(path: Path, layout: Layout | None) -> bool:
    """Whether images and masks of this layout are there, or a manifest; see `LayoutKind.holds_pairs`."""
    return layout is not None and _kind(layout).holds_pairs(path)


def _kind(layout: Layout) -> LayoutKind:
    return next(kind for kind in LAYOUT_KINDS if kind.name == layout)


def open_dataset(
    path: Path | str,
    *,
    labels: LabelMap | None = None,
    patient_regex: str | None = None,
    plane: Plane = "acquired",
) -> SliceDataset:
    """List the slices of a data set, patients and volumes together and slices in order.

    Args:
        path: A folder in one of the layouts `LAYOUTS`, or a manifest: the file, or its folder.
        labels: How masks store labels. By default one label, foreground, of 255 in images and 1 in volumes; LGG's is
            called tumour, FairSeg's are rim and cup, and `dataset.json` names its own.
        patient_regex: Finds the patient in names where the layout does not say it; else each image counts as a
            patient of its own.
        plane: How volumes are cut into slices.

    Returns:
        The records. No pixel is read, of volumes the headers.

    Raises:
        DataError: An unknown or empty layout, a missing or doubled mask or slice.

    Example:
        >>> dataset = segmed.open_dataset("data")
        >>> len(dataset.patients), dataset.labels.names
        (8, ('tumour',))
    """
    return require_no_errors(list_dataset(Path(path), labels=labels, patient_regex=patient_regex, plane=plane))


def list_dataset(
    path: Path,
    *,
    labels: LabelMap | None = None,
    patient_regex: str | None = None,
    plane: Plane = "acquired",
) -> Listing:
    """As `open_dataset`, but faulty files become findings beside the records that are usable."""
    if not path.exists():
        raise DataError(f"{path}: does not exist; expected {LAYOUTS}. Check the path.")
    if shown(path.resolve()) != str(path.resolve()):
        raise DataError(f"{shown(path)}: the name of a folder is not UTF-8 text. Rename it.")
    layout = layout_of(path)
    if layout is None:
        if (inside := _data_set_inside(path)) is not None:
            raise DataError(f"{path}: no data set found in this folder, but one in {shown(inside)}. Name that folder.")
        what = "not a data set" if path.is_file() else f"no data set found in this folder{_what_is_there(path)}"
        raise DataError(f"{path}: {what}; expected {LAYOUTS}.")
    kind = _kind(layout)
    if patient_regex is not None and kind.tells_patients:
        text = "its layout says who the patients are, so --patient-regex says nothing"
        raise DataError(f"{path}: {text}. Leave it out.")
    listing = kind.list(path, Reading(labels, patient_regex, plane))
    findings = Findings(list(listing.findings))
    find_own_masks(listing.dataset.records, findings)
    for text in alike_patients(listing.dataset):
        findings.warning("alike-patients", listing.dataset.path, text)
    return replace(listing, findings=tuple(findings.found))


def _data_set_inside(path: Path) -> Path | None:
    """The first data set among the folders in a folder, as where a download was unpacked into one of its own."""
    folders = sorted(place for place in path.iterdir() if place.is_dir()) if path.is_dir() else []
    return next((folder for folder in folders if holds_pairs(folder, layout_of(folder))), None)


def _what_is_there(folder: Path) -> str:
    """What a folder of no known layout holds that we cannot read, in brackets."""
    found = [f"{place.name}: {text}" for place, text in other_labels(folder)]
    near = chain(*(folder.glob(pattern) for pattern in ("*", "*/*", "*/*/*")))
    found += [f"{path.relative_to(folder)}: {reason}" for path in near if (reason := unread(path)) is not None]
    return f" ({shown(found[0])})" if found else ""


def parse_labels(text: str) -> LabelMap:
    """The label map written as `background=0,rim=1,cup=2`, or in colours as `background=#000000,rim=#ff0000`.

    Grey values are 0 to 255. One entry is called background; the others are labels 1, 2, … in the order given.
    """
    stored: dict[str, StoredValue] = {}
    for entry in text.split(","):
        name, _, value = (part.strip() for part in entry.partition("="))
        if not name or not value:
            raise DataError(f"--labels: {entry.strip()!r} is not NAME=VALUE. Write it as 'background=0,rim=1,cup=2'.")
        if name in stored:
            raise DataError(f"--labels: {name!r} is given twice. Give each label one value.")
        stored[name] = _stored_value(name, value)
    if "background" not in stored:
        raise DataError("--labels: background is missing. Begin with its value, as in 'background=0,rim=1,cup=2'.")
    if len({isinstance(value, tuple) for value in stored.values()}) > 1:
        raise DataError("--labels: grey values and colours are mixed. Use one kind for all labels.")
    names = tuple(name for name in stored if name != "background")
    if not names:
        raise DataError("--labels: only background is given. Add at least one label.")
    return LabelMap(names, (stored["background"], *(stored[name] for name in names)))


def _stored_value(name: str, value: str) -> StoredValue:
    if re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        colour: Colour = (int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16))
        return colour
    if value.isascii() and value.isdecimal() and len(value) <= 9 and int(value) <= 255:
        return int(value)
    raise DataError(
        f"--labels: {name}={shortened_text(value)} is neither a grey value from 0 to 255 nor a colour like #ff8800."
    )
