"""Choose threshold, test-time augmentation and post-processing of a trained predictor on validation patients.

All candidates are scored by mean volumetric Dice over the patients; among equals the simplest wins. The test part is
never looked at. Sizes in the slice, in the volume and against the largest component are tried one at a time, not
together: fewer candidates, less chance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped, UInt8

from segmed.core.components import components
from segmed.core.progress import Progress, tracked
from segmed.core.records import Record
from segmed.core.slice_neighbours import stacked
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.part import records_of
from segmed.evaluation.run import Plan
from segmed.evaluation.statistics import mean_of_defined
from segmed.inference.base import VolumePredictor
from segmed.inference.components import places_in_stack, removed
from segmed.inference.from_data import patient_slices
from segmed.metrics import counts
from segmed.models.prediction import THRESHOLDS, TTA_NAMES, PredictionConfig, Tta

SMALLEST_IN_SLICE = (0, 5, 10, 20, 40, 80)
SMALLEST_IN_VOLUME = (0, 10, 25, 50, 100, 200, 400)
SHARES_OF_LARGEST = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)

Candidate = tuple[float, str, int | float]
"""Threshold, `slice`, `volume` or `share`, and the smallest component kept: pixels there, voxels there, or its share of
the largest in the volume (0 keeps all)."""


@dataclass(frozen=True)
class Choice:
    """A candidate with its mean Dice over the validation patients."""

    threshold: float
    prediction: PredictionConfig
    dice: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"threshold": self.threshold, **asdict(self.prediction), "dice": self.dice}


@dataclass(frozen=True)
class Tuning:
    """What was chosen, what the predictor had before, and how many patients and candidates that rests on."""

    best: Choice
    before: Choice
    patients: int
    candidates: int

    def to_json(self) -> dict[str, Any]:
        """Plain values, as kept in a run's config under `training.tuned`."""
        counts = {"patients": self.patients, "candidates": self.candidates}
        return {"best": self.best.to_json(), "before": self.before.to_json(), **counts}


def tune(
    predictor: VolumePredictor,
    decoded: DecodedDataset,
    plan: Plan,
    *,
    ttas: Sequence[Tta] | None = None,
    components: bool = True,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> Tuning:
    """Score every candidate on the plan's part (which should be the validation part) and choose the best.

    What the predictor has now is scored as it is, and is kept where no candidate is better.

    Args:
        predictor: A run or an ensemble.
        decoded: The data set of the plan.
        plan: What is predicted.
        ttas: The kinds of test-time augmentation that may be chosen; None: all of which the predictor is capable.
        components: Whether removals of small components may be chosen; otherwise the predictor's own stays.
        batch_size: Slices that go through the network at a time.
        progress: Counts volumes.
    """
    own = replace(predictor.config.prediction, tta=predictor.tta)
    ttas = predictor.ttas if ttas is None else ttas
    asked = tuple(dict.fromkeys([*ttas, own.tta]))
    groups = records_of(decoded, plan.split.fold(plan.fold).part(plan.part))
    candidates = _candidates()
    searched = ttas if components else ()
    among = [choice.prediction for choice in _choices_of(own.tta, candidates)]
    kept = [replace(own, tta=tta) for tta in ttas] if not components or own not in among else []
    tried = [_choices_of(tta, candidates) for tta in searched] + [_at_all_thresholds(each) for each in kept]
    rows: list[dict[str, list[Float64[np.ndarray, " c"]]]] = [{} for _ in (*tried, own)]
    for records in tracked(groups.values(), progress):
        volume = _answers(predictor, decoded, records, asked, batch_size)
        found = [
            *(
                patient_dice(volume.probabilities[tta], volume.reference, volume.positions, candidates)
                for tta in searched
            ),
            *(_dice_at(volume, each, THRESHOLDS) for each in kept),
            _dice_at(volume, own, [predictor.config.threshold]),
        ]
        for row, dice in zip(rows, found, strict=True):
            row.setdefault(records[0].patient, []).append(dice)
    *scores, before = [mean_over_patients(row) for row in rows]
    choices = [
        replace(choice, dice=float(dice))
        for some, each in zip(tried, scores, strict=True)
        for choice, dice in zip(some, each, strict=True)
    ]
    had = Choice(predictor.config.threshold, own, float(before[0]))
    return Tuning(min([*choices, had], key=_merit), had, len(rows[-1]), len(choices))


def patient_dice(
    probabilities: Sequence[Float[np.ndarray, "k _h _w"]],
    reference: Sequence[UInt8[np.ndarray, "_h _w"]],
    positions: Sequence[int],
    candidates: Sequence[Candidate],
) -> Float64[np.ndarray, " c"]:
    """Volumetric Dice of one volume for each candidate, the mean over labels that have one; NaN where none has."""
    labels = probabilities[0].shape[0]
    by_label = np.full((labels, len(candidates)), np.nan)
    peak = [each.max(axis=0) for each in probabilities]
    least = min(threshold for threshold, _, _ in candidates)
    box = _box_of(stacked([each >= least for each in peak], positions))  # no candidate predicts outside it
    best = _in_box(peak, positions, box)
    which = _in_box([each.argmax(axis=0).astype(np.uint8) + 1 for each in probabilities], positions, box)
    labelled = _in_box(reference, positions, box)
    for label in range(1, labels + 1):
        mine, truth = which == label, labelled == label
        total = sum(np.count_nonzero(mask == label) for mask in reference)
        sizes: dict[tuple[float, str], tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]] = {}
        for column, (threshold, kind, smallest) in enumerate(candidates):
            place = "slice" if kind == "slice" else "volume"
            if (threshold, place) not in sizes:
                sizes[threshold, place] = _components((best >= threshold) & mine, truth, place)
            size, hits = sizes[threshold, place]
            kept = size >= (smallest * size.max(initial=0) if kind == "share" else smallest)
            predicted = int(size[kept].sum())
            if predicted + total:
                by_label[label - 1, column] = 2 * int(hits[kept].sum()) / (predicted + total)
    return mean_of_defined(by_label, axis=0)


def mean_over_patients(patients: Mapping[str, Sequence[Float64[np.ndarray, " c"]]]) -> Float64[np.ndarray, " c"]:
    """The mean over patients of each one's mean over its volumes, by candidate; NaN where none has a value."""
    return mean_of_defined(np.stack([mean_of_defined(np.stack(dice), axis=0) for dice in patients.values()]), axis=0)


def _box_of(marked: Bool[np.ndarray, "d h w"]) -> tuple[slice, slice, slice]:
    """The smallest box that holds all that is marked, empty where nothing is."""
    found = [np.flatnonzero(marked.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    low, row, column = (slice(int(some[0]), int(some[-1]) + 1) if some.size else slice(0, 0) for some in found)
    return low, row, column


def _in_box(
    planes: Sequence[Shaped[np.ndarray, "_h _w"]], positions: Sequence[int], box: tuple[slice, slice, slice]
) -> Shaped[np.ndarray, "d h w"]:
    """A box of what `stacked` makes of planes, 0 where slices are missing."""
    low, row, column = box
    found = np.zeros([part.stop - part.start for part in box], planes[0].dtype)
    for plane, place in zip(planes, places_in_stack(positions), strict=True):
        if low.start <= place < low.stop:
            found[place - low.start] = plane[row, column]
    return found


def _components(
    guess: Bool[np.ndarray, "d h w"], truth: Bool[np.ndarray, "d h w"], kind: str
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Size of each predicted component, in the volume or within its slice, and how much of it is right."""
    found = components(guess, within_slices=kind == "slice")
    return found.sizes, np.bincount(found.labels[truth], minlength=len(found) + 1)[1:]


@dataclass(frozen=True, eq=False)
class _Answers:
    """What a predictor says of one volume under several kinds of test-time augmentation, and what is right."""

    probabilities: Mapping[Tta, Sequence[Float[np.ndarray, "k _h _w"]]]
    reference: Sequence[UInt8[np.ndarray, "_h _w"]]
    positions: Sequence[int]


def _answers(
    predictor: VolumePredictor,
    decoded: DecodedDataset,
    records: Sequence[Record],
    ttas: Sequence[Tta],
    batch_size: int,
) -> _Answers:
    found = list(predictor.iterate_ttas(patient_slices(decoded, records), ttas, batch_size=batch_size))
    return _Answers(
        {tta: [each[tta] for each in found] for tta in ttas},
        [decoded.mask(record.slice_id) for record in records],
        [record.slice_index for record in records],
    )


def _dice_at(volume: _Answers, prediction: PredictionConfig, thresholds: Sequence[float]) -> Float64[np.ndarray, " t"]:
    """Volumetric Dice at each threshold after all of a run's post-processing, the mean over labels that have one."""
    probabilities = volume.probabilities[prediction.tta]
    best = [each.max(axis=0) for each in probabilities]
    which = [each.argmax(axis=0).astype(np.uint8) + 1 for each in probabilities]
    by_label = np.full((probabilities[0].shape[0], len(thresholds)), np.nan)
    for column, threshold in enumerate(thresholds):
        masks = [np.where(one >= threshold, label, 0).astype(np.uint8) for one, label in zip(best, which, strict=True)]
        pairs = list(zip(volume.reference, removed(masks, volume.positions, prediction), strict=True))
        for label in range(1, len(by_label) + 1):
            by_label[label - 1, column] = counts.dice(
                counts.total(counts.count(truth == label, mask == label) for truth, mask in pairs)
            )
    return mean_of_defined(by_label, axis=0)


def _candidates() -> list[Candidate]:
    sizes: list[tuple[str, float]] = [
        ("volume", 0),
        *(("slice", each) for each in SMALLEST_IN_SLICE if each),
        *(("volume", each) for each in SMALLEST_IN_VOLUME if each),
        *(("share", each) for each in SHARES_OF_LARGEST if each),
    ]
    return [(threshold, kind, size) for threshold in THRESHOLDS for kind, size in sizes]


def _choices_of(tta: Tta, candidates: Sequence[Candidate]) -> list[Choice]:
    """The candidates under one kind of augmentation, not scored yet."""
    return [
        Choice(
            threshold,
            PredictionConfig(
                tta=tta,
                smallest_in_slice=int(smallest) if kind == "slice" else 0,
                smallest_in_volume=int(smallest) if kind == "volume" else 0,
                smallest_share=smallest if kind == "share" else 0.0,
            ),
            math.nan,
        )
        for threshold, kind, smallest in candidates
    ]


def _at_all_thresholds(prediction: PredictionConfig) -> list[Choice]:
    return [Choice(threshold, prediction, math.nan) for threshold in THRESHOLDS]


def _merit(choice: Choice) -> tuple[float, ...]:
    """Better first: Dice, then fewer passes, then less removal, then the threshold nearest to 0.5."""
    chosen = choice.prediction
    removal = chosen.smallest_in_slice + chosen.smallest_in_volume + 1000 * chosen.smallest_share
    dice = -1.0 if np.isnan(choice.dice) else choice.dice
    return -round(dice, 9), float(TTA_NAMES.index(chosen.tta)), float(removal), abs(choice.threshold - 0.5)
