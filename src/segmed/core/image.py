"""Images and masks with the grid they live on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped, UInt8

from segmed.core.errors import DataError

Size = tuple[int, int]
"""(height, width) in pixels."""
PixelSpacing = tuple[float, float]
"""Millimetres from pixel to pixel, along a column and along a row: in the order of `Size`."""


@dataclass(frozen=True)
class Geometry:
    """The pixel grid of an image.

    Args:
        size: (height, width) in pixels.
        spacing: Millimetres per pixel, in the order of `size`; None where the file states none. Distances are then in
            pixels, and nothing may call them millimetres.

    Example:
        >>> segmed.Geometry((256, 320), spacing=(0.5, 0.5)).size
        (256, 320)
    """

    size: Size
    spacing: PixelSpacing | None = None


@dataclass(frozen=True)
class Image:
    """Pixels as stored, with their geometry.

    Args:
        array: `height width channels`, any integer or float dtype, in the file's own range.
        geometry: The grid of the pixels.

    Example:
        >>> image = segmed.read_image("slice.tif")
        >>> image.array.shape, image.array.dtype.name
        ((64, 64, 3), 'uint8')
    """

    array: Shaped[np.ndarray, "h w c"]
    geometry: Geometry


@dataclass(frozen=True)
class Mask:
    """Labels of the pixels of an image.

    Args:
        array: `height width`, uint8: 0 is background, 1 … K are the foreground labels of a `LabelMap`.
        geometry: The grid of the pixels.

    Example:
        >>> mask = segmed.Mask(np.zeros((4, 5), np.uint8), segmed.Geometry((4, 5)))
        >>> int(mask.array.max())
        0
    """

    array: UInt8[np.ndarray, "h w"]
    geometry: Geometry


def shown_channel(channels: int) -> int:
    """The channel that stands for an image in a picture: the middle one, which is FLAIR of LGG's sequences."""
    return channels // 2


def require_same_grid(image: Image, mask: Mask, name: str) -> None:
    """Raise `DataError` unless image and mask have the same height and width; `name` says which file is meant."""
    if image.geometry.size != mask.geometry.size:
        raise DataError(
            f"{name}: the mask is {_size(mask.geometry)} but its image is {_size(image.geometry)}. "
            "Export both on the same grid."
        )


def _size(geometry: Geometry) -> str:
    return "x".join(str(side) for side in geometry.size)
