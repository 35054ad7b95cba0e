"""What the rows of a manifest say, whether each is a slice or a volume: names, files, patients, further columns."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from segmed.core.errors import DataError
from segmed.data.names import composed

REQUIRED = ("case", "patient", "image")
OWN_COLUMNS = (*REQUIRED, "mask", "slice")
WHAT = "a manifest with columns case, patient, image, mask"
OTHER_NAMES = frozenset({"patient", "patients", "patient id", "patientid", "subject", "subject id", "subjectid"})
"""What the column `patient` is called elsewhere, in lower case and with blanks: refused, never passed by."""
SEQUENCE = "image_"
"""How the columns begin that have a sequence each, of volumes."""

Row = dict[str, str]


def is_own(column: str) -> bool:
    """Whether a column is the manifest's own, and no further fact."""
    return column in OWN_COLUMNS or column.startswith(SEQUENCE)


def require_case(path: Path, number: int, row: Row, files: Sequence[str]) -> None:
    """Raise `DataError` where a row lacks its case or patient, or a name cannot be that of a file."""
    for name in ("case", "patient", *files[:1]):
        if not row.get(name):
            raise DataError(f"{path}: row {number} has no {name}; expected {WHAT}. Fill it in.")
    if PureWindowsPath(row["case"]).anchor or ".." in PureWindowsPath(row["case"]).parts:
        text = "results are written under it and would leave their folder"
        raise DataError(f"{path}: row {number}: case {row['case']!r} is a path; {text}. Use a plain name.")
    for name in ("case", *files):
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


def further_columns(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """The further columns, each by case; empty values are left out."""
    columns: dict[str, dict[str, str]] = {}
    for row in rows:
        for name, value in row.items():
            if not is_own(name) and value:
                columns.setdefault(name, {}).setdefault(row["case"], value)
    return columns


def attributes_of(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """The further columns by patient whose value is one for all of a patient's rows."""
    attributes: dict[str, dict[str, str]] = {}
    varying: set[str] = set()
    for row in rows:
        known = attributes.setdefault(row["patient"], {})
        for name, value in row.items():
            if not is_own(name) and value and known.setdefault(name, value) != value:
                varying.add(name)
    return {patient: {k: v for k, v in known.items() if k not in varying} for patient, known in attributes.items()}
