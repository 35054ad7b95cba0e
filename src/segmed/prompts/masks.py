"""What a mask gives to prompt with: its lesions, their boxes, points on and beside them. Deterministic, no chance here.

Where a point is to be drawn, the caller draws a number from [0, 1) and these functions say which point it means.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import ndimage

from segmed.core.components import components
from segmed.core.errors import DataError


def whole_mask(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "n h w"]:
    """The mask as one object, or as none where it is empty."""
    return mask[None] if mask.any() else np.zeros((0, *mask.shape), bool)


def lesions(mask: Bool[np.ndarray, "h w"], min_pixels: int = 1) -> Bool[np.ndarray, "n h w"]:
    """The mask's 8-connected components as objects of their own, the largest first, in reading order where equal.

    Components of fewer than `min_pixels` are left out, but never the largest: a mask that is not empty has a lesion.
    """
    found = components(mask)
    order = np.argsort(-found.sizes, kind="stable")
    kept = [number for rank, number in enumerate(order) if rank == 0 or found.sizes[number] >= min_pixels]
    return np.asarray(found.labels == (np.array(kept, np.int64) + 1)[:, None, None])


def tight_boxes(objects: Bool[np.ndarray, "n h w"]) -> Float64[np.ndarray, "n 4"]:
    """The smallest box (x0, y0, x1, y1), half-open, around each object; raises `DataError` for an empty one."""
    columns, rows = np.any(objects, axis=1), np.any(objects, axis=2)
    if not rows.any(axis=1).all():
        raise DataError(f"Object {int(np.argmin(rows.any(axis=1)))} is empty, and nothing has no box. Leave it out.")
    height, width = objects.shape[1:]
    sides = [
        columns.argmax(axis=1),
        rows.argmax(axis=1),
        width - columns[:, ::-1].argmax(axis=1),
        height - rows[:, ::-1].argmax(axis=1),
    ]
    return np.stack(sides, axis=1).astype(np.float64)


def points_inside(
    objects: Bool[np.ndarray, "n h w"], chances: Float64[np.ndarray, "n k"], depth: float = 2.0
) -> Float64[np.ndarray, "n k 2"]:
    """Pixel centres (x, y) on each object, far from its border preferred.

    A pixel's weight is its distance to the nearest pixel off the object, to the power `depth` (0: all alike). What
    lies outside the image counts as off the object.
    """
    points = np.zeros((*chances.shape, 2))
    for index, one in enumerate(objects if chances.size else ()):
        distance = ndimage.distance_transform_edt(np.pad(one, 1))[1:-1, 1:-1]
        points[index] = _chosen(np.where(one, distance**depth, 0.0), chances[index])
    return points


def points_beside(
    objects: Bool[np.ndarray, "n h w"], chances: Float64[np.ndarray, "n k"], near: float
) -> Float64[np.ndarray, "n k 2"]:
    """Pixel centres (x, y) off each object and at most `near` pixels from it, all alike: near misses.

    Where the object leaves no such pixel the point is NaN.
    """
    points = np.full((*chances.shape, 2), np.nan)
    for index, one in enumerate(objects if chances.size else ()):
        distance = ndimage.distance_transform_edt(~one)
        band = ~one & (distance <= max(near, 1.0))
        if band.any():
            points[index] = _chosen(band.astype(np.float64), chances[index])
    return points


def correction_point(
    target: Bool[np.ndarray, "h w"], prediction: Bool[np.ndarray, "h w"], chance: float
) -> tuple[Float64[np.ndarray, "p 2"], Int64[np.ndarray, " p"]]:
    """The next click of an annotator who corrects `prediction`: a point and its label, none where nothing is wrong.

    The point is any of the wrong pixels, all alike, and labelled 1 where the object was missed, 0 where it was
    invented (Kirillov et al., Segment Anything, ICCV 2023, appendix A, training algorithm).
    """
    wrong = target != prediction
    if not wrong.any():
        return np.zeros((0, 2)), np.zeros(0, np.int64)
    point = _chosen(wrong.astype(np.float64), np.array([chance]))
    column, row = point[0].astype(int)
    return point, np.array([target[row, column]], np.int64)


def _chosen(weights: Float64[np.ndarray, "h w"], chances: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, "k 2"]:
    """Centres (x, y) of the pixels that numbers from [0, 1) mean, each pixel with a share as large as its weight."""
    places = np.flatnonzero(weights)
    shares = np.cumsum(weights.ravel()[places])
    chosen = np.searchsorted(shares, chances * shares[-1], side="right")
    rows, columns = np.divmod(places[np.minimum(chosen, len(places) - 1)], weights.shape[1])
    return np.stack([columns, rows], axis=1) + 0.5
