"""Every IoU that "mean IoU" may have meant, each under its own name, from the counts of each slice.

The same masks score 0.00 to 0.98 depending on the variant, so a number without its variant says nothing. On LGG,
predicting nothing at all scores 0.65 per image when an empty image counts 1, and 0.98 over one-hot classes.

These are the plain definitions. `evaluation.table` takes the means over batches from here; all others it computes for
thousands of resampled sets of patients at once, and its tests hold it to the functions here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from segmed.metrics.counts import Counts, iou, ratio, total

BATCH_SIZES = (4, 8, 16, 32)


def pooled_foreground(slices: Sequence[Counts]) -> float:
    """Intersection over union of all foreground pixels of all slices taken together."""
    return iou(total(slices))


def per_image_empty_one(slices: Sequence[Counts]) -> float:
    """Mean over slices, where a slice that is empty in both masks counts 1 (smp's IoU at batch size 1)."""
    return _mean([_or_one(iou(counts)) for counts in slices])


def positives_only(slices: Sequence[Counts]) -> float:
    """Mean over the slices whose reference has the label."""
    return _mean([iou(counts) for counts in slices if counts.reference > 0])


def two_class_macro_per_image(slices: Sequence[Counts]) -> float:
    """Mean over slices of the mean of background and foreground IoU, where a class that is empty in both counts 1."""
    return _mean([(_or_one(iou(counts)) + _or_one(_background(counts))) / 2 for counts in slices])


def batch_mean(slices: Sequence[Counts], size: int) -> float:
    """Mean over batches of `size` slices in their order, each pooled, an empty one counting 1 (smp.utils' metrics).

    The value depends on the size of the batch, which papers seldom name; the last batch may be smaller.
    """
    return _mean([_or_one(pooled_foreground(slices[start : start + size])) for start in range(0, len(slices), size)])


def two_class_macro(slices: Sequence[Counts]) -> float:
    """Mean of the pooled IoU of background and foreground."""
    pooled = total(slices)
    return _mean([_background(pooled), iou(pooled)])


def two_class_one_hot_micro(slices: Sequence[Counts]) -> float:
    """IoU over the pixels of both one-hot channels together: (TP + TN) / (TP + TN + 2 FP + 2 FN)."""
    pooled = total(slices)
    right, wrong = pooled.tp + pooled.tn, pooled.fp + pooled.fn
    return ratio(right, right + 2 * wrong)


IOU_VARIANTS: Mapping[str, Callable[[Sequence[Counts]], float]] = {
    "iou_pooled": pooled_foreground,
    "iou_per_image_empty_one": per_image_empty_one,
    "iou_positive_slices": positives_only,
    "iou_two_class_macro": two_class_macro,
    "iou_two_class_macro_per_image": two_class_macro_per_image,
    "iou_one_hot_micro": two_class_one_hot_micro,
    **{f"iou_batch_{size}": partial(batch_mean, size=size) for size in BATCH_SIZES},
}


def _background(counts: Counts) -> float:
    return ratio(counts.tn, counts.tn + counts.fp + counts.fn)


def _or_one(value: float) -> float:
    return 1.0 if math.isnan(value) else value


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
