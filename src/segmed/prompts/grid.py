"""The one place where prompts cross between an image's grid and the network's, and boxes become pixels.

An image reaches the network stretched or scaled to `content` and then padded at the bottom and right to `network`.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Shaped

from segmed.core.errors import DataError
from segmed.core.image import Size
from segmed.prompts.value import Prompts

PADDING_LOGIT = -10.0
"""The logit of a mask prompt where the network's grid is padding: surely not the object."""


@runtime_checkable
class Resized(Protocol):
    """What preprocessing did to an image's size, as its `Undo` says: (height, width) before it and without padding."""

    @property
    def original(self) -> Size:
        """The size of the image itself."""
        ...

    @property
    def content(self) -> Size:
        """Its size on the network's grid, without padding."""
        ...


def prompt_grid(undo: Resized, network: Size) -> "PromptGrid":
    """The way of an image's prompts to the network's grid of size (height, width), padding included, and back."""
    return PromptGrid(original=undo.original, content=undo.content, network=network)


@dataclass(frozen=True)
class PromptGrid:
    """Sizes (height, width) of an image, of what it becomes on the network's grid, and of that grid with padding."""

    original: Size
    content: Size
    network: Size

    def __post_init__(self) -> None:
        """Refuse sizes that no preprocessing gives."""
        if min(*self.original, *self.content) < 1 or any(
            part > whole for part, whole in zip(self.content, self.network, strict=True)
        ):
            raise DataError(
                f"An image of {self.original} cannot be {self.content} on a network grid of {self.network}. "
                "Give (height, width) before preprocessing, after resizing and after padding."
            )

    def to_network(self, prompts: Prompts) -> Prompts:
        """Take prompts from the image's grid to the network's; raises `DataError` where one leaves the image.

        Mask prompts are on the network's grid already and stay as they are.
        """
        return _scaled(prompts.within(self.original), self.original, self.content)

    def to_image(self, prompts: Prompts) -> Prompts:
        """The way back, exact: what came from the image returns bit for bit, if float32 can hold it.

        Raises `DataError` for what lies in the padding; cut it first with `prompts.clipped_to(grid.content)`.
        """
        back = _scaled(prompts.within(self.content), self.content, self.original)
        # the two roundings of float64 on the way are far smaller than float32's last digit
        return replace(back, boxes=back.boxes.astype(np.float32), points=back.points.astype(np.float32))

    def mask_prompt(self, logits: Shaped[np.ndarray, "n H W"], cells: Size) -> Float32[np.ndarray, "n h w"]:
        """Logits on the image's grid as mask prompts: `cells` (height, width) that cover the network's grid.

        Averaged with a triangle as wide as a cell (bilinear where cells are finer than pixels). Cells whose centre
        lies in the padding get `PADDING_LOGIT`. Raises `DataError` where the logits are not of the image's size.
        """
        if logits.shape[1:] != self.original:
            raise DataError(
                f"Logits of {logits.shape[1:]} cannot prompt an image of {self.original}. "
                "Return them to the image's grid first."
            )
        rows, columns = (
            _triangle_weights(self.original[axis], self.network[axis] / self.content[axis], cells[axis])
            for axis in (0, 1)
        )
        averaged = rows @ logits.astype(np.float64) @ columns.T
        on_image = np.logical_and.outer(rows.any(axis=1), columns.any(axis=1))
        return np.where(on_image, averaged, PADDING_LOGIT).astype(np.float32)


def fill_boxes(boxes: Float64[np.ndarray, "n 4"], size: Size) -> Bool[np.ndarray, "n h w"]:
    """The pixels of a grid of `size` (height, width) whose centre lies in each box."""
    x, y = np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5
    across = (boxes[:, 0, None] <= x) & (x < boxes[:, 2, None])
    down = (boxes[:, 1, None] <= y) & (y < boxes[:, 3, None])
    return down[:, :, None] & across[:, None, :]


def box_coverage(boxes: Float64[np.ndarray, "n 4"], size: Size, cells: Size) -> Float64[np.ndarray, "n h w"]:
    """The share (0 to 1) of each of `cells` that each box covers; the cells divide a grid of `size` evenly.

    A box drawn on a coarse grid without loss of its edges: the dense form of a box prompt.
    """
    across = _overlaps(boxes[:, 0] / size[1], boxes[:, 2] / size[1], cells[1])
    down = _overlaps(boxes[:, 1] / size[0], boxes[:, 3] / size[0], cells[0])
    return down[:, :, None] * across[:, None, :]


def _overlaps(
    start: Float64[np.ndarray, " n"], end: Float64[np.ndarray, " n"], cells: int
) -> Float64[np.ndarray, "n c"]:
    edges = np.arange(cells)
    overlap = np.minimum(end[:, None] * cells, edges + 1) - np.maximum(start[:, None] * cells, edges)
    return np.clip(overlap, 0, 1)


def _scaled(prompts: Prompts, source: Size, target: Size) -> Prompts:
    numerator, denominator = np.array(target[::-1], np.float64), np.array(source[::-1], np.float64)
    return replace(
        prompts,
        boxes=prompts.boxes * np.tile(numerator, 2) / np.tile(denominator, 2),
        points=prompts.points * numerator / denominator,
    )


def _triangle_weights(pixels: int, padded: float, cells: int) -> Float64[np.ndarray, "cells pixels"]:
    """Weights of the image's pixels in each cell along one axis, summing to 1; all 0 for a cell of padding.

    `padded` is the network's extent over the image's: the cells cover that many images.
    """
    step = pixels * padded / cells
    centres = (np.arange(cells) + 0.5) * step
    distance = np.abs(np.arange(pixels) + 0.5 - centres[:, None]) / max(step, 1.0)
    weights = np.maximum(1 - distance, 0)
    weights[centres >= pixels] = 0
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
