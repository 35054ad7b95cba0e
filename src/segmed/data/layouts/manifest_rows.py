"""What the rows of a manifest say, whether each is a slice or a volume: names, files, patients, further columns."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Literal

from segmed.core.errors import DataError
from segmed.core.former_names import present_names
from segmed.core.records import SliceDataset
from segmed.data.names import composed
from segmed.io.volumes import suffix_of

NameColumn = Literal["slice_id", "case"]
"""The column that names what a row is: a slice, or a volume."""
SLICE: NameColumn = "slice_id"
CASE: NameColumn = "case"
OWN_COLUMNS = ("patient", "image", "mask", "slice")
WHAT = "a manifest with columns slice_id (of volumes: case), patient, image, mask"
OTHER_NAMES = frozenset({"patient", "patients", "patient id", "patientid", "subject", "subject id", "subjectid"})
"""What the column `patient` is called elsewhere, in lower case and with blanks: refused, never passed by."""
SEQUENCE = "image_"
"""How the columns begin that have a sequence each, of volumes; see `sequence_columns`."""

Row = dict[str, str]


def with_slice_ids(rows: Sequence[Row]) -> list[Row]:
    """Rows of slices with the column `slice_id`, also where it is called as in earlier versions."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    called = dict(zip(names, present_names(names, [SLICE]), strict=True))
    return [{called[name]: value for name, value in row.items()} for row in rows]


def sequence_columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """The columns of sequences, in their order: `image_t1` and the like; beside a column `image` only those of volumes.

    So `image_quality` of images that a column `image` names is a further fact.
    """
    columns = dict.fromkeys(column for row in rows for column in row)
    return tuple(
        column
        for column in columns
        if column.startswith(SEQUENCE)
        and ("image" not in columns or any(suffix_of(Path(row.get(column) or "")) for row in rows))
    )


def _own_columns(rows: Sequence[Row], named: NameColumn) -> set[str]:
    """The columns that are the manifest's own, and no further facts; `named` is that of the rows' names."""
    return {named, CASE, *OWN_COLUMNS, *sequence_columns(rows)}


def require_name(path: Path, number: int, row: Row, named: NameColumn, files: Sequence[str]) -> None:
    """Raise `DataError` where a row lacks its name or patient, or a name cannot be that of a file."""
    for name in (named, "patient", *files[:1]):
        if not row.get(name):
            raise DataError(f"{path}: row {number} has no {name}; expected {WHAT}. Fill it in.")
    if PureWindowsPath(row[named]).anchor or ".." in PureWindowsPath(row[named]).parts:
        text = "results are written under it and would leave their folder"
        raise DataError(f"{path}: row {number}: {named} {row[named]!r} is a path; {text}. Use a plain name.")
    for name in (named, *files):
        longest = max((len(os.fsencode(part)) for part in PureWindowsPath(row.get(name) or "").parts), default=0)
        if longest > 255:
            raise DataError(f"{path}: row {number}: {name} has a name of {longest} bytes, and no file has. Shorten it.")


def tells_patients(path: Path, rows: Sequence[Row]) -> bool:
    """Whether there is a column `patient`; `DataError` where there is none but one that is called alike."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if "patient" in names:
        return True
    alike = next((name for name in names if re.sub("[_-]", " ", name).lower() in OTHER_NAMES), None)
    if alike is not None:
        raise DataError(f"{path}: has no column patient, but {alike!r}. Call it patient, or by another name.")
    return False


def relative_to(file: Path, manifest: Path) -> str:
    """A file as a manifest names it."""
    return Path(os.path.relpath(file.resolve(), manifest.parent.resolve())).as_posix()


def file_of(folder: Path, name: str) -> Path:
    """The file that a manifest names, also where it is written with back slashes or in the other form of Unicode."""
    slashes = name.replace("\\", "/")
    forms = [name, slashes, composed(slashes), unicodedata.normalize("NFD", slashes)]
    return next((folder / form for form in forms if is_file(folder / form)), folder / name)


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False


def is_folder(path: Path) -> bool:
    """As `is_file`, of folders."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def written_columns(dataset: SliceDataset, named: NameColumn) -> dict[str, dict[str, str]]:
    """The further columns of a manifest of this data set, with the value of each slice: its own, else its patient's."""
    facts = {name for values in dataset.attributes.values() for name in values}
    columns: dict[str, dict[str, str]] = {}
    for name in sorted((facts | dataset.columns.keys()) - {named, CASE, *OWN_COLUMNS}):
        own = dataset.columns.get(name)
        columns[name] = {
            record.slice_id: dataset.attributes.get(record.patient, {}).get(name, "")
            if own is None
            else own.get(record.slice_id, "")
            for record in dataset.records
        }
    return columns


def further_columns(rows: Sequence[Row], named: NameColumn) -> dict[str, dict[str, str]]:
    """The further columns, each by the rows' names; empty values are left out."""
    columns: dict[str, dict[str, str]] = {}
    own = _own_columns(rows, named)
    for row in rows:
        for name, value in row.items():
            if name not in own and value:
                columns.setdefault(name, {}).setdefault(row[named], value)
    return columns


def attributes_of(rows: Sequence[Row], named: NameColumn) -> dict[str, dict[str, str]]:
    """The further columns by patient whose value is one for all of a patient's rows."""
    attributes: dict[str, dict[str, str]] = {}
    varying: set[str] = set()
    own = _own_columns(rows, named)
    for row in rows:
        known = attributes.setdefault(row["patient"], {})
        for name, value in row.items():
            if name not in own and value and known.setdefault(name, value) != value:
                varying.add(name)
    return {patient: {k: v for k, v in known.items() if k not in varying} for patient, known in attributes.items()}
