"""Join a cross-validation's folds, and its seeds: every patient is scored by networks that never saw it.

Folds are joined row by row. Seeds are nested in patients: a patient's numbers are means over seeds, and it is missed
where at least half of the seeds missed it. Intervals of means over patients hold for other seeds as well
(`evaluation.seeds`), all other intervals and the tests are over patients alone. Numbers by slice rest on the slices of
all seeds, drawn with their patient.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from segmed.core.errors import DataError
from segmed.core.units import Unit
from segmed.evaluation.metric import MetricValue, OverPatients
from segmed.evaluation.metrics import METRICS
from segmed.evaluation.result import Calibration, Cost, Evaluation
from segmed.evaluation.rows import PatientRow, SliceRow
from segmed.evaluation.scored import Scored
from segmed.evaluation.seeds import interval_over_seeds
from segmed.evaluation.statistics import RESAMPLES, bootstrap_weights
from segmed.evaluation.table import Metrics, Summary, summarise
from segmed.evaluation.undefined import mean_of_defined


def pool_folds(folds: Sequence[Evaluation], *, name: str, resamples: int = RESAMPLES, seed: int = 0) -> Evaluation:
    """One evaluation of the patients of all folds. Raises `DataError` where a patient is in two folds."""
    rows = [row for fold in folds for row in fold.patients]
    twice = [key for key, number in Counter((row.patient, row.label) for row in rows).items() if number > 1]
    if twice:
        raise DataError(
            f"{name}: patient {twice[0][0]} is tested in two folds. Evaluate each fold on its own test part."
        )
    slices = [row for fold in folds for row in fold.slices]
    order = _order(rows)
    rows = sorted(rows, key=lambda row: order[row.patient])
    slices = sorted(slices, key=lambda row: order[row.patient])
    first = folds[0]
    calibration = pool_calibration([fold.calibration for fold in folds])
    summary = _summary(rows, slices, calibration, resamples, seed, first.unit)
    return replace(
        first,
        name=name,
        leaking=any(fold.leaking for fold in folds),
        patients_known=all(fold.patients_known for fold in folds),
        training_known=all(fold.training_known for fold in folds),
        threshold=None if len(folds) > 1 else first.threshold,
        split=replace(first.split, fold="all", units=len(order), slices=len(slices)),
        metrics=summary.metrics,
        by_label=summary.by_label,
        patients=tuple(rows),
        slices=tuple(slices),
        predictions={slice_id: mask for fold in folds for slice_id, mask in fold.predictions.items()}
        if len(folds) < 2
        else _Joined([fold.predictions for fold in folds]),
        cost=pool_costs([fold.cost for fold in folds], runs=[fold.provenance.run for fold in folds]),
        calibration=calibration,
        boxes=tuple(row for fold in folds for row in fold.boxes),
        provenance=replace(first.provenance, hashes=_hashes(folds)).telling(
            thresholds=[fold.threshold for fold in folds]
        ),
    )


def nest_seeds(seeds: Sequence[Evaluation], *, name: str, resamples: int = RESAMPLES, seed: int = 0) -> Evaluation:
    """The mean over seeds of each patient's numbers. Raises `DataError` where seeds differ in patients."""
    if len(seeds) == 1:
        return replace(seeds[0], name=name)
    keys = [[(row.patient, row.label) for row in one.patients] for one in seeds]
    if any(other != keys[0] for other in keys[1:]):
        raise DataError(f"{name}: its seeds were tested on different patients. Finish the study first.")
    by_seed = [one.patients for one in seeds]
    rows = [_mean_row(several) for several in zip(*by_seed, strict=True)]
    slices = [row for one in seeds for row in one.slices]
    calibration = pool_calibration([one.calibration for one in seeds])
    summary = _summary(rows, slices, calibration, resamples, seed, seeds[0].unit)
    return replace(
        seeds[0],
        name=name,
        leaking=any(one.leaking for one in seeds),
        patients_known=all(one.patients_known for one in seeds),
        training_known=all(one.training_known for one in seeds),
        metrics=_with_seeds(summary.metrics, by_seed),
        by_label={
            label: _with_seeds(metrics, [[row for row in rows if row.label == label] for rows in by_seed])
            for label, metrics in summary.by_label.items()
        },
        patients=tuple(rows),
        slices=tuple(slices),
        boxes=tuple(row for one in seeds for row in one.boxes),
        cost=pool_costs([one.cost for one in seeds]),
        calibration=calibration,
        provenance=replace(
            seeds[0].provenance.telling(seeds=len(seeds)),
            hashes=_hashes(seeds),
            dice_of_seeds=tuple(mean_dice(one) for one in seeds),
        ),
    )


def _hashes(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    return tuple(each for evaluation in evaluations for each in evaluation.provenance.hashes)


def mean_dice(evaluation: Evaluation) -> float:
    """Mean volumetric Dice over the patients that have one."""
    return mean_of_defined(list(evaluation.by_patient("dice").values()))


def pool_calibration(several: Sequence[Calibration | None]) -> Calibration | None:
    """One reliability curve from several with the same bins; None where any has none."""
    known = [each for each in several if each is not None]
    if len(known) < len(several) or not known or len({each.bin_edges for each in known}) > 1:
        return None
    counts = np.array([each.counts for each in known], np.float64)
    total = counts.sum(axis=0)

    def mean(column: str) -> tuple[float, ...]:
        values = np.nan_to_num(np.array([getattr(each, column) for each in known], np.float64))
        return tuple(
            np.divide((values * counts).sum(0), total, out=np.full(len(total), np.nan), where=total > 0).tolist()
        )

    return Calibration(
        known[0].bin_edges, mean("mean_probability"), mean("observed_frequency"), tuple(int(n) for n in total)
    )


def pool_costs(costs: Sequence[Cost], runs: Sequence[object] = ()) -> Cost:
    """Parameters of one network, mean time per image, largest memory, training time of all together.

    Of `runs` that are named, one that was tested several times was trained once.
    """
    names = [run if run is not None else place for place, run in enumerate(runs)] or list(range(len(costs)))
    times = [cost.ms_per_image for cost in costs if cost.ms_per_image is not None]
    memory = [cost.peak_memory_mib for cost in costs if cost.peak_memory_mib is not None]
    once = dict(zip(names, costs, strict=True)).values()
    return Cost(
        parameters=costs[0].parameters,
        ms_per_image=sum(times) / len(times) if times else None,
        peak_memory_mib=max(memory) if memory else None,
        training_seconds=_sum([cost.training_seconds for cost in once]),
        training_cpu_seconds=_sum([cost.training_cpu_seconds for cost in once]),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


Mask = UInt8[np.ndarray, "h w"]


class _Joined(Mapping[str, Mask]):
    """The masks of several folds, by slice, each read where it is."""

    def __init__(self, parts: Sequence[Mapping[str, Mask]]) -> None:
        self._home = {slice_id: part for part in parts for slice_id in part}

    def __getitem__(self, slice_id: str) -> Mask:
        return self._home[slice_id][slice_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._home)

    def __len__(self) -> int:
        return len(self._home)


def _summary(
    rows: Sequence[PatientRow],
    slices: Sequence[SliceRow],
    calibration: Calibration | None,
    resamples: int,
    seed: int,
    unit: Unit,
) -> Summary:
    """All numbers of joined rows; the calibration error is of all labels together, since its parts are not kept."""
    patients = len({row.patient for row in rows})
    summary = summarise(rows, slices, {}, bootstrap_weights(patients, resamples, seed), unit)
    if calibration is None:
        return summary
    return replace(summary, metrics={**summary.metrics, "ece": _calibration_error(calibration, patients)})


def _with_seeds(metrics: Metrics, by_seed: Sequence[Sequence[PatientRow]]) -> Metrics:
    """Means over patients with intervals that hold for other seeds too."""
    scored = [Scored.of(rows, (), (), np.ones((1, 1))) for rows in by_seed]
    changed = dict(metrics)
    for metric in METRICS:
        over = metric.compute
        if metric.name not in metrics or not isinstance(over, OverPatients) or over.summary != "mean":
            continue
        found = interval_over_seeds(np.stack([over.values(each) for each in scored]))
        changed[metric.name] = replace(metrics[metric.name], low=found.low, high=found.high)
    return changed


def _calibration_error(calibration: Calibration, patients: int) -> MetricValue:
    counts = np.array(calibration.counts, np.float64)
    gap = np.abs(np.array(calibration.mean_probability) - np.array(calibration.observed_frequency))
    value = float((np.nan_to_num(gap) * counts).sum() / counts.sum()) if counts.sum() else math.nan
    text = "Expected calibration error near tumour, pixels of all folds together; no interval"
    return MetricValue(value, math.nan, math.nan, patients, 0, "", text, False)


def _order(rows: Sequence[PatientRow]) -> dict[str, int]:
    return {patient: place for place, patient in enumerate(sorted({row.patient for row in rows}))}


def _mean_row(several: Sequence[PatientRow]) -> PatientRow:
    """One patient and label over seeds: means, sums of what counts slices, and missed where half of the seeds did.

    Slices are summed, as those of all seeds are joined.
    """
    first = several[0]
    return PatientRow(
        patient=first.patient,
        label=first.label,
        slices=sum(row.slices for row in several),
        reference_px=_mean_count([row.reference_px for row in several]),
        predicted_px=_mean_count([row.predicted_px for row in several]),
        tp=_mean_count([row.tp for row in several]),
        fp=_mean_count([row.fp for row in several]),
        fn=_mean_count([row.fn for row in several]),
        one_sided_slices=sum(row.one_sided_slices for row in several),
        missed=2 * sum(row.missed for row in several) >= len(several),
        lesions=_mean_count([row.lesions for row in several]),
        scores={name: mean_of_defined([row.scores[name] for row in several]) for name in first.scores},
    )


def _mean_count(counts: Sequence[int]) -> int:
    return round(sum(counts) / len(counts))
