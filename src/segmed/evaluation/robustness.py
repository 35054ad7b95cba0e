"""How runs fare on test images that were made worse: their evaluations under `--degrade`, beside that as they are."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from segmed.core.errors import DataError
from segmed.core.units import PATIENT, Unit, unit_of
from segmed.data.degrade import KINDS, Degradation
from segmed.evaluation.compare import Comparison, patient_scores
from segmed.evaluation.provenance import read_provenance
from segmed.evaluation.result import EVALUATION, Evaluation
from segmed.evaluation.statistics import Interval, bootstrap_ci
from segmed.models.prediction import PredictionConfig


@dataclass(frozen=True)
class Degraded:
    """A system's mean patient Dice under one degradation, and how much less that is than on the images as they are.

    Both with 95 % intervals over patients; of a loss the patients are paired. `patients` have a Dice under
    both; they are images where `unit` says so.
    """

    system: str
    degradation: Degradation
    dice: Interval
    loss: Interval
    patients: int
    unit: Unit = PATIENT


def degraded_results(comparison: Comparison, runs: Mapping[str, Path]) -> tuple[Degraded, ...]:
    """What the run folders of a comparison's systems hold of degraded evaluations of the same part and slices.

    Systems come in order of rank, degradations in that of `KINDS` and from mild to bad. Raises `DataError` where one
    is of other slices or data than the comparison.
    """
    return degraded_rows(comparison, {each.name: _of_run(runs.get(each.name), each) for each in comparison.systems})


def degraded_rows(
    comparison: Comparison, evaluations: Mapping[str, Mapping[Degradation, Evaluation]]
) -> tuple[Degraded, ...]:
    """The same from evaluations of each system, by its name, of the comparison's slices."""
    return tuple(
        _result(system, degradation, evaluation, comparison.patients)
        for system in comparison.systems
        for degradation, evaluation in sorted(evaluations.get(system.name, {}).items(), key=lambda item: item[0].order)
    )


def kinds_of(results: Iterable[Degraded]) -> tuple[str, ...]:
    """The kinds of degradation that occur, in the order of `KINDS`."""
    there = {result.degradation.kind for result in results}
    return tuple(kind for kind in KINDS if kind in there)


def degraded_evaluations(run: Path, part: str) -> dict[Degradation, Evaluation]:
    """The degraded evaluations in a run folder, read whole."""
    found = {}
    for file in sorted(run.glob(f"evaluation-{part}-*/{EVALUATION}")):
        degradation = read_provenance(file).degradation
        if degradation is not None:
            found[degradation] = Evaluation.load(file.parent)
    return found


def _of_run(run: Path | None, system: Evaluation) -> dict[Degradation, Evaluation]:
    if run is None or system.space is not None:  # degraded images are scored slice by slice
        return {}
    found = degraded_evaluations(run, system.part)
    slice_ids = {row.slice_id for row in system.slices}
    for degradation, evaluation in found.items():
        if evaluation.data_hash != system.data_hash or {row.slice_id for row in evaluation.slices} != slice_ids:
            raise DataError(
                f"{run}: its evaluation under {degradation} is of other slices or data than that on {system.part}. "
                f"Repeat it with `segmed evaluate {run} --degrade {degradation}`."
            )
        if len({evaluation.provenance.hashes, system.provenance.hashes} - {()}) > 1:
            raise DataError(
                f"{run}: its evaluation under {degradation} is of other weights than that on {system.part}, as when it "
                f"was made anew. Repeat both with `segmed evaluate {run}`, and with `--degrade {degradation}`."
            )
        if _applied(evaluation) != _applied(system):
            raise DataError(
                f"{run}: its evaluation under {degradation} has another threshold, test-time augmentation or "
                f"post-processing than that on {system.part}. Repeat it with `segmed evaluate {run} --degrade "
                f"{degradation}`."
            )
    return found


def _applied(evaluation: Evaluation) -> tuple[object, ...]:
    """How probabilities became masks; what an evaluation of an early version does not say was not done."""
    return evaluation.threshold, evaluation.provenance.prediction or PredictionConfig()


def _result(system: Evaluation, degradation: Degradation, evaluation: Evaluation, patients: Sequence[str]) -> Degraded:
    scores = patient_scores([system, evaluation], patients)
    unit = unit_of(patients_known=system.patients_known and evaluation.patients_known)
    both: Float64[np.ndarray, "2 p"] = scores[:, ~np.isnan(scores).any(axis=0)]
    if both.shape[1] == 0:
        nothing = Interval(math.nan, math.nan, math.nan)
        return Degraded(system.name, degradation, nothing, nothing, 0, unit)
    return Degraded(
        system.name, degradation, bootstrap_ci(both[1]), bootstrap_ci(both[0] - both[1]), int(both.shape[1]), unit
    )
