"""How good a box is, and how much of a mask's quality it explains: the box-quality curve."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from segmed.core.errors import DataError


@dataclass(frozen=True)
class QualityCurve:
    """Mean IoU of masks against mean IoU of the boxes that prompted them, in bins of the latter.

    `edges` are the bins' borders, from low to high. An empty bin has count 0 and NaN means. `left_out` counts the
    pairs in which either was undefined.
    """

    edges: Float64[np.ndarray, " edges"]
    count: Int64[np.ndarray, " bins"]
    box_iou: Float64[np.ndarray, " bins"]
    mask_iou: Float64[np.ndarray, " bins"]
    left_out: int


def box_iou(first: Float64[np.ndarray, "n 4"], second: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, " n"]:
    """Intersection over union of boxes (x0, y0, x1, y1), row by row; areas in continuous coordinates."""
    common = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    intersection = np.maximum(common, 0).prod(axis=1)
    union = _area(first) + _area(second) - intersection
    return np.asarray(intersection / union)


def quality_curve(
    box_ious: Shaped[np.ndarray, " n"], mask_ious: Shaped[np.ndarray, " m"], bins: int | Sequence[float] = 10
) -> QualityCurve:
    """Group pairs by the IoU of the box and average both in each group.

    `bins` is a number of equal bins over 0 to 1, or rising borders; a value on a border belongs to the bin above it,
    the last border to the last bin. Pairs with NaN are left out, and counted. Raises `DataError` where the two differ
    in number, a value lies outside 0 to 1 or outside the borders, or the borders do not rise.
    """
    if len(box_ious) != len(mask_ious):
        raise DataError(
            f"{len(box_ious)} boxes and {len(mask_ious)} masks make no pairs. Give one IoU each per object."
        )
    edges = _edges(bins)
    known = ~(np.isnan(box_ious) | np.isnan(mask_ious))
    boxes, masks = np.asarray(box_ious, np.float64)[known], np.asarray(mask_ious, np.float64)[known]
    for values, low, high in ((boxes, max(edges[0], 0), min(edges[-1], 1)), (masks, 0, 1)):
        strange = values[(values < low) | (values > high)]
        if strange.size:
            raise DataError(f"IoU {strange[0]:g} lies outside {low:g} to {high:g}. Give IoU values, or wider bins.")
    member = np.clip(np.searchsorted(edges, boxes, side="right") - 1, 0, len(edges) - 2)
    count = np.bincount(member, minlength=len(edges) - 1)
    means = [_mean(member, values, count) for values in (boxes, masks)]
    return QualityCurve(edges, count.astype(np.int64), means[0], means[1], int((~known).sum()))


def _area(boxes: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, " n"]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def _edges(bins: int | Sequence[float]) -> Float64[np.ndarray, " edges"]:
    if isinstance(bins, int) and bins < 1:
        raise DataError(f"A curve has at least one bin, got {bins}.")
    edges = np.linspace(0, 1, bins + 1) if isinstance(bins, int) else np.array(bins, np.float64)
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise DataError(f"The borders of bins must rise, and be at least two, got {edges.tolist()}.")
    return edges


def _mean(
    member: Int64[np.ndarray, " n"], values: Float64[np.ndarray, " n"], count: Int64[np.ndarray, " bins"]
) -> Float64[np.ndarray, " bins"]:
    total = np.bincount(member, weights=values, minlength=len(count))
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
