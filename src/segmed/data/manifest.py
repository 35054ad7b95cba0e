"""A CSV or JSON manifest: one row per slice with case, patient, image, mask; for data that lies in any other way."""

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath

from segmed.core.errors import DataError
from segmed.core.files import write_table
from segmed.core.labels import LabelMap
from segmed.core.reading import read_json
from segmed.core.records import Record, SliceDataset
from segmed.data.listing import Findings, Listing, grouped, in_order, numbered
from segmed.data.names import composed
from segmed.data.tables import read_rows

REQUIRED = ("case", "patient", "image")
OWN_COLUMNS = (*REQUIRED, "mask", "slice")
WHAT = "a manifest with columns case, patient, image, mask"
OTHER_NAMES = frozenset({"patient", "patients", "patient id", "patientid", "subject", "subject id", "subjectid"})
"""What the column `patient` is called elsewhere, in lower case and with blanks: refused, never passed by."""


def list_manifest(path: Path, labels: LabelMap, patient_regex: str | None = None) -> Listing:
    """List what a manifest names. Paths are relative to the manifest; `mask` and `slice` may be empty or missing.

    JSON is a list of objects with the same keys. Without `slice`, the order of rows is the order of slices. Any
    other column whose value is one and the same for all of a patient's slices is an attribute of the patient.
    Without a column `patient`, patients are not known: each case counts as one, unless `patient_regex` finds the
    patient in the case, see `grouped`.

    Raises:
        DataError: It is no manifest, or it says who the patients are and `patient_regex` does too.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else read_rows(path, what=WHAT)
    if not rows:
        raise DataError(f"{path}: lists no case, expected {WHAT}.")
    told = _tells_patients(path, rows)
    if told and patient_regex is not None:
        raise DataError(
            f"{path}: its manifest says who the patients are, so --patient-regex says nothing. Leave it out."
        )
    rows = [
        {name: composed(value) if name in ("case", "patient") else value for name, value in r.items()} for r in rows
    ]
    if not told:
        rows = [row | {"patient": row.get("case", "")} for row in rows]
    findings = Findings()
    records: dict[str, Record] = {}
    for number, row in enumerate(rows, start=1):
        record = _record(path, number, row)
        if record.case in records:
            text = f"row {number}: case {record.case!r} is listed twice. Give each slice a case id of its own."
            findings.error("doubled-case", path, text)
            continue
        records[record.case] = record
    listed = list(records.values())
    _find_missing(listed, findings)
    _find_shared_files(listed, findings)
    placed = any(row.get("slice") for row in rows)
    if patient_regex is not None:
        listed = grouped(listed, patient_regex, findings, placed=placed)
        patient_of = {record.case: record.patient for record in listed}
        rows = [row | {"patient": patient_of[row["case"]]} for row in rows if row["case"] in patient_of]
    elif not placed:
        listed = numbered(listed)
    dataset = SliceDataset(
        path.stem, path.parent, in_order(listed), labels, _attributes(rows), path,
        patients_known=told or patient_regex is not None, columns=_columns(rows),
    )  # fmt: skip
    return Listing(dataset, tuple(findings.found))


def write_manifest(path: Path, dataset: SliceDataset) -> None:
    """Write a data set as a CSV manifest, with paths relative to it and every attribute as a column.

    Where patients are not known there is no column `patient` and none of slices, and it reads back as that.
    """
    extra = sorted({name for values in dataset.attributes.values() for name in values} - set(OWN_COLUMNS))
    known = dataset.patients_known
    rows = list[list[object]]()
    for record in dataset.records:
        files = [_relative(record.image, path), _relative(record.mask, path) if record.mask else ""]
        values = dataset.attributes.get(record.patient, {})
        patient, position = ([record.patient], [record.slice_index]) if known else ([], [])
        rows.append([record.case, *patient, *files, *position, *(values.get(name, "") for name in extra)])
    header = [*REQUIRED, "mask", "slice"] if known else ["case", "image", "mask"]
    write_table(path, [*header, *extra], rows)


def _tells_patients(path: Path, rows: Sequence[Mapping[str, str]]) -> bool:
    """Whether there is a column `patient`; `DataError` where there is none but one that is called alike."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if "patient" in names:
        return True
    alike = next((name for name in names if re.sub("[_-]", " ", name).lower() in OTHER_NAMES), None)
    if alike is not None:
        raise DataError(f"{path}: has no column patient, but {alike!r}. Call it patient, or by another name.")
    return False


def _relative(file: Path, manifest: Path) -> str:
    return Path(os.path.relpath(file.resolve(), manifest.parent.resolve())).as_posix()


def _json_rows(path: Path) -> list[dict[str, str]]:
    what = "a list of objects with keys case, patient, image, mask"
    rows = read_json(path, list[dict[str, str | int | float | bool | None]], what=what, remedy="Rewrite it so.")
    return [{key: "" if item is None else str(item) for key, item in row.items()} for row in rows]


def _record(path: Path, number: int, row: Mapping[str, str]) -> Record:
    for name in REQUIRED:
        if not row.get(name):
            raise DataError(f"{path}: row {number} has no {name}; expected {WHAT}. Fill it in.")
    if PureWindowsPath(row["case"]).anchor or ".." in PureWindowsPath(row["case"]).parts:
        text = "results are written under it and would leave their folder"
        raise DataError(f"{path}: row {number}: case {row['case']!r} is a path; {text}. Use a plain name.")
    position = row.get("slice") or "1"
    if not position.isdecimal():
        raise DataError(f"{path}: row {number}: slice {position!r} is not a whole number. Number slices from 1.")
    for name in ("case", "image", "mask"):
        longest = max((len(os.fsencode(part)) for part in PureWindowsPath(row.get(name) or "").parts), default=0)
        if longest > 255:
            raise DataError(f"{path}: row {number}: {name} has a name of {longest} bytes, and no file has. Shorten it.")
    mask = _file(path.parent, row["mask"]) if row.get("mask") else None
    return Record(row["case"], row["patient"], int(position), _file(path.parent, row["image"]), mask)


def _file(folder: Path, name: str) -> Path:
    """The file that a manifest names, also where it is written with back slashes or in the other form of Unicode."""
    slashes = name.replace("\\", "/")
    forms = [name, slashes, composed(slashes), unicodedata.normalize("NFD", slashes)]
    return next((folder / form for form in forms if _is_file(folder / form)), folder / name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False


def _find_missing(records: Sequence[Record], findings: Findings) -> None:
    for record in records:
        if not _is_file(record.image):
            findings.error("missing-image", record.image, f"not found (image of case {record.case}). Correct the path.")
        if record.mask is not None and not _is_file(record.mask):
            findings.error("missing-mask", record.mask, f"not found (mask of case {record.case}). Correct the path.")


def _find_shared_files(records: Sequence[Record], findings: Findings) -> None:
    owner: dict[Path, str] = {}
    for record in records:
        for path, code in ((record.image, "doubled-image"), (record.mask, "doubled-mask")):
            if path is None:
                continue
            if owner.get(path, record.case) != record.case:
                text = f"listed for case {owner[path]} and for case {record.case}. Give each case its own file."
                findings.error(code, path, text)
            owner.setdefault(path, record.case)


def _columns(rows: Sequence[Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The further columns, each by case; empty values are left out."""
    columns: dict[str, dict[str, str]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in OWN_COLUMNS and value:
                columns.setdefault(name, {}).setdefault(row["case"], value)
    return columns


def _attributes(rows: Sequence[Mapping[str, str]]) -> dict[str, dict[str, str]]:
    attributes: dict[str, dict[str, str]] = {}
    varying: set[str] = set()
    for row in rows:
        known = attributes.setdefault(row["patient"], {})
        for name, value in row.items():
            if name not in OWN_COLUMNS and value and known.setdefault(name, value) != value:
                varying.add(name)
    return {patient: {k: v for k, v in known.items() if k not in varying} for patient, known in attributes.items()}
