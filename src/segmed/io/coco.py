"""Regions of COCO's annotations as masks: polygons, and run lengths, plain or as a text."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from segmed.core.errors import DataError
from segmed.core.image import Size
from segmed.io.dicom.contours import filled

MOST_PIXELS = 2**28
"""A region of a larger image is taken for a damaged file's."""


def polygons_mask(polygons: Sequence[Sequence[float]], size: Size) -> Bool[np.ndarray, "h w"]:
    """The pixels whose centre lies in any of the polygons, each `x1, y1, x2, y2, …` from the image's corner.

    Raises:
        DataError: A polygon of no three points, or of numbers that are none.
    """
    _require_size(size)
    mask = np.zeros(size, bool)
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2 or not np.isfinite(polygon).all():
            raise DataError(f"a polygon of {len(polygon)} numbers, expected x and y of three points or more.")
        columns_rows = np.array(polygon, np.float64).reshape(-1, 2)
        mask |= filled([columns_rows[:, ::-1] - 0.5], size)
    return mask


def runs_mask(counts: Sequence[int] | str, size: Size) -> Bool[np.ndarray, "h w"]:
    """The mask of run lengths, which go down the columns and begin with background; a text holds them packed.

    Raises:
        DataError: Runs that are not as many pixels as the image has.
    """
    _require_size(size)
    runs = _unpacked(counts) if isinstance(counts, str) else list(counts)
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise DataError(f"runs of {sum(runs)} pixels for an image of {size[0]} x {size[1]}.")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size, order="F")


def _require_size(size: Size) -> None:
    if min(size) < 1 or size[0] * size[1] > MOST_PIXELS:
        raise DataError(f"an image of {size[0]} x {size[1]} pixels.")


def _unpacked(text: str) -> list[int]:
    """Run lengths from COCO's text: 5 bits a letter from `0` on, the lowest first, 32 says that more follow.

    From the fourth run on it is the difference to the last but one.
    """
    runs, value, shift = list[int](), 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 50:
            raise DataError(f"run lengths with the letter {letter!r}, expected COCO's packed text.")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) and 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise DataError("packed run lengths that end within a number.")
    return runs
