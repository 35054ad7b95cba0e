"""What one slice shows, measured once while its pixels are in memory."""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from scipy import ndimage

from segmed.core.components import components
from segmed.core.records import Record
from segmed.data.layouts.lgg import copies_of_flair

SMALL_FRAGMENT = 10
"""Foreground components of fewer pixels are more likely slips of the hand than findings."""


@dataclass(frozen=True)
class ImageMeasures:
    """Of one image: its grid and type, channels that are constant or equal, and a hash of the pixels.

    `copies_of_second` is whether the first channel, and the third, equals the second; see `lgg.copies_of_flair`.
    """

    shape: tuple[int, int, int]
    dtype: str
    constant_channels: tuple[int, ...]
    copies_of_second: tuple[bool, bool]
    sha256: str


@dataclass(frozen=True)
class MaskMeasures:
    """Of one mask: its size, foreground pixels, pixels of each value from 0, small components and holes."""

    size: tuple[int, int]
    foreground: int
    pixels: tuple[int, ...]
    small_fragments: int
    holes: int


@dataclass(frozen=True)
class SliceMeasures:
    """A record with what could be measured of it; None where a file could not be read, or there is no mask."""

    record: Record
    image: ImageMeasures | None
    mask: MaskMeasures | None


def measure_image(array: Shaped[np.ndarray, "h w c"]) -> ImageMeasures:
    """Measure an image, `h w c`."""
    height, width, channels = array.shape
    first_pixel = array[0, 0]
    constant = (array == first_pixel).all(axis=(0, 1))
    return ImageMeasures(
        shape=(height, width, channels),
        dtype=str(array.dtype),
        constant_channels=tuple(int(channel) for channel in np.flatnonzero(constant)),
        copies_of_second=copies_of_flair(array),
        sha256=hashlib.sha256(np.ascontiguousarray(array).data).hexdigest(),
    )


def measure_mask(labels: UInt8[np.ndarray, "h w"]) -> MaskMeasures:
    """Measure a mask of labels, `h w`."""
    foreground = labels > 0
    fragments, holes = _components(foreground) if foreground.any() else (0, 0)
    return MaskMeasures(
        size=(labels.shape[0], labels.shape[1]),
        foreground=int(np.count_nonzero(foreground)),
        pixels=tuple(int(count) for count in np.bincount(labels.ravel())),
        small_fragments=fragments,
        holes=holes,
    )


def _components(foreground: Bool[np.ndarray, "h w"]) -> tuple[int, int]:
    """Number of foreground components (8-connected) below `SMALL_FRAGMENT` pixels, and of holes (4-connected)."""
    inner = foreground[_bounding_box(foreground)]
    holes = components(ndimage.binary_fill_holes(inner) & ~inner, corners=False)
    return int(np.count_nonzero(components(inner).sizes < SMALL_FRAGMENT)), len(holes)


def _bounding_box(foreground: Bool[np.ndarray, "h w"]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(foreground.any(axis=1)), np.flatnonzero(foreground.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
