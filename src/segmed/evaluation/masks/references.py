"""References of the referee: their files by case, patients, labels, and the unit of their distances."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segmed.core.errors import DataError
from segmed.core.records import Record
from segmed.core.volume import Grid, Volume, as_labels
from segmed.core.wording import plural
from segmed.data.listing import Findings, grouped, numbered
from segmed.evaluation.masks.files import CaseFiles, case_files
from segmed.evaluation.masks.labels import LabelNumbers, labels_beside, labels_found
from segmed.evaluation.volume_metrics import TOLERANCES, Space
from segmed.io import read_image
from segmed.io.formats import MASK_SUFFIXES
from segmed.io.volumes import read_grid, read_volume

MASK_FOLDERS = ("labelsTr", "labelsTs", "masks", "labels")
"""Where data sets keep references, beside their images."""


@dataclass(frozen=True)
class References:
    """What predictions are scored against.

    Args:
        files: The reference of each case.
        labels: The number of each label in them.
        patients: The patient of each case.
        positions: The place of each case in its volume, for images of one slice.
        patients_known: False where nobody said which cases are of one patient; each then counts by itself.
        space: The unit of distances; None for images of one slice, which are scored in pixels in the slice.
        remarks: What else must be known.
        volumes: The volume of each case that is an image of one slice, where a patient has several.
    """

    files: CaseFiles
    labels: LabelNumbers
    patients: Mapping[str, str]
    positions: Mapping[str, int]
    patients_known: bool
    space: Space | None
    remarks: tuple[str, ...] = ()
    volumes: Mapping[str, str] = field(default_factory=dict)


def open_references(
    source: Path | Mapping[str, Path],
    *,
    labels: LabelNumbers | None = None,
    patients: Mapping[str, str] | None = None,
    patient_regex: str | None = None,
    each_case_is_a_patient: bool = False,
    tolerances: Sequence[float] = TOLERANCES,
) -> References:
    """Find references and say what they hold; every file is read once, or its header where labels are known.

    Args:
        source: A folder of masks (or one that holds `labelsTr` or `masks`), or the file of each case.
        labels: The numbers of labels; by default those of a `dataset.json`, else the numbers that are found.
        patients: The patient of each case.
        patient_regex: Finds the patient in a case's name where `patients` is not given: group `patient`, else the
            first, else all of it; a group `slice` gives an image's place.
        each_case_is_a_patient: No two cases are of one patient.
        tolerances: Of NSD, in mm, or in voxels where some reference states no spacing.

    Raises:
        DataError: No references, one that cannot be read, or no patient found in a name.
    """
    files = _files(source)
    known = labels or labels_beside(files.folder)
    values: set[int] = set()
    without_spacing = 0
    for path in files.files.values():
        if known is None:
            volume = read_stored(path, volumes=files.are_volumes)
            values.update(np.unique(volume.array).tolist())
            without_spacing += volume.grid.spacing is None
        elif files.are_volumes:
            without_spacing += (read_volume(path).grid if path.is_dir() else read_grid(path)).spacing is None
    said = f"{plural(without_spacing, 'reference states', 'references state')} no spacing: all distances are in voxels."
    records = _records(files, patients, patient_regex)
    remarks = [said] if files.are_volumes and without_spacing else []
    if patient_regex is not None and len(records) > 1 and len({record.patient for record in records}) == 1:
        remarks.append(
            f"All {len(records)} cases are of one patient by --patient-regex. Where that is wrong, give another, or "
            "--each-case-is-a-patient."
        )
    return References(
        files=files,
        labels=known or labels_found(values),
        patients={record.slice_id: record.patient for record in records},
        positions={record.slice_id: record.slice_index for record in records},
        patients_known=patients is not None or patient_regex is not None or each_case_is_a_patient,
        space=Space("voxels" if without_spacing else "mm", tuple(tolerances)) if files.are_volumes else None,
        remarks=tuple(remarks),
    )


def read_stored(path: Path, *, volumes: bool) -> Volume:
    """A mask file as stored: a volume, or a grey image as one slice without spacing.

    Raises:
        DataError: It cannot be read, or holds no whole numbers, or colours.
    """
    if volumes:
        return as_labels(read_volume(path), str(path))
    array = read_image(path).array
    if not (array == array[..., :1]).all():
        raise DataError(f"{path}: a mask in colours. Save each label as a grey value of its own.")
    plane = array[None, ..., 0]
    return as_labels(Volume(plane, Grid((1, plane.shape[1], plane.shape[2]))), str(path))


def _files(source: Path | Mapping[str, Path]) -> CaseFiles:
    if isinstance(source, Path):
        inner = [source / name for name in MASK_FOLDERS if (source / name).is_dir()]
        if len(inner) > 1:
            raise DataError(
                f"{source}: holds {' and '.join(folder.name for folder in inner)}. Name the one with the references."
            )
        return case_files(inner[0] if inner else source)
    if not source:
        raise DataError("The table of cases names no reference. Give it a column 'reference', or name --references.")
    for case, path in source.items():
        if not path.exists():
            raise DataError(f"{path}: does not exist, but is the reference of case {case}. Check the table of cases.")
    one = next(iter(source.values()))
    return CaseFiles(one.parent, dict(source), _are_volumes(source.values()))


def _are_volumes(paths: Iterable[Path]) -> bool:
    suffixes = {path.suffix.lower() for path in paths if path.is_file()}
    return not suffixes <= set(MASK_SUFFIXES)


def _records(files: CaseFiles, patients: Mapping[str, str] | None, patient_regex: str | None) -> list[Record]:
    """The cases with patient and place."""
    if patients is not None:
        if nobody := [case for case in files.files if case not in patients]:
            raise DataError(f"case {nobody[0]} has no patient in the table of cases. Name it there.")
        return numbered([Record(case, patients[case], 1, path, path) for case, path in files.files.items()])
    records = [Record(case, case, 1, path, path) for case, path in files.files.items()]
    if patient_regex is None:
        return records
    findings = Findings()
    found = grouped(records, patient_regex, findings)
    for finding in findings.found:
        raise DataError(f"{finding.where}: {finding.message}")
    return found
