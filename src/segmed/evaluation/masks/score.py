"""Score the masks of any tool against references: volumes in three dimensions, images of one slice in the slice.

A case without a mask is scored as an empty one, and named. A mask on another grid than its reference is not scored
before somebody said what to do with it, except where its axes are merely swapped or turned round.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.pseudonyms import shareable
from segmed.core.units import unit_of
from segmed.core.volume import Volume
from segmed.core.wording import plural
from segmed.evaluation.context import Context
from segmed.evaluation.evaluate import evaluate
from segmed.evaluation.masks.files import case_files, matched
from segmed.evaluation.masks.labels import LabelNumbers, labels_beside, of_system
from segmed.evaluation.masks.placed import OtherGridError, OtherGrids, Placed, PlacedVolumes, Predictions
from segmed.evaluation.masks.references import References
from segmed.evaluation.over_volumes import over_volumes
from segmed.evaluation.provenance import Bootstrap, ReferenceFiles
from segmed.evaluation.result import Cost, Evaluation
from segmed.evaluation.rows import CaseRow, PatientRow
from segmed.evaluation.statistics import RESAMPLES, bootstrap_weights
from segmed.evaluation.table import summarise
from segmed.evaluation.volume import PatientVolume
from segmed.evaluation.volume_metrics import Case, metrics_in, scores_in
from segmed.metrics.counts import count

NAMED = 5


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
        >>> from segmed.evaluation.masks.references import open_references
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
        found = case_files(predictions, references.labels.names)
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
    refused: list[DataError] = []
    others: set[int] = set()
    for case in source.cases:
        reference = source.reference(case)
        try:
            placed = source.placed(case, reference)
        except DataError as error:
            refused.append(error)
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
        "resampled": "lay on another grid than the reference, to which the nearest voxels were taken",
    }
    found = [f"{plural(len(cases), 'mask')} {said[how]}." for how, cases in mended.items()]
    if others:
        numbers = sorted(others)
        shown = ", ".join(map(str, numbers[:NAMED])) + (" …" if len(numbers) > NAMED else "")
        found.append(f"Numbers without a label of the references are taken for background: {shown}.")
    return tuple(found)


def _require_none(refused: Sequence[DataError]) -> None:
    if refused:
        more = len(refused) - NAMED
        shown = "\n".join(map(str, refused[:NAMED])) + (f"\nand {plural(more, 'other')}" if more > 0 else "")
        ways = (
            " Use --other-grids resample where the geometry is right, or --other-grids ignore where the voxels are "
            "known to be in the reference's order."
        )
        other_grids = any(isinstance(each, OtherGridError) for each in refused)
        raise DataError(f"{shown}\nNothing was scored.{ways if other_grids else ''}")


def _slices(source: Predictions, name: str, context: Context, cost: Cost, resamples: int, seed: int) -> Evaluation:
    """Images of one slice, each a case here and a slice of a volume in the result, as everywhere else."""
    references = source.references
    names = references.labels.names
    groups: dict[str, list[str]] = {}
    for case in source.cases:
        groups.setdefault(references.volumes.get(case, references.patients[case]), []).append(case)

    def volumes() -> Iterator[PatientVolume]:
        for volume, cases in groups.items():
            ordered = tuple(sorted(cases, key=lambda case: references.positions[case]))
            truth = [source.reference(case) for case in ordered]
            yield PatientVolume(
                patient=references.patients[ordered[0]],
                volume=volume,
                slice_ids=ordered,
                reference=[_plane(one) for one in truth],
                prediction=[_plane(source.placed(case, one).volume) for case, one in zip(ordered, truth, strict=True)],
                slice_indices=tuple(references.positions[case] for case in ordered),
            )

    return evaluate(
        volumes(),
        LabelMap(names, tuple(range(len(names) + 1))), name=name, context=context, resamples=resamples, seed=seed,
    )  # fmt: skip


def _plane(volume: Volume) -> UInt8[np.ndarray, "h w"]:
    return volume.array[0]
