"""Overlap metrics: integer counts first, then one formula each. Undefined is NaN, never 0 or 1 in disguise.

Definitions and names follow Metrics Reloaded (Maier-Hein, Reinke et al., Nature Methods 2024). MONAI's `DiceMetric`
leaves a volume with an empty reference out even where the prediction has false positives; here its Dice is 0.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True)
class Counts:
    """Pixels that are true positive, false positive, false negative and true negative for one label."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def reference(self) -> int:
        """Pixels of the label in the reference."""
        return self.tp + self.fn

    @property
    def predicted(self) -> int:
        """Pixels of the label in the prediction."""
        return self.tp + self.fp

    @property
    def union(self) -> int:
        """Pixels of the label in the reference, in the prediction or in both."""
        return self.tp + self.fp + self.fn

    def __add__(self, other: "Counts") -> "Counts":
        """Counts of two regions taken together."""
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)


def count(reference: Bool[np.ndarray, "*grid"], prediction: Bool[np.ndarray, "*grid"]) -> Counts:
    """Compare two binary masks on the same grid, of any number of dimensions."""
    tp = int(np.count_nonzero(reference & prediction))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(reference)) - tp
    return Counts(tp=tp, fp=fp, fn=fn, tn=reference.size - tp - fp - fn)


def total(several: Iterable[Counts]) -> Counts:
    """The sum of counts: all slices of a volume, say."""
    return sum(several, start=Counts(0, 0, 0, 0))


def dice(counts: Counts) -> float:
    """2 TP / (2 TP + FP + FN); NaN where reference and prediction are both empty."""
    return ratio(2 * counts.tp, counts.reference + counts.predicted)


def iou(counts: Counts) -> float:
    """TP / (TP + FP + FN); NaN where reference and prediction are both empty."""
    return ratio(counts.tp, counts.union)


def sensitivity(counts: Counts) -> float:
    """TP / (TP + FN), also called recall; NaN where the reference is empty."""
    return ratio(counts.tp, counts.reference)


def precision(counts: Counts) -> float:
    """TP / (TP + FP); NaN where the prediction is empty."""
    return ratio(counts.tp, counts.predicted)


def volume_error(counts: Counts) -> float:
    """(predicted - reference) / reference volume: -1 for a miss, 0 for the right volume; NaN for no reference."""
    return ratio(counts.predicted - counts.reference, counts.reference)


def ratio(numerator: int, denominator: int) -> float:
    """A quotient of counts, or NaN where there is nothing to divide by."""
    return numerator / denominator if denominator else math.nan
