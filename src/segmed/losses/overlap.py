"""Soft overlap losses, one per label, pooled over the batch or of each mask alone.

Counts are summed in float32 whatever the logits have: in float16 a sum over a mask of 256 x 256 pixels overflows.

Pooling over the batch keeps slices without tumour from giving a loss of one for a single false pixel, and follows
the volumetric score more closely than a mean over slices.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

BatchLogits = Float[Tensor, "b k h w"]
Scalar = Float[Tensor, ""]
Overlap = Literal["batch", "each"]
AXES: dict[Overlap, tuple[int, ...]] = {"batch": (0, 2, 3), "each": (2, 3)}
EPSILON = 1e-7


def full_precision(logits: BatchLogits) -> BatchLogits:
    """Logits of half precision as float32; others as they are."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def dice_loss(logits: BatchLogits, target: BatchLogits, *, smooth: float = 1.0, overlap: Overlap = "batch") -> Scalar:
    """1 - (2 TP + s) / (2 TP + FP + FN + s) of soft counts; `smooth` = 0 is the plain Dice coefficient."""
    logits, target = full_precision(logits), full_precision(target)
    probabilities, axes = logits.sigmoid(), AXES[overlap]
    intersection = (probabilities * target).sum(axes)
    total = probabilities.sum(axes) + target.sum(axes)
    return (1 - (2 * intersection + smooth) / (total + smooth).clamp_min(EPSILON)).mean()


def tversky_loss(
    logits: BatchLogits,
    target: BatchLogits,
    *,
    alpha: float,
    beta: float,
    smooth: float = 1.0,
    overlap: Overlap = "batch",
) -> Scalar:
    """1 - TP / (TP + alpha FP + beta FN) of soft counts (Salehi et al. 2017, eq. 4); 0.5 and 0.5 is Dice."""
    logits, target = full_precision(logits), full_precision(target)
    probabilities, axes = logits.sigmoid(), AXES[overlap]
    positives = (probabilities * target).sum(axes)
    false_positives = (probabilities * (1 - target)).sum(axes)
    false_negatives = ((1 - probabilities) * target).sum(axes)
    total = positives + alpha * false_positives + beta * false_negatives
    return (1 - (positives + smooth) / (total + smooth).clamp_min(EPSILON)).mean()
