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
    """Pixels that are true positive, false positive, false negative and true negative for one label.

    Example:
        >>> Counts(tp=3, fp=1, fn=0, tn=12) + Counts(tp=0, fp=0, fn=2, tn=14)
        Counts(tp=3, fp=1, fn=2, tn=26)
    """

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
    """Compare two binary masks on the same grid.

    Args:
        reference: Bool, of any number of dimensions.
        prediction: Bool, of the same shape.

    Returns:
        Their pixels, or voxels, as integers.

    Example:
        >>> count(np.array([[True, True, False]]), np.array([[True, False, False]]))
        Counts(tp=1, fp=0, fn=1, tn=1)
    """
    tp = int(np.count_nonzero(reference & prediction))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(reference)) - tp
    return Counts(tp=tp, fp=fp, fn=fn, tn=reference.size - tp - fp - fn)


def total(several: Iterable[Counts]) -> Counts:
    """The sum of counts: all slices of a volume, say.

    Args:
        several: Counts of the same label; may be none.

    Returns:
        The counts of all of them taken together.

    Example:
        >>> total([Counts(1, 0, 1, 7), Counts(2, 1, 0, 6)])
        Counts(tp=3, fp=1, fn=1, tn=13)
    """
    return sum(several, start=Counts(0, 0, 0, 0))


def dice(counts: Counts) -> float:
    """2 TP / (2 TP + FP + FN).

    Args:
        counts: Pixels, or voxels, of one label.

    Returns:
        From 0 to 1; NaN where reference and prediction are both empty.

    Example:
        >>> dice(Counts(tp=3, fp=1, fn=1, tn=7))
        0.75
    """
    return ratio(2 * counts.tp, counts.reference + counts.predicted)


def iou(counts: Counts) -> float:
    """TP / (TP + FP + FN).

    Args:
        counts: Pixels, or voxels, of one label.

    Returns:
        From 0 to 1; NaN where reference and prediction are both empty.

    Example:
        >>> iou(Counts(tp=3, fp=1, fn=1, tn=7))
        0.6
    """
    return ratio(counts.tp, counts.union)


def sensitivity(counts: Counts) -> float:
    """TP / (TP + FN), also called recall.

    Args:
        counts: Pixels, or voxels, of one label.

    Returns:
        From 0 to 1; NaN where the reference is empty.

    Example:
        >>> sensitivity(Counts(tp=3, fp=0, fn=1, tn=7))
        0.75
    """
    return ratio(counts.tp, counts.reference)


def precision(counts: Counts) -> float:
    """TP / (TP + FP).

    Args:
        counts: Pixels, or voxels, of one label.

    Returns:
        From 0 to 1; NaN where the prediction is empty.

    Example:
        >>> precision(Counts(tp=3, fp=1, fn=0, tn=7))
        0.75
    """
    return ratio(counts.tp, counts.predicted)


def volume_error(counts: Counts) -> float:
    """(predicted - reference) / reference volume.

    Args:
        counts: Pixels, or voxels, of one label.

    Returns:
        -1 for a miss, 0 for the right volume, above 0 for too much; NaN where the reference is empty.

    Example:
        >>> volume_error(Counts(tp=3, fp=3, fn=1, tn=7))
        0.5
    """
    return ratio(counts.predicted - counts.reference, counts.reference)


def ratio(numerator: int, denominator: int) -> float:
    """A quotient of counts, or NaN where there is nothing to divide by."""
    return numerator / denominator if denominator else math.nan
