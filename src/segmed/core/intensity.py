"""What stored intensities say: which of them are black and white, and whether any differ at all."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from segmed.core.errors import DataError

Range = tuple[float, float]
"""The intensities that count as black and as white."""

RESOLUTION = 1e-6
"""Intensities that differ by less than this share of the largest are equal: float32 resolves a tenth of it."""
SLACK = 1 / 16
"""Intensities may pass black or white by this share of white, as resampling makes them do; they are clipped."""


def span_of(low: float, high: float) -> float:
    """The distance from `low` to `high`, to divide by: 1 where they are equal up to rounding, whatever the unit.

    >>> span_of(-2.0, 3.0), span_of(4e-9, 8e-9), span_of(7.0, 7.0)
    (5.0, 4e-09, 1.0)
    """
    span = float(high) - float(low)
    return span if span > RESOLUTION * max(abs(float(low)), abs(float(high))) else 1.0


def extremes(images: Sequence[Shaped[np.ndarray, "..."]]) -> Range:
    """The least and the largest intensity of some images."""
    return min(float(image.min()) for image in images), max(float(image.max()) for image in images)


def scale_holding(low: float, high: float, dtype: np.dtype[np.generic]) -> Range:
    """Black and white of data whose intensities reach from `low` to `high`, by the bits that they use.

    Pixels of 8 bits fill them, whatever is in a picture. Others seldom do: white is the largest value of the fewest
    bits that hold all intensities (4095 for 12 bits in 16), and black is 0, or as far below it where there are
    negative ones (-1024 to 1023). Floats of at most 1 reach to 1, or to the power of two that holds them.

    Args:
        low: The least intensity.
        high: The largest intensity.
        dtype: The type that they are stored in.

    >>> scale_holding(0.0, 3210.0, np.dtype(np.uint16)), scale_holding(-1000.0, 900.0, np.dtype(np.int16))
    ((0.0, 4095.0), (-1024.0, 1023.0))
    """
    if dtype == np.uint8:
        return 0.0, 255.0
    signed = low < -SLACK * high
    reach = max(high, -low if signed else high) / (1 + SLACK)
    if reach <= 0:
        return 0.0, float(np.iinfo(dtype.name).max) if dtype.kind in "ui" else 1.0
    bits = math.ceil(math.log2(reach + 1)) if reach > 1 or dtype.kind in "ui" else math.ceil(math.log2(reach))
    white = 2.0**bits - 1 if bits > 0 else 2.0**bits
    return (-(white + 1) if bits > 0 else -white) if signed else 0.0, white


def require_scale(images: Sequence[Shaped[np.ndarray, "..."]], known: Range) -> None:
    """Raise `DataError` where images cannot be of the scale that a model was trained on.

    Args:
        images: The slices of one volume.
        known: Black and white of the model's training data.
    """
    low, high = known
    own = extremes(images)
    expected = f"but the model's images have {low:g} for black and {high:g} for white"
    voxels = [image[image != 0] for image in images]
    above = sum(int(np.count_nonzero(values > high)) for values in voxels)
    if 2 * above > sum(values.size for values in voxels):
        problem = f"Most of the image is brighter than white: it reaches {own[1]:g}, {expected}"
    elif all(image.dtype == np.uint8 for image in images) and (low < 0 or high >= 1023):
        problem = f"The image has 8 bits, {expected}"
    elif high - low >= 255 and 0 <= own[0] < own[1] <= 1 and all(image.dtype.kind == "f" for image in images):
        problem = f"The image reaches from {own[0]:g} to {own[1]:g}, {expected}"
    else:
        return
    raise DataError(f"{problem}. Store it as those were stored.")
