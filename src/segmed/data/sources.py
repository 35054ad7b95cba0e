"""Open a data set of any known layout as records; no pixel is read."""

import re
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Literal

from segmed.core.errors import DataError
from segmed.core.labels import Colour, LabelMap, StoredValue
from segmed.core.records import SliceDataset
from segmed.data.fairseg import holds_fairseg, holds_fairseg_keys, list_fairseg
from segmed.data.folder import list_folder, other_labels
from segmed.data.lgg import LABELS, holds_lgg, holds_lgg_pairs, list_lgg
from segmed.data.listing import Findings, Listing, alike_patients, find_own_masks, require_no_errors
from segmed.data.manifest import list_manifest
from segmed.data.names import shown, unread

LAYOUTS = (
    "a folder in the Kaggle LGG layout, a folder with images/ and masks/, FairSeg's data_*.npz, or a manifest "
    "(CSV or JSON)"
)
MANIFESTS = ("manifest.csv", "manifest.json")
Layout = Literal["manifest", "folder", "fairseg", "lgg"]


def layout_of(path: Path) -> Layout | None:
    """The layout that the names of files at `path` say; None for any other, and for what does not exist.

    Where a folder has several, the order is manifest, images/, FairSeg, Kaggle's LGG: what was made on purpose first.
    """
    if path.is_file():
        return "manifest" if path.suffix.lower() in (".csv", ".json") else None
    if _manifest_in(path) is not None:
        return "manifest"
    if (path / "images").is_dir():
        return "folder"
    if holds_fairseg(path):
        return "fairseg"
    return "lgg" if path.is_dir() and holds_lgg(path) else None


def holds_pairs(path: Path, layout: Layout | None) -> bool:
    """Whether images and masks of this layout are there, or a manifest.

    Files of another kind may be named alike: `scan_1.tif` in a folder of images, or masks that `predict` wrote.
    """
    if layout == "folder":
        return (path / "masks").is_dir()
    if layout == "fairseg":
        return holds_fairseg_keys(path)
    return layout == "manifest" or (layout == "lgg" and holds_lgg_pairs(path))


def open_dataset(path: Path | str, *, labels: LabelMap | None = None, patient_regex: str | None = None) -> SliceDataset:
    """List the slices of a data set, patients together and slices in numeric order.

    Args:
        path: A folder in the Kaggle LGG layout (itself, a parent, or the doubled tree of Kaggle's archive), a folder
            with `images/` and `masks/`, one with FairSeg's `data_*.npz`, or a manifest: a file, or `manifest.csv` or
            `manifest.json` in a folder.
        labels: How masks store labels; by default foreground, 0 and 255. LGG's is called tumour, FairSeg's are rim and
            cup.
        patient_regex: Finds the patient in file names of an images folder, or in the cases of a manifest without a
            column `patient`, where else each image counts as a patient of its own.

    Returns:
        The records. No pixel is read.

    Raises:
        DataError: An unknown or empty layout, or a missing or doubled mask or case.

    Example:
        >>> dataset = segmed.open_dataset("data")
        >>> len(dataset.patients), dataset.labels.names
        (8, ('tumour',))
    """
    return require_no_errors(list_dataset(Path(path), labels=labels, patient_regex=patient_regex))


def list_dataset(path: Path, *, labels: LabelMap | None = None, patient_regex: str | None = None) -> Listing:
    """As `open_dataset`, but faulty files become findings beside the records that are usable."""
    if not path.exists():
        raise DataError(f"{path}: does not exist; expected {LAYOUTS}. Check the path.")
    if shown(path.resolve()) != str(path.resolve()):
        raise DataError(f"{shown(path)}: the name of a folder is not UTF-8 text. Rename it.")
    layout = layout_of(path)
    if layout is None:
        what = "not a data set" if path.is_file() else f"no data set found in this folder{_what_is_there(path)}"
        raise DataError(f"{path}: {what}; expected {LAYOUTS}.")
    if patient_regex is not None:
        _require_names(path, layout)
    listing = _listed(path, layout, labels, patient_regex)
    findings = Findings(list(listing.findings))
    find_own_masks(listing.dataset.records, findings)
    for text in alike_patients(listing.dataset):
        findings.warning("alike-patients", listing.dataset.path, text)
    return replace(listing, findings=tuple(findings.found))


def _listed(path: Path, layout: Layout, labels: LabelMap | None, patient_regex: str | None) -> Listing:
    if layout == "manifest":
        return list_manifest(_manifest_in(path) or path, labels or LabelMap(), patient_regex)
    if layout == "folder":
        return _folder_with_files(path, labels or LabelMap(), patient_regex)
    return list_fairseg(path, labels) if layout == "fairseg" else list_lgg(path, labels or LABELS)


def _what_is_there(folder: Path) -> str:
    """What a folder of no known layout holds that we cannot read, in brackets."""
    found = [f"{place.name}: {text}" for place, text in other_labels(folder)]
    near = chain(*(folder.glob(pattern) for pattern in ("*", "*/*", "*/*/*")))
    found += [f"{path.relative_to(folder)}: {reason}" for path in near if (reason := unread(path)) is not None]
    return f" ({shown(found[0])})" if found else ""


def _folder_with_files(path: Path, labels: LabelMap, patient_regex: str | None) -> Listing:
    listing = list_folder(path, labels, patient_regex)
    if listing.dataset.records or listing.findings:
        return listing
    raise DataError(f"{path / 'images'}: holds no image; expected PNG, TIFF, JPEG, NPY or NPZ files.")


def _manifest_in(folder: Path) -> Path | None:
    return next((folder / name for name in MANIFESTS if (folder / name).is_file()), None)


def _require_names(path: Path, layout: Layout) -> None:
    """Raise `DataError` where the layout says who the patients are, so that a regex would say nothing."""
    if layout not in ("folder", "manifest"):  # a manifest without the column is looked into by its reader
        text = "its layout says who the patients are, so --patient-regex says nothing"
        raise DataError(f"{path}: {text}. Leave it out.")


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
    if value.isascii() and value.isdecimal() and int(value) <= 255:
        return int(value)
    raise DataError(f"--labels: {name}={value} is neither a grey value from 0 to 255 nor a colour like #ff8800.")
