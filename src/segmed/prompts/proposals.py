"""Where a probability map says that something is: components, their boxes, peaks and mask prompts.

The same function proposes in training (from out-of-fold maps) and in the cascade (from a dense run), so that the
decoder learns on what it will see.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32, Float64
from pydantic import Field

from segmed.core.config import config_dataclass
from segmed.core.image import Size
from segmed.prompts.boxes import kept_in_image, sides_scaled
from segmed.prompts.grid import PromptGrid, fill_boxes
from segmed.prompts.masks import lesions, tight_boxes
from segmed.prompts.value import Prompts

PromptKinds = Literal["box", "box+point", "box+mask", "box+point+mask"]
KINDS: tuple[PromptKinds, ...] = get_args(PromptKinds)
"""What a proposal becomes as a prompt."""

SUREST = 1 / 510
"""Probabilities are kept this far from 0 and 1 before their logit: half a step of a map of 8 bits."""


@config_dataclass
class ProposeConfig:
    """From a probability map to proposals."""

    probability: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Pixels at least as probable form components (8-connected)."""
    min_pixels: Annotated[int, Field(ge=1)] = 1
    """Smaller components propose nothing."""
    margin: Annotated[float, Field(ge=0, le=2)] = 0.1
    """How far each side of the tight box moves out, as a share of the box's width or height."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """The n proposals of one slice, the largest component first, on the grid of the map."""

    components: Bool[np.ndarray, "n h w"]
    boxes: Float64[np.ndarray, "n 4"]
    """With margin, within the image."""
    peaks: Float64[np.ndarray, "n 2"]
    """Centre (x, y) of the most probable pixel of each component, the first in reading order."""
    logits: Float32[np.ndarray, "n h w"]
    """The map's logits within each box, surely background outside it: a mask prompt before it is made coarse."""

    def __len__(self) -> int:
        """The number of proposals."""
        return len(self.components)

    def only(self, kept: Bool[np.ndarray, " n"]) -> "Proposals":
        """Some of them."""
        return Proposals(self.components[kept], self.boxes[kept], self.peaks[kept], self.logits[kept])

    def prompts(self, kinds: PromptKinds, grid: PromptGrid, cells: Size | None = None) -> Prompts:
        """One object per proposal, on the map's grid, which is the image's of `grid`.

        `cells` is the size of the model's mask prompts; it is needed where `kinds` has masks, and only there.
        """
        peaks, owners = (self.peaks, np.arange(len(self))) if "point" in kinds else (np.zeros((0, 2)), np.zeros(0, int))
        masks = grid.mask_prompt(self.logits, cells) if "mask" in kinds and cells is not None and len(self) else None
        return Prompts(boxes=self.boxes, points=peaks, point_objects=owners, logits=masks)


def propose(probability: Float32[np.ndarray, "h w"], config: ProposeConfig) -> Proposals:
    """The proposals of a map of probabilities; none where nothing reaches `config.probability`."""
    found = lesions(probability >= config.probability)
    components = found[found.sum(axis=(1, 2)) >= config.min_pixels]
    size = (probability.shape[0], probability.shape[1])
    count = len(components)
    tight = tight_boxes(components) if count else np.zeros((0, 4))
    boxes = kept_in_image(sides_scaled(tight, np.full(count, 1 + 2 * config.margin)), size)
    highest = np.where(components, probability, -1).reshape(count, -1).argmax(axis=1) if count else np.zeros(0, int)
    rows, columns = np.divmod(highest, size[1])
    logits = np.where(fill_boxes(boxes, size), map_logits(probability), map_logits(np.float32(0)))
    return Proposals(components, boxes, np.stack([columns, rows], axis=1) + 0.5, logits.astype(np.float32))


def map_logits(probability: Float32[np.ndarray, "..."] | np.float32) -> Float32[np.ndarray, "..."]:
    """Logits of probabilities, bounded as those of a map of 8 bits are."""
    bounded = np.clip(np.asarray(probability, np.float32), SUREST, 1 - SUREST)
    return np.asarray(np.log(bounded) - np.log1p(-bounded), np.float32)


def claimed(reference: Bool[np.ndarray, "h w"], proposals: Proposals) -> Bool[np.ndarray, "n h w"]:
    """What each proposal asks for: the whole lesions of `reference` that it means, nothing where it is a false alarm.

    It means a lesion (8-connected) that its component touches, or of which at least half lies in its box.
    """
    real = lesions(reference)
    if not len(real) or not len(proposals):
        return np.zeros((len(proposals), *reference.shape), bool)
    flat = real.reshape(len(real), -1).astype(np.float32)
    touching = proposals.components.reshape(len(proposals), -1).astype(np.float32) @ flat.T > 0
    within = fill_boxes(proposals.boxes, (reference.shape[0], reference.shape[1]))
    shares = within.reshape(len(proposals), -1).astype(np.float32) @ flat.T / flat.sum(axis=1)
    return np.asarray(((touching | (shares >= 0.5)).astype(np.float32) @ flat > 0).reshape(-1, *reference.shape))
