"""Score the masks of any tool against references: volumes in three dimensions, images of one slice in the slice.

A case without a mask is scored as an empty one, and named. A mask on another grid than its reference is not scored
before somebody said what to do with it, except where its axes are merely swapped or turned round.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from segmed.core.errors import DataError
from segmed.core.grid_difference import Mend, grid_difference, reoriented, resampled_labels
from segmed.core.label_volume import LabelVolume
from segmed.core.labels import LabelMap
from segmed.core.pseudonyms import shareable
from segmed.core.units import unit_of
from segmed.core.volume import Grid, Volume
from segmed.core.wording import plural
from segmed.evaluation.context import Context
from segmed.evaluation.evaluate import evaluate
from segmed.evaluation.mask_cases import References, read_stored
from segmed.evaluation.mask_files import case_files, matched
from segmed.evaluation.mask_labels import LabelNumbers, labels_beside, numbered, of_system
from segmed.evaluation.over_volumes import over_volumes
from segmed.evaluation.provenance import Bootstrap, ReferenceFiles
from segmed.evaluation.result import Cost, Evaluation
from segmed.evaluation.rows import CaseRow, PatientRow
from segmed.evaluation.statistics import RESAMPLES, bootstrap_weights
from segmed.evaluation.table import summarise
from segmed.evaluation.volume import PatientVolume
from segmed.evaluation.volume_metrics import Case, metrics_in, scores_in
from segmed.io.dicom.reading import is_dicom_mask, read_dicom_labels
from segmed.metrics.counts import count

OtherGrids = Literal["refuse", "resample", "ignore"]
"""What is done with a mask on another grid: nothing; the nearest voxel taken; or its geometry not believed."""
NAMED = 5


@dataclass(frozen=True)
class Placed:
    """A mask as labels 1 … K on its reference's grid, how it came there, and numbers in it that are no label."""

    volume: Volume
    mended: str
    others: tuple[int, ...]


class Predictions:
    """The masks of one tool, placed on the references' grids; a case without a file is an empty mask."""

    def __init__(
        self, references: References, files: Mapping[str, Path], labels: LabelNumbers, other_grids: OtherGrids
    ) -> None:
        """Remember what is whose; nothing is read."""
        self.references, self.files = references, files
        self._labels, self._other_grids = labels, other_grids

    @property
    def cases(self) -> tuple[str, ...]:
        """The cases, in the order of the references, with a file or not."""
        return tuple(self.references.files.files)

    def reference(self, case: str) -> Volume:
        """The reference of a case as labels 1 … K."""
        return reference_of(self.references, case)

    def placed(self, case: str, reference: Volume) -> Placed:
        """The mask of a case on the grid of its reference."""
        path = self.files.get(case)
        if path is None:
            return Placed(reference.with_array(np.zeros(reference.grid.shape, np.uint8)), "", ())
        volume, others = self._read(path, reference.grid)
        difference = grid_difference(reference.grid, volume.grid)
        if difference.same:
            return Placed(reference.with_array(volume.array), "", others)
        if difference.mend is Mend.REORIENT:
            return Placed(reference.with_array(reoriented(volume, reference.grid).array), "axes turned", others)
        fits = volume.grid.shape == reference.grid.shape
        if self._other_grids == "ignore" and fits:
            return Placed(reference.with_array(volume.array), "geometry ignored", others)
        if self._other_grids == "resample" and difference.mend is Mend.RESAMPLE:
            return Placed(resampled_labels(volume, reference.grid), "resampled", others)
        raise DataError(f"{path}: {difference}")

    def _read(self, path: Path, grid: Grid) -> tuple[Volume, tuple[int, ...]]:
        """The labels of a file, or of a folder with a file for each label; DICOM names its own."""
        if _holds_dicom(path) and is_dicom_mask(path):
            found = read_dicom_labels(path, grid=grid)
            array, others = numbered(found.volume.array, self._segments(path, found), str(path), others="ignore")
            return found.volume.with_array(array), others
        if path.is_dir():
            return _read_label_files(path, self._labels.names), ()
        stored = read_stored(path, volumes=self.references.files.are_volumes)
        rule = "refuse" if self._labels is self.references.labels else "ignore"
        array, others = numbered(stored.array, self._labels, str(path), others=rule)
        return stored.with_array(array), others

    def _segments(self, path: Path, found: LabelVolume) -> LabelNumbers:
        """The number of each label in a DICOM mask by its name; one that the mask lacks has none of its voxels."""
        own = {label.name.casefold(): label.value for label in found.labels}
        numbers = {name: own.get(name.casefold(), -1) for name in self.references.labels.names}
        if own and max(numbers.values()) < 0:
            raise DataError(f"{path}: none of its segments ({', '.join(own)}) has the name of a label. Use --labels.")
        return LabelNumbers(numbers, str(path))


class PlacedVolumes(Mapping[str, Volume]):
    """The masks of one tool by case, on the references' grids, each read when asked for."""

    def __init__(self, predictions: Predictions) -> None:
        """Remember whose they are; nothing is read."""
        self._predictions = predictions

    def __getitem__(self, case: str) -> Volume:
        """The mask of a case; raises `KeyError` for an unknown one, `DataError` for one that cannot be placed."""
        return self._predictions.placed(case, self._predictions.reference(case)).volume

    def __iter__(self) -> Iterator[str]:
        """The cases, in the order of the references."""
        return iter(self._predictions.cases)

    def __len__(self) -> int:
        """How many cases there are, with a file or not."""
        return len(self._predictions.cases)


def reference_of(references: References, case: str) -> Volume:
    """The reference of a case as labels 1 … K; raises `KeyError` for an unknown case."""
    path = references.files.files[case]
    stored = read_stored(path, volumes=references.files.are_volumes)
    return stored.with_array(numbered(stored.array, references.labels, str(path), others="refuse")[0])


def score_masks(
    predictions: Path | Mapping[str, Path],
    references: References,
    *,
    name: str,
    labels: LabelNumbers | None = None,
    other_grids: OtherGrids = "refuse",
    context: Context | None = None,
    cost: Cost | None = None,
    references_stay: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Score the masks of one tool.

    Args:
        predictions: A folder of masks whose names are those of the references, or the file of each case.
        references: From `open_references`.
        name: What the tool is called in tables.
        labels: The numbers of labels in its masks; by default those of its own `dataset.json`, else the references'.
        other_grids: What is done with masks on another grid than their reference's; by default they are refused, all
            of them by name.
        context: What is known of them beside; by default they are of another tool, on a test part.
        cost: What the run that made them costs, where that was measured.
        references_stay: Whether the result says where the references lie; False where they are removed soon.
        resamples: Bootstrap resamples for the intervals over patients.
        seed: Draws them.

    Returns:
        An evaluation like any other: of volumes with distances in millimetres (in voxels where spacings are unknown),
        of images of one slice with those of `evaluate`.

    Raises:
        DataError: A mask that cannot be read or is on another grid, a number that is no label, or no mask at all.

    Example:
        >>> from segmed.evaluation.mask_cases import open_references
        >>> references = open_references(Path("labelsTs"), each_case_is_a_patient=True)
        >>> score_masks(Path("pred/nnunet"), references, name="nnU-Net").metrics["hd95_mm"].unit
        'mm'
    """
    files, unused, beside = _files(predictions, references)
    numbers = of_system(references.labels, labels or beside, name)
    source = Predictions(references, files, numbers, other_grids)
    missing = tuple(case for case in source.cases if case not in files)
    remarks = (f"{plural(len(unused), 'mask')} of no case, not scored.",) if unused else ()
    given = context or Context()
    told_before = (*given.remarks, *references.remarks, *remarks)
    patients_known = given.patients_known and references.patients_known
    known = replace(given, patients_known=patients_known, missing=missing, remarks=told_before)
    if references_stay:
        files_told = ReferenceFiles(shareable(references.files.folder), dict(references.labels.numbers))
        told = replace(known.provenance, references=files_told).telling(**{"labels told by": numbers.source})
        known = replace(known, provenance=told)
    score = _slices if references.space is None else _volumes
    return score(source, name, known, cost or Cost(), resamples, seed)


def _files(
    predictions: Path | Mapping[str, Path], references: References
) -> tuple[Mapping[str, Path], tuple[str, ...], LabelNumbers | None]:
    """The file of each case, the files of no case, and the labels that lie beside them."""
    if isinstance(predictions, Path):
        found = case_files(predictions)
        if found.are_volumes != references.files.are_volumes:
            kinds = [("images", "volumes")[each.are_volumes] for each in (found, references.files)]
            raise DataError(f"{predictions}: holds {kinds[0]}, but the references are {kinds[1]}. Convert one of them.")
        return *matched(references.files, found), labels_beside(predictions)
    for case, path in predictions.items():
        if not path.exists():
            raise DataError(f"{path}: does not exist, but is named for case {case}. Correct it, or leave it empty.")
    known = references.files.files
    unused = tuple(case for case in predictions if case not in known)
    return {case: path for case, path in predictions.items() if case in known}, unused, None


def _volumes(source: Predictions, name: str, context: Context, cost: Cost, resamples: int, seed: int) -> Evaluation:
    references = source.references
    space = references.space
    assert space is not None
    rows: list[CaseRow] = []
    refused: list[str] = []
    others: set[int] = set()
    for case in source.cases:
        reference = source.reference(case)
        try:
            placed = source.placed(case, reference)
        except DataError as error:
            refused.append(str(error))
            continue
        others.update(placed.others)
        rows += _case_rows(source, case, reference, placed)
    _require_none(refused)
    patients = _patients(rows)
    unit = unit_of(patients_known=context.patients_known)
    weights = bootstrap_weights(len({row.patient for row in patients}), resamples, seed)
    summary = summarise(patients, (), {}, weights, unit, metrics_in(space))
    names = references.labels.names
    return Evaluation(
        name=name,
        kind=context.kind,
        part=context.part,
        leaking=context.leaking,
        threshold=context.threshold,
        labels=LabelMap(names, tuple(range(len(names) + 1))),
        data_hash=context.data_hash,
        split=context.split,
        metrics=summary.metrics,
        by_label=summary.by_label,
        patients=patients,
        slices=(),
        predictions={},
        cost=cost,
        provenance=replace(context.provenance, bootstrap=Bootstrap(resamples, unit.one, seed)),
        prompts=context.prompts,
        oracle=context.oracle,
        patients_known=context.patients_known,
        training_known=context.training_known,
        space=space,
        cases=tuple(rows),
        volumes=PlacedVolumes(source),
        missing=context.missing,
        remarks=(*context.remarks, *_remarks(rows, others)),
    )


def _case_rows(source: Predictions, case: str, reference: Volume, placed: Placed) -> list[CaseRow]:
    references = source.references
    assert references.space is not None
    spacing = reference.grid.spacing
    path = references.files.files[case]
    measured = spacing if references.space.unit == "mm" else None
    rows = []
    for label, name in enumerate(references.labels.names, start=1):
        truth, guess = reference.array == label, placed.volume.array == label
        counts = count(truth, guess)
        one = Case(truth, guess, counts, measured, references.space.tolerances)
        rows.append(
            CaseRow(
                case=case,
                patient=references.patients[case],
                label=name,
                reference=os.path.relpath(path.resolve(), references.files.folder.resolve()),
                given=case in source.files,
                spacing="" if spacing is None else " x ".join(f"{step:.6g}" for step in spacing),
                mended=placed.mended,
                slices=reference.grid.shape[0],
                reference_voxels=counts.reference,
                predicted_voxels=counts.predicted,
                tp=counts.tp,
                fp=counts.fp,
                fn=counts.fn,
                tn=counts.tn,
                one_sided=one.one_sided,
                lesions=one.lesions.lesions,
                scores={column: score(one) for column, score in scores_in(references.space).items()},
            )
        )
    return rows


def _patients(rows: Sequence[CaseRow]) -> tuple[PatientRow, ...]:
    """A row per patient and label: counts are sums over its cases, scores means over those that have one."""
    groups: dict[str, list[PatientRow]] = {}
    for row in rows:
        one = PatientRow(
            patient=row.patient,
            label=row.label,
            slices=row.slices,
            reference_px=row.reference_voxels,
            predicted_px=row.predicted_voxels,
            tp=row.tp,
            fp=row.fp,
            fn=row.fn,
            one_sided_slices=0,
            missed=row.reference_voxels > 0 and row.tp == 0,
            lesions=row.lesions,
            scores=row.scores,
        )
        groups.setdefault(row.patient, []).append(one)
    return tuple(row for some in groups.values() for row in over_volumes(some))


def _remarks(rows: Sequence[CaseRow], others: set[int]) -> tuple[str, ...]:
    mended: dict[str, set[str]] = {}
    for row in rows:
        if row.mended:
            mended.setdefault(row.mended, set()).add(row.case)
    said = {
        "axes turned": "had axes in another order than the reference, which was undone without resampling",
        "geometry ignored": "had another geometry than the reference, which was not believed",
        "resampled": "lay on another grid and were resampled to the reference's by the nearest voxel",
    }
    found = [f"{plural(len(cases), 'mask')} {said[how]}." for how, cases in mended.items()]
    if others:
        numbers = sorted(others)
        shown = ", ".join(map(str, numbers[:NAMED])) + (" …" if len(numbers) > NAMED else "")
        found.append(f"Numbers without a label of the references are taken for background: {shown}.")
    return tuple(found)


def _require_none(refused: Sequence[str]) -> None:
    if refused:
        more = len(refused) - NAMED
        shown = "\n".join(refused[:NAMED]) + (f"\nand {plural(more, 'other')}" if more > 0 else "")
        raise DataError(
            f"{shown}\nNothing was scored. Use --other-grids resample where the geometry is right, or --other-grids "
            "ignore where the voxels are known to be in the reference's order."
        )


def _slices(source: Predictions, name: str, context: Context, cost: Cost, resamples: int, seed: int) -> Evaluation:
    """Images of one slice: each patient's are one volume, as everywhere else."""
    references = source.references
    names = references.labels.names
    groups: dict[str, list[str]] = {}
    for case in source.cases:
        groups.setdefault(references.patients[case], []).append(case)

    def volumes() -> Iterator[PatientVolume]:
        for patient, cases in groups.items():
            ordered = tuple(sorted(cases, key=lambda case: references.positions[case]))
            truth = [source.reference(case) for case in ordered]
            yield PatientVolume(
                patient=patient,
                cases=ordered,
                reference=[_plane(one) for one in truth],
                prediction=[_plane(source.placed(case, one).volume) for case, one in zip(ordered, truth, strict=True)],
                slice_indices=tuple(references.positions[case] for case in ordered),
            )

    return evaluate(
        volumes(),
        LabelMap(names, tuple(range(len(names) + 1))), name=name, context=context, resamples=resamples, seed=seed,
    )  # fmt: skip


def _holds_dicom(path: Path) -> bool:
    return any(path.rglob("*.dcm")) if path.is_dir() else path.suffix.lower() == ".dcm"


def _plane(volume: Volume) -> UInt8[np.ndarray, "h w"]:
    return volume.array[0]


def _read_label_files(folder: Path, labels: Sequence[str]) -> Volume:
    """A mask made of a file for each label, named as the label; raises `DataError` where one lacks."""
    files = {name.casefold(): path for name, path in case_files(folder).files.items()}
    found: Volume | None = None
    for number, label in enumerate(labels, start=1):
        path = files.get(label.casefold())
        if path is None:
            raise DataError(f"{folder}: has no file of the label {label!r}; there are {', '.join(files)}. Add it.")
        one = read_stored(path, volumes=True)
        if found is None:
            found = one.with_array(np.zeros(one.grid.shape, np.uint8))
        elif not found.grid.is_same(one.grid):
            raise DataError(f"{path}: lies on another grid than the other labels of its case. Export them together.")
        found.array[one.array > 0] = number
    assert found is not None
    return found
