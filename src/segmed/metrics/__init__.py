"""Metrics of masks: integer counts first, then one formula each; every convention for empties and misses is stated."""

from segmed.metrics.counts import Counts, count, dice, iou, precision, sensitivity, total, volume_error
from segmed.metrics.lesions import lesion_scores
from segmed.metrics.surface import surface_scores

__all__ = [
    "Counts",
    "count",
    "dice",
    "iou",
    "lesion_scores",
    "precision",
    "sensitivity",
    "surface_scores",
    "total",
    "volume_error",
]
