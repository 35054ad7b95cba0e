"""Validation by patient: volumetric Dice at every threshold from one pass, and the threshold that is best.

Counts are summed over a volume's slices on the original grid before any ratio is taken, and a patient's score is the
mean over its volumes, so that the score chosen by is the one that is reported.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from segmed.models.prediction import THRESHOLDS


class ThresholdCounts:
    """Pixel counts by volume, label and threshold.

    A pixel is label k at threshold t where k has the largest probability of all labels and it is at least t.
    """

    def __init__(self, volumes: int, labels: int, patients: Sequence[int] | None = None) -> None:
        """`patients` has the number of each volume's patient; None where each is a patient's only one."""
        bins = len(THRESHOLDS) + 1
        self._hits = torch.zeros(volumes, labels, bins, dtype=torch.int64)
        self._predicted = torch.zeros(volumes, labels, bins, dtype=torch.int64)
        self._reference = torch.zeros(volumes, labels, dtype=torch.int64)
        self._patients = np.arange(volumes) if patients is None else np.asarray(patients)
        self._edges = torch.tensor(THRESHOLDS, dtype=torch.float32)

    def add(self, volume: int, probabilities: Float[Tensor, "k h w"], reference: UInt8[np.ndarray, "h w"]) -> None:
        """Count one slice of a volume."""
        best, label = probabilities.float().cpu().max(dim=0)
        bins = torch.bucketize(best, self._edges, right=True)
        truth = torch.from_numpy(reference.astype(np.int64))
        labels, levels = self._hits.shape[1:]
        flat = (label * levels + bins).ravel()
        right = truth.ravel() == label.ravel() + 1
        self._predicted[volume] += torch.bincount(flat, minlength=labels * levels).view(labels, levels)
        self._hits[volume] += torch.bincount(flat[right], minlength=labels * levels).view(labels, levels)
        self._reference[volume] += torch.bincount(truth.ravel(), minlength=labels + 1)[1 : labels + 1]

    def tensors(self) -> list[Int[Tensor, "..."]]:
        """The counts, to be summed over processes in place."""
        return [self._hits, self._predicted, self._reference]

    def dice(self) -> Float[np.ndarray, "patients labels thresholds"]:
        """Volumetric Dice; nan where a patient has neither reference nor prediction of a label."""
        hits, predicted = (_at_least(counts) for counts in (self._hits, self._predicted))
        total = predicted + self._reference[:, :, None]
        dice = torch.where(total > 0, 2 * hits / total, torch.nan).double().numpy()
        return np.stack([_mean_of_known(dice[self._patients == patient]) for patient in np.unique(self._patients)])

    def best(self) -> tuple[float, float]:
        """The threshold with the largest mean Dice over patients (first label by label), and that Dice.

        A label that is neither in any reference nor predicted is undefined and no part of the mean, as in evaluation.
        Among equals the threshold nearest to 0.5. The Dice is nan where nothing is defined at any threshold.
        """
        scores = _mean_of_known(_mean_of_known(self.dice()))
        if np.isnan(scores).all():
            return 0.5, float("nan")
        scores = np.where(np.isnan(scores), -np.inf, scores)
        order = sorted(range(len(THRESHOLDS)), key=lambda t: (-round(float(scores[t]), 9), abs(THRESHOLDS[t] - 0.5)))
        return THRESHOLDS[order[0]], float(scores[order[0]])


def _mean_of_known(values: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "..."]:
    """The mean over the first axis of what is not nan; nan where all is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)


def _at_least(counts: Int[Tensor, "p k bins"]) -> Float[Tensor, "p k thresholds"]:
    """Counts of pixels in bin t + 1 or above: those whose probability reaches threshold t."""
    return counts.flip(-1).cumsum(-1).flip(-1)[..., 1:].double()
