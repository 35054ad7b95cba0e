"""Soft overlap losses, pooled over the batch and one per label.

Pooling over the batch keeps slices without tumour from giving a loss of one for a single false pixel, and follows
the volumetric score more closely than a mean over slices.
"""

from jaxtyping import Float
from torch import Tensor

BatchLogits = Float[Tensor, "b k h w"]
Scalar = Float[Tensor, ""]
EPSILON = 1e-7


def dice_loss(logits: BatchLogits, target: BatchLogits, *, smooth: float = 1.0) -> Scalar:
    """1 - (2 TP + s) / (2 TP + FP + FN + s) of soft counts; `smooth` = 0 is the plain Dice coefficient."""
    probabilities = logits.sigmoid()
    intersection = (probabilities * target).sum((0, 2, 3))
    total = probabilities.sum((0, 2, 3)) + target.sum((0, 2, 3))
    return (1 - (2 * intersection + smooth) / (total + smooth).clamp_min(EPSILON)).mean()


def tversky_loss(logits: BatchLogits, target: BatchLogits, *, alpha: float, beta: float, smooth: float = 1.0) -> Scalar:
    """1 - TP / (TP + alpha FP + beta FN) of soft counts (Salehi et al. 2017, eq. 4); 0.5 and 0.5 is Dice."""
    probabilities = logits.sigmoid()
    positives = (probabilities * target).sum((0, 2, 3))
    false_positives = (probabilities * (1 - target)).sum((0, 2, 3))
    false_negatives = ((1 - probabilities) * target).sum((0, 2, 3))
    total = positives + alpha * false_positives + beta * false_negatives
    return (1 - (positives + smooth) / (total + smooth).clamp_min(EPSILON)).mean()
