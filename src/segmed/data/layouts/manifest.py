"""A CSV or JSON manifest: a row for each slice with slice_id, patient, image, mask, or for each volume with case."""

from collections.abc import Sequence
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import write_table
from segmed.core.labels import LabelMap
from segmed.core.reading import read_json
from segmed.core.records import Record, SliceDataset
from segmed.core.stacking import Plane
from segmed.data.layouts.manifest_rows import (
    CASE,
    SLICE,
    WHAT,
    Row,
    attributes_of,
    file_of,
    further_columns,
    is_file,
    relative_to,
    require_name,
    tells_patients,
    with_slice_ids,
    written_columns,
)
from segmed.data.layouts.mask_reading import require_own_mask_files
from segmed.data.layouts.volume_manifest import list_volume_manifest, name_volumes, write_volume_manifest
from segmed.data.listing import Findings, Listing, grouped, in_order, numbered
from segmed.data.names import composed
from segmed.data.tables import read_rows

NAMES = (SLICE, CASE, "patient")


def list_manifest(
    path: Path, labels: LabelMap | None = None, patient_regex: str | None = None, plane: Plane = "acquired"
) -> Listing:
    """List what a manifest names. Paths are relative to the manifest; `mask` may be empty or missing.

    A row is a slice, with its `slice_id`, which may be called `case` as in earlier versions where there is no other
    column of that name. Beside `slice_id`, the column `case` names the volume of a patient that the slice is of;
    without it a patient has one. Where images are volumes a row is a volume, with the column `case`, and may have a
    column for each sequence instead of `image`: `image_t1`, `image_flair`, whose order is that of the channels.

    JSON is a list of objects with the same keys. `slice` is in every row or in none: the order of rows is then the
    order of slices. Any other column whose value is one and the same for all of a patient's slices is an attribute
    of the patient. Without a column `patient`, patients are not known: each slice counts as one, unless
    `patient_regex` finds the patient in its id, see `grouped`.

    Raises:
        DataError: It is no manifest, rows with and without `slice`, or it says who the patients are and
            `patient_regex` does too.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else read_rows(path, what=WHAT)
    if not rows:
        raise DataError(f"{path}: lists nothing, expected {WHAT}.")
    if name_volumes(rows):
        return list_volume_manifest(path, rows, labels, patient_regex, plane)
    rows = with_slice_ids(rows)
    told = tells_patients(path, rows)
    if told and patient_regex is not None:
        raise DataError(
            f"{path}: its manifest says who the patients are, so --patient-regex says nothing. Leave it out."
        )
    rows = [
        {name: composed(value) if name in (SLICE, CASE, "patient") else value for name, value in r.items()}
        for r in rows
    ]
    if not told:
        rows = [row | {"patient": row.get(CASE) or row.get(SLICE, "")} for row in rows]
    placed = _tell_places(path, rows)
    findings = Findings()
    records: dict[str, Record] = {}
    for number, row in enumerate(rows, start=1):
        record = _record(path, number, row)
        if record.slice_id in records:
            text = f"row {number}: slice {record.slice_id!r} is listed twice. Give each slice an id of its own."
            findings.error("doubled-slice", path, text)
            continue
        records[record.slice_id] = record
    listed = list(records.values())
    _find_missing(listed, findings)
    _find_shared_files(listed, findings)
    if patient_regex is not None:
        listed = grouped(listed, patient_regex, findings, placed=placed)
        patient_of = {record.slice_id: record.patient for record in listed}
        rows = [row | {"patient": patient_of[row["slice_id"]]} for row in rows if row["slice_id"] in patient_of]
    elif not placed:
        listed = numbered(listed)
    _require_one_patient_a_case(path, listed)
    dataset = SliceDataset(
        path.stem, path.parent, in_order(listed), labels or LabelMap(), attributes_of(rows, SLICE), path,
        patients_known=told or patient_regex is not None, columns=further_columns(rows, SLICE),
    )  # fmt: skip
    return Listing(dataset, tuple(findings.found))


def write_manifest(path: Path, dataset: SliceDataset) -> None:
    """Write a data set as a CSV manifest, with paths relative to it, every attribute and every further column.

    Where patients are not known there is no column `patient` and none of slices, and it reads back as that. Volumes in
    files of their own have a row each.
    """
    if any(record.source is not None for record in dataset.records):
        write_volume_manifest(path, dataset)
        return
    require_own_mask_files(dataset.records)
    extra = written_columns(dataset, SLICE)
    known, cases = dataset.patients_known, any(record.of_case for record in dataset.records)
    rows = list[list[object]]()
    for record in dataset.records:
        files = [relative_to(record.image, path), relative_to(record.mask, path) if record.mask else ""]
        patient, position = ([record.patient], [record.slice_index]) if known else ([], [])
        case = [record.of_case or ""] if cases else []
        rows.append(
            [
                record.slice_id,
                *case,
                *patient,
                *files,
                *position,
                *(values[record.slice_id] for values in extra.values()),
            ]
        )
    header = ["patient", "image", "mask", "slice"] if known else ["image", "mask"]
    write_table(path, [SLICE, *([CASE] if cases else []), *header, *extra], rows)


def _json_rows(path: Path) -> list[dict[str, str]]:
    what = "a list of objects with keys slice_id, patient, image, mask"
    rows = read_json(path, list[dict[str, str | int | float | bool | None]], what=what, remedy="Rewrite it so.")
    return [{key: "" if item is None else str(item) for key, item in row.items()} for row in rows]


def _record(path: Path, number: int, row: Row) -> Record:
    require_name(path, number, row, SLICE, ("image", "mask"))
    position = row.get("slice") or "1"
    if not position.isdecimal():
        raise DataError(f"{path}: row {number}: slice {position!r} is not a whole number. Number slices from 1.")
    mask = file_of(path.parent, row["mask"]) if row.get("mask") else None
    image, case = file_of(path.parent, row["image"]), row.get(CASE) or None
    return Record(row[SLICE], row["patient"], int(position), image, mask, of_case=case)


def _tell_places(path: Path, rows: Sequence[Row]) -> bool:
    """Whether the rows say where their slices lie; `DataError` where some do and others do not."""
    lacking = [number for number, row in enumerate(rows, start=1) if not row.get("slice")]
    if 0 < len(lacking) < len(rows):
        raise DataError(
            f"{path}: row {lacking[0]} has no slice, and other rows have, so its place among them is unknown. Number "
            "the slices of every row, or leave the column out."
        )
    return not lacking


def _require_one_patient_a_case(path: Path, records: Sequence[Record]) -> None:
    """Slices without a case are of the volume that is called as the patient, which no other patient's case may be."""
    patient_of: dict[str, str] = {}
    for record in records:
        if patient_of.setdefault(record.volume, record.patient) != record.patient:
            raise DataError(
                f"{path}: case {record.volume} is of patients {patient_of[record.volume]} and {record.patient}. "
                "Give each volume a name of its own in the column case, and each slice its own in the column slice_id."
            )


def _find_missing(records: Sequence[Record], findings: Findings) -> None:
    for record in records:
        if not is_file(record.image):
            findings.error(
                "missing-image", record.image, f"not found (image of slice {record.slice_id}). Correct the path."
            )
        if record.mask is not None and not is_file(record.mask):
            findings.error(
                "missing-mask", record.mask, f"not found (mask of slice {record.slice_id}). Correct the path."
            )


def _find_shared_files(records: Sequence[Record], findings: Findings) -> None:
    owner: dict[Path, str] = {}
    for record in records:
        for path, code in ((record.image, "doubled-image"), (record.mask, "doubled-mask")):
            if path is None:
                continue
            if owner.get(path, record.slice_id) != record.slice_id:
                text = f"listed for slice {owner[path]} and for slice {record.slice_id}. Give each slice its own file."
                findings.error(code, path, text)
            owner.setdefault(path, record.slice_id)
