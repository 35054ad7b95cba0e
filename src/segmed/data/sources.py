"""Open a data set of any known layout as records; no pixel is read."""

import re
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.labels import Colour, LabelMap, StoredValue
from segmed.core.records import SliceDataset
from segmed.data.fairseg import holds_fairseg, list_fairseg
from segmed.data.folder import list_folder
from segmed.data.lgg import holds_lgg, list_lgg
from segmed.data.listing import Listing, require_no_errors
from segmed.data.manifest import list_manifest

LAYOUTS = (
    "a folder in the Kaggle LGG layout, a folder with images/ and masks/, FairSeg's data_*.npz, or a manifest "
    "(CSV or JSON)"
)
MANIFESTS = ("manifest.csv", "manifest.json")


def open_dataset(path: Path, *, labels: LabelMap | None = None, patient_regex: str | None = None) -> SliceDataset:
    """List the slices of a data set, patients together and slices in numeric order.

    `path` is a folder in the Kaggle LGG layout (itself, a parent, or the doubled tree of Kaggle's archive), a folder
    with `images/` and `masks/`, or a manifest: a file, or `manifest.csv` or `manifest.json` in a folder. `labels`
    says how masks store labels (default: tumour, 0 and 255). `patient_regex` finds the patient in file names of an
    images folder, where else each image counts as a patient of its own.

    Raises `DataError` for an unknown or empty layout, and for a missing or doubled mask or case.
    """
    return require_no_errors(list_dataset(path, labels=labels, patient_regex=patient_regex))


def list_dataset(path: Path, *, labels: LabelMap | None = None, patient_regex: str | None = None) -> Listing:
    """As `open_dataset`, but faulty files become findings beside the records that are usable."""
    given, labels = labels, labels or LabelMap()
    if patient_regex is not None and path.exists():
        _require_names(path)
    if path.is_file():
        if path.suffix.lower() not in (".csv", ".json"):
            raise DataError(f"{path}: not a data set; expected {LAYOUTS}.")
        return list_manifest(path, labels)
    if not path.is_dir():
        raise DataError(f"{path}: does not exist; expected {LAYOUTS}. Check the path.")
    manifest = _manifest_in(path)
    if manifest is not None:
        return list_manifest(manifest, labels)
    if (path / "images").is_dir():
        listing = list_folder(path, labels, patient_regex)
        if listing.dataset.records or listing.findings:
            return listing
        raise DataError(f"{path / 'images'}: holds no image; expected PNG, TIFF, JPEG, NPY or NPZ files.")
    if holds_fairseg(path):
        return list_fairseg(path, given)
    if holds_lgg(path):
        return list_lgg(path, labels)
    raise DataError(f"{path}: no data set found in this folder; expected {LAYOUTS}.")


def _manifest_in(folder: Path) -> Path | None:
    return next((folder / name for name in MANIFESTS if (folder / name).is_file()), None)


def _require_names(path: Path) -> None:
    """Raise `DataError` where patients are not told by the names of images, so that a regex would say nothing."""
    by_manifest = path.is_file() or _manifest_in(path) is not None
    if by_manifest or not (path / "images").is_dir():
        who = "its manifest" if by_manifest else "its layout"
        raise DataError(f"{path}: {who} says who the patients are, so --patient-regex says nothing. Leave it out.")


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
