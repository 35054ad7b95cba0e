"""How a box is made less than perfect: sides moved or longer, the whole shifted. What is drawn comes in as numbers."""

import numpy as np
from jaxtyping import Float64

OUTWARD = np.array([-1.0, -1.0, 1.0, 1.0])
"""The direction in which each side (x0, y0, x1, y1) leaves the box."""


def sides_moved(boxes: Float64[np.ndarray, "n 4"], outward: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 4"]:
    """Each side moved out by so many pixels (in, where negative)."""
    return boxes + OUTWARD * outward


def sides_scaled(boxes: Float64[np.ndarray, "n 4"], factor: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 4"]:
    """Height and width times `factor`, about the box's centre."""
    extent = boxes[:, 2:] - boxes[:, :2]
    margin = extent * (factor[:, None] - 1) / 2
    return boxes + OUTWARD * np.tile(margin, 2)


def shifted(boxes: Float64[np.ndarray, "n 4"], share: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 4"]:
    """Moved right and down by a share of the box's width and height (left and up, where negative)."""
    return boxes + np.tile(share * (boxes[:, 2:] - boxes[:, :2]), 2)


def kept_in_image(boxes: Float64[np.ndarray, "n 4"], size: tuple[int, int]) -> Float64[np.ndarray, "n 4"]:
    """Boxes cut to an image of `size` (height, width), and never thinner than a pixel.

    Where less than a pixel is left on an axis, as when a side was moved across the other or the box left the image,
    the box becomes one pixel wide there, about its centre or at the image's edge.
    """
    limit = np.array([size[1], size[0]], np.float64)
    start, end = np.clip(boxes[:, :2], 0, limit), np.clip(boxes[:, 2:], 0, limit)
    centre = np.clip((boxes[:, :2] + boxes[:, 2:]) / 2, 0.5, limit - 0.5)
    thin = end - start < 1
    return np.concatenate([np.where(thin, centre - 0.5, start), np.where(thin, centre + 0.5, end)], axis=1)
