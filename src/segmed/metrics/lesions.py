"""Lesion-wise detection: which tumours were found, regardless of their size.

A lesion is a component of the volume, connected over faces, edges or corners (26 neighbours), of at least
`MIN_VOXELS` voxels; smaller fragments are label noise and ignored on both sides. Lesions of reference and
prediction are paired one to one so that the sum of IoU is largest, and a pair counts as found where its IoU
exceeds `HIT_IOU`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from segmed.core.components import components
from segmed.metrics.counts import Counts, dice, precision, sensitivity

MIN_VOXELS = 10
HIT_IOU = 0.1


def lesion_counts(reference: Bool[np.ndarray, "d h w"], prediction: Bool[np.ndarray, "d h w"]) -> Counts:
    """Found, invented and missed lesions as TP, FP and FN (TN has no meaning and is 0)."""
    box = ndimage.find_objects((reference | prediction).astype(np.uint8))  # the rest is background in both
    if not box:
        return Counts(0, 0, 0, 0)
    truth, truths = _components(reference[box[0]])
    guess, guesses = _components(prediction[box[0]])
    hits = 0
    if truths and guesses:
        overlap = _iou_matrix(truth, truths, guess, guesses)
        overlap = np.where(overlap > HIT_IOU, overlap, 0.0)
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        hits = int(np.count_nonzero(overlap[rows, columns]))
    return Counts(tp=hits, fp=guesses - hits, fn=truths - hits, tn=0)


@dataclass(frozen=True)
class LesionScores:
    """Lesions in the reference, and precision, recall and F1 over lesions; NaN where nothing is to be counted."""

    lesions: int
    precision: float
    recall: float
    f1: float


def lesion_scores(reference: Bool[np.ndarray, "d h w"], prediction: Bool[np.ndarray, "d h w"]) -> LesionScores:
    """Precision, recall and F1 over the lesions of one label of one patient.

    Args:
        reference: Bool, slices by rows by columns.
        prediction: Bool, of the same shape.

    Returns:
        The number of lesions in the reference, and scores from 0 to 1, NaN where there is nothing to count.

    Example:
        >>> reference = np.zeros((4, 8, 9), bool)
        >>> reference[1:3, 1:4, 1:4] = reference[1:3, 5:8, 5:8] = True
        >>> prediction = reference.copy()
        >>> prediction[:, 5:] = False
        >>> lesion_scores(reference, prediction).recall
        0.5
    """
    found = lesion_counts(reference, prediction)
    return LesionScores(found.reference, precision(found), sensitivity(found), dice(found))


def _components(mask: Bool[np.ndarray, "d h w"]) -> tuple[Int[np.ndarray, "d h w"], int]:
    """Components of at least `MIN_VOXELS` voxels numbered from 1, and how many there are."""
    found = components(mask)
    keep = np.concatenate([[False], found.sizes >= MIN_VOXELS])
    return np.where(keep, np.cumsum(keep), 0)[found.labels], int(keep.sum())


def _iou_matrix(
    truth: Int[np.ndarray, "d h w"], truths: int, guess: Int[np.ndarray, "d h w"], guesses: int
) -> Float64[np.ndarray, "t g"]:
    joint = np.bincount((truth * (guesses + 1) + guess).ravel(), minlength=(truths + 1) * (guesses + 1))
    joint = joint.reshape(truths + 1, guesses + 1)
    union = joint.sum(1)[1:, None] + joint.sum(0)[None, 1:] - joint[1:, 1:]
    matrix: Float64[np.ndarray, "t g"] = joint[1:, 1:] / union
    return matrix
