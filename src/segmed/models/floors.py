"""Baselines that learn nothing: what a score must beat before it says anything about a model.

Predicting nothing scores 0.65 per image when empty slices count 1. Interpolating the training masks of the same
patient, without a look at the test image, scores well where a split by slice leaks, and nothing elsewhere. Copying
the mask of the most similar training slice shows how far memory alone reaches.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64, Int64, Shaped, UInt8
from PIL import Image as PillowImage
from scipy import ndimage

THUMBNAIL = 32
AT_A_TIME = 256
"""Queries whose distances to all examples are held at once: those of all would be gigabytes for a set of CTs."""


def predict_nothing(size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """An empty mask of (height, width)."""
    return np.zeros(size, np.uint8)


def interpolate_mask(
    known: Mapping[int, UInt8[np.ndarray, "h w"]], position: int, size: tuple[int, int]
) -> UInt8[np.ndarray, "h w"]:
    """The mask at a position of a volume, from the known masks (by position) below and above it.

    Between two known slices the signed distances to each label's outline are interpolated linearly (Raya & Udupa,
    IEEE TMI 1990); the label is where the result is positive, the deeper one where two labels meet. A label that
    only one of the two has is left out. Beyond the last known slice its mask is copied. Without any known slice,
    and so for every patient of a split by patient, the mask is empty.
    """
    if position in known:
        return known[position]
    below = max((p for p in known if p < position), default=None)
    above = min((p for p in known if p > position), default=None)
    if below is None:
        return predict_nothing(size) if above is None else known[above]
    if above is None:
        return known[below]
    share = (position - below) / (above - below)
    labels = np.intersect1d(known[below], known[above])
    labels = labels[labels > 0]
    if labels.size == 0:
        return predict_nothing(size)
    inside = np.stack(
        [(1 - share) * signed_distance(known[below] == k) + share * signed_distance(known[above] == k) for k in labels]
    )
    return np.where(inside.max(axis=0) > 0, labels[inside.argmax(axis=0)], 0).astype(np.uint8)


def signed_distance(mask: Shaped[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
    """Pixels to the outline, which lies half-way between pixels: positive inside, negative outside.

    The outline of a mask that fills its slice is the slice's edge. An empty mask has none and must not be given.
    """
    if np.all(mask):
        return np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] - 0.5)
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    return np.asarray(np.where(mask, inside - 0.5, 0.5 - outside))


def thumbnail(image: Shaped[np.ndarray, "h w c"], side: int = THUMBNAIL) -> Float32[np.ndarray, " n"]:
    """All channels reduced to `side` by `side` pixels by averaging, in one vector, intensities as stored."""
    channels = np.moveaxis(image.astype(np.float32), -1, 0)
    small = [PillowImage.fromarray(c).resize((side, side), PillowImage.Resampling.BOX) for c in channels]
    return np.concatenate([np.asarray(channel, np.float32).ravel() for channel in small])


def nearest(queries: Float32[np.ndarray, "q n"], examples: Float32[np.ndarray, "e n"]) -> Int64[np.ndarray, " q"]:
    """For each query the index of the example at the smallest Euclidean distance; the first of equal ones."""
    known = examples.astype(np.float64)
    length = np.square(known).sum(axis=1)
    # |q - e|^2 = |q|^2 - 2 q e + |e|^2, and |q|^2 does not change which is nearest
    found = [
        np.argmin(length - 2 * queries[start : start + AT_A_TIME].astype(np.float64) @ known.T, axis=1)
        for start in range(0, len(queries), AT_A_TIME)
    ]
    return np.concatenate(found).astype(np.int64) if found else np.zeros(0, np.int64)


def resized_mask(mask: UInt8[np.ndarray, "h w"], size: tuple[int, int]) -> UInt8[np.ndarray, "H W"]:
    """A mask on another grid of (height, width), each pixel taking the nearest label."""
    if mask.shape == size:
        return mask
    height, width = size
    return np.asarray(PillowImage.fromarray(mask).resize((width, height), PillowImage.Resampling.NEAREST))
