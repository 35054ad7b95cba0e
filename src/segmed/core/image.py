"""Images and masks with the grid they live on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped, UInt8

from segmed.core.errors import DataError

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Geometry:
    """The pixel grid of an image.

    `spacing` is millimetres per pixel in the order of `size`, or None where the file carries none: distances are then
    in pixels and nothing may call them millimetres.
    """

    size: Size
    spacing: tuple[float, float] | None = None


@dataclass(frozen=True)
class Image:
    """Pixels as stored, `height width channels`, any integer or float dtype, with their geometry."""

    array: Shaped[np.ndarray, "h w c"]
    geometry: Geometry


@dataclass(frozen=True)
class Mask:
    """Labels, `height width`, uint8: 0 is background, 1 … K are the foreground labels of a `LabelMap`."""

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
