"""Baselines that use the prompt and not the image: what a promptable model must beat before its score says anything.

An ellipse drawn into the tight box of the reference knows the lesion's place, height and width without a look at the
image; its score rises and falls with the quality of the boxes alone.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import UInt8

from segmed.core.image import Size
from segmed.prompts.grid import fill_boxes
from segmed.prompts.value import Prompts


def filled_box(prompts: Prompts, size: Size) -> UInt8[np.ndarray, "h w"]:
    """The pixels of an image of `size` (height, width) whose centre lies in a box of `prompts`, as label 1.

    Empty where there is no box; raises `DataError` where one leaves the image.
    """
    return np.asarray(fill_boxes(prompts.within(size).boxes, size).any(axis=0), np.uint8)


def inscribed_ellipse(prompts: Prompts, size: Size) -> UInt8[np.ndarray, "h w"]:
    """The pixels whose centre lies in the ellipse that touches the sides of a box of `prompts`, as label 1.

    Empty where there is no box; raises `DataError` where one leaves the image.
    """
    boxes = prompts.within(size).boxes
    centre, radius = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    across = (np.arange(size[1]) + 0.5 - centre[:, 0, None]) / radius[:, 0, None]
    down = (np.arange(size[0]) + 0.5 - centre[:, 1, None]) / radius[:, 1, None]
    inside = down[:, :, None] ** 2 + across[:, None, :] ** 2 <= 1
    return inside.any(axis=0).astype(np.uint8)


def whole_image(prompts: Prompts, size: Size) -> UInt8[np.ndarray, "h w"]:
    """Label 1 everywhere, whatever is asked: the floor of a model without a box on slices that have the object."""
    return np.ones(size, np.uint8)


BOX_FLOORS: dict[str, Callable[[Prompts, Size], UInt8[np.ndarray, "h w"]]] = {
    "filled box": filled_box,
    "inscribed ellipse": inscribed_ellipse,
    "whole image": whole_image,
}
"""Floors by the name under which tables show them."""


def previous_slice(
    masks: Mapping[int, UInt8[np.ndarray, "_h _w"]], position: int, size: Size
) -> UInt8[np.ndarray, "h w"]:
    """The reference mask one position earlier in the same volume, empty where there is none.

    `masks` holds reference masks by position. It is what carrying one slice's mask to the next is worth without a
    look at the image.
    """
    return masks.get(position - 1, np.zeros(size, np.uint8))
