"""A manifest of volumes: a row each, with one column `image`, or one a sequence, `image_t1` and so on.

A volume is a file, or a folder with one series of DICOM.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import write_table
from segmed.core.labels import LabelMap
from segmed.core.records import SliceDataset, VolumeFiles
from segmed.core.stacking import Plane
from segmed.data.layouts.manifest_rows import (
    CASE,
    SEQUENCE,
    WHAT,
    Row,
    attributes_of,
    file_of,
    further_columns,
    is_file,
    is_folder,
    relative_to,
    require_name,
    sequence_columns,
    tells_patients,
    written_columns,
)
from segmed.data.layouts.volume_listing import LABELS, PatientVolumeFiles, list_volumes
from segmed.data.listing import Findings, Listing
from segmed.data.names import composed
from segmed.io.converting import is_dicom_path
from segmed.io.volumes import suffix_of


def name_volumes(rows: Sequence[Row]) -> bool:
    """Whether the rows are volumes: there are columns of sequences, or an image is a volume by its name."""
    return bool(sequence_columns(rows)) or any(suffix_of(Path(row.get("image") or "")) for row in rows)


def list_volume_manifest(
    path: Path, rows: Sequence[Row], labels: LabelMap | None, patient_regex: str | None, plane: Plane
) -> Listing:
    """List the volumes of a manifest's rows; see `layouts.manifest.list_manifest`."""
    told = tells_patients(path, rows)
    if told and patient_regex is not None:
        raise DataError(
            f"{path}: its manifest says who the patients are, so --patient-regex says nothing. Leave it out."
        )
    findings = Findings()
    columns = sequence_columns(rows) or ("image",)
    found: dict[str, PatientVolumeFiles] = {}
    for number, row in enumerate(rows, start=1):
        named = row | {"patient": row.get("patient", "") if told else row.get(CASE, "")}
        volume = _volume(path, number, named, columns, findings)
        if volume is None:
            continue
        if volume.name in found:
            text = f"row {number}: case {volume.name!r} is listed twice. Give each volume a name of its own."
            findings.error("doubled-case", path, text)
            continue
        found[volume.name] = PatientVolumeFiles(volume, composed(row["patient"]) if told else None)
    _find_shared(list(found.values()), findings)
    listing = list_volumes(
        path.parent, list(found.values()), findings, labels=labels or LABELS, patient_regex=patient_regex, plane=plane
    )
    return replace(listing, dataset=_with_columns(listing.dataset, path, rows))


def write_volume_manifest(path: Path, dataset: SliceDataset) -> None:
    """Write the volumes of a data set, a row each; further sequences are `image_2` and so on."""
    volumes = {record.volume: record for record in dataset.records}
    if any(record.image.is_dir() for record in volumes.values()):
        raise DataError(f"{dataset.path}: series of DICOM are folders, which no manifest lists. Use the folder itself.")
    count = max(len(record.source.images) for record in volumes.values() if record.source is not None)
    columns = ["image"] if count == 1 else [f"{SEQUENCE}{number}" for number in range(1, count + 1)]
    extra = written_columns(dataset, CASE)
    rows = list[list[object]]()
    for name, record in volumes.items():
        assert record.source is not None
        images = [relative_to(image, path) for image in record.source.images]
        mask = relative_to(record.source.mask, path) if record.source.mask else ""
        patient = [record.patient] if dataset.patients_known else []
        rows.append([name, *patient, *images, mask, *(values[record.slice_id] for values in extra.values())])
    known = ["patient"] if dataset.patients_known else []
    write_table(path, [CASE, *known, *columns, "mask", *extra], rows)


def _volume(path: Path, number: int, row: Row, columns: Sequence[str], findings: Findings) -> VolumeFiles | None:
    """The files of a row; None, and an error for each that is not there, or no volume."""
    require_name(path, number, row, CASE, (*columns, "mask"))
    if row.get("slice"):
        raise DataError(f"{path}: row {number} names a slice, but its image is a volume. Leave the column out.")
    empty = next((column for column in columns if not row.get(column)), None)
    if empty is not None:
        raise DataError(f"{path}: row {number} has no {empty}; expected {WHAT}, with every sequence. Fill it in.")
    images = [file_of(path.parent, row[column]) for column in columns]
    mask = file_of(path.parent, row["mask"]) if row.get("mask") else None
    sound = True
    for file in (*images, mask):
        if file is not None and not _is_there(file):
            kind = "mask" if file is mask else "image"
            findings.error(f"missing-{kind}", file, f"not found ({kind} of case {row[CASE]}). Correct the path.")
            sound = False
        elif file is not None and suffix_of(file) is None and not is_dicom_path(file):
            text = (
                "no volume, as others of the manifest are. List volumes and images of slices in manifests of their own."
            )
            findings.error("mixed-formats", file, text)
            sound = False
    return VolumeFiles(composed(row[CASE]), tuple(images), mask) if sound else None


def _is_there(path: Path) -> bool:
    """Whether there is such a file, or a folder with a series of DICOM."""
    return is_file(path) or (is_folder(path) and any(is_dicom_path(file) for file in path.iterdir() if file.is_file()))


def _find_shared(found: Sequence[PatientVolumeFiles], findings: Findings) -> None:
    owner: dict[Path, str] = {}
    for each in found:
        for file in each.files.files:
            other = owner.setdefault(file, each.files.name)
            if other != each.files.name:
                text = f"listed for case {other} and for case {each.files.name}. Give each case its own file."
                findings.error("doubled-image", file, text)


def _with_columns(dataset: SliceDataset, path: Path, rows: Sequence[Row]) -> SliceDataset:
    """The data set with the manifest's further columns, of patients and, for each slice, of its volume."""
    patient_of = {record.volume: record.patient for record in dataset.records}
    named = [row | {"patient": patient_of[composed(row[CASE])]} for row in rows if composed(row[CASE]) in patient_of]
    of_volume = further_columns([row | {CASE: composed(row[CASE])} for row in named], CASE)
    columns = {
        name: {record.slice_id: values[record.volume] for record in dataset.records if record.volume in values}
        for name, values in of_volume.items()
    }
    return replace(dataset, name=path.stem, manifest=path, attributes=attributes_of(named, CASE), columns=columns)
