"""Prompts from reference masks, as training draws them and as evaluation states them: draw, then apply.

A prompt taken from the reference knows where the object is, so that every score it leads to is an oracle's. The floors
of `segmed.models.box_floors` show what the prompt alone is worth.
"""

import zlib
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64
from pydantic import Field

from segmed.core.config import config_dataclass
from segmed.core.errors import ConfigError, DataError
from segmed.prompts.boxes import kept_in_image, shifted, sides_moved, sides_scaled
from segmed.prompts.masks import lesions, points_beside, points_inside, tight_boxes, whole_mask
from segmed.prompts.value import INSIDE, OUTSIDE, Prompts

Probability = Annotated[float, Field(ge=0, le=1)]
MOST = 65535
"""Pixels or points beyond which a number is taken for a mistake."""
Count = Annotated[int, Field(ge=0, le=MOST)]


@config_dataclass
class PromptConfig:
    """How prompts are made from a mask. The default is the tight box of the whole mask, exactly.

    Changes of a box are made in the order of the fields: longer sides, shift, outward, symmetric; then it is cut to
    the image and kept at least a pixel wide.
    """

    per: Literal["mask", "lesion"] = "mask"
    """One object for the whole mask, or one for each 8-connected component."""
    min_pixels: Annotated[int, Field(ge=1)] = 1
    """Smaller lesions get no prompt; the largest always does."""
    box_share: Probability = 1.0
    """Chance that an image's objects get their boxes: 1 always, 0 never."""
    enlarge: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest factor on height and width, about the centre; one factor per box."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest shift as a share of the box's width and height, either way, on each axis."""
    outward: Count = 0
    """Each side moves out by a whole number of pixels from 0 to this, as in MedSAM."""
    symmetric: Count = 0
    """Each side moves by a whole number of pixels, in or out by up to this."""
    pixels_at: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """The image side at which `outward`, `symmetric` and `near` are counted: 20 pixels at 1024 are 5 at 256. Height
    and width are scaled apart, as MedSAM stretches images. None counts the image's own pixels."""
    inside: Count = 0
    """Points on each object."""
    depth: Annotated[float, Field(ge=0)] = 2.0
    """How much those far from the border are preferred: the power of their distance to it."""
    outside: Count = 0
    """Points beside each object."""
    near: Annotated[float, Field(gt=0)] = 10.0
    """How far from the object those may lie, in pixels."""

    def __post_init__(self) -> None:
        """Refuse factors that turn a box inside out."""
        if not 0 < self.enlarge[0] <= self.enlarge[1]:
            raise ConfigError(f"enlarge must rise from above 0, got {self.enlarge}. Use (1.0, 1.5) for up to 1.5.")


PROMPTS: dict[str, PromptConfig] = {
    "gt": PromptConfig(),
    "lesions": PromptConfig(per="lesion"),
    "medsam": PromptConfig(outward=20, pixels_at=1024),
    "symmetric": PromptConfig(symmetric=20, pixels_at=1024),
    "loose": PromptConfig(enlarge=(1.5, 1.5)),
    "shifted": PromptConfig(shift=0.25),
    "points": PromptConfig(box_share=0.0, inside=1, outside=1),
    "none": PromptConfig(box_share=0.0),
}
"""Settings by name. `segmed.prompts.kinds` reads these and others with a number, such as `jitter:5`."""


@dataclass(frozen=True)
class PromptDraws:
    """All random numbers for the n objects of one image; the same draws give the same prompts.

    Pixels are counted as the config says; `inside` and `beside` are from [0, 1).
    """

    boxes: bool
    enlarge: Float64[np.ndarray, " n"]
    shift: Float64[np.ndarray, "n 2"]
    outward: Int64[np.ndarray, "n 4"]
    symmetric: Int64[np.ndarray, "n 4"]
    inside: Float64[np.ndarray, "n i"]
    beside: Float64[np.ndarray, "n o"]


@dataclass(frozen=True)
class Prompted:
    """Prompts and what they ask for: one target per object, or the whole mask, empty or not, where nothing is asked."""

    prompts: Prompts
    targets: Bool[np.ndarray, "n h w"]


class Prompter:
    """Makes prompts from masks by a `PromptConfig`, on the grid of the mask."""

    def __init__(self, config: PromptConfig) -> None:
        self.config = config

    def __call__(self, mask: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Prompted:
        """Draw, then apply. An empty mask has no object and gets no prompt."""
        objects = self.objects(mask)
        return self._prompted(mask, objects, self.draw(len(objects), rng))

    def objects(self, mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "n h w"]:
        """What is prompted for one by one: the whole mask, or its lesions."""
        if self.config.per == "mask":
            return whole_mask(mask)
        return lesions(mask, self.config.min_pixels)

    def draw(self, objects: int, rng: np.random.Generator) -> PromptDraws:
        """All random numbers for an image with so many objects; reads and advances only `rng`."""
        config = self.config
        return PromptDraws(
            boxes=bool(rng.random() < config.box_share),
            enlarge=rng.uniform(*config.enlarge, objects),
            shift=rng.uniform(-config.shift, config.shift, (objects, 2)),
            outward=rng.integers(0, config.outward, (objects, 4), endpoint=True),
            symmetric=rng.integers(-config.symmetric, config.symmetric, (objects, 4), endpoint=True),
            inside=rng.random((objects, config.inside)),
            beside=rng.random((objects, config.outside)),
        )

    def apply(self, mask: Bool[np.ndarray, "h w"], draws: PromptDraws) -> Prompted:
        """Apply what was drawn; no randomness here. Raises `DataError` for draws of another number of objects."""
        return self._prompted(mask, self.objects(mask), draws)

    def _prompted(
        self, mask: Bool[np.ndarray, "h w"], objects: Bool[np.ndarray, "n h w"], draws: PromptDraws
    ) -> Prompted:
        if len(objects) != len(draws.enlarge):
            raise DataError(
                f"The draws are for {len(draws.enlarge)} objects, but the mask has {len(objects)}. Draw for this mask."
            )
        boxes = self._boxes(objects, draws) if draws.boxes else np.zeros((0, 4))
        points, labels, owners = self._points(objects, draws)
        prompts = Prompts(boxes=boxes, points=points, point_labels=labels, point_objects=owners)
        return Prompted(prompts, objects if len(prompts) else mask[None])

    def _boxes(self, objects: Bool[np.ndarray, "n h w"], draws: PromptDraws) -> Float64[np.ndarray, "n 4"]:
        height, width = objects.shape[1:]
        step = np.tile(self._pixel((height, width))[::-1], 2)
        boxes = sides_scaled(tight_boxes(objects), draws.enlarge)
        boxes = shifted(boxes, draws.shift)
        boxes = sides_moved(boxes, (draws.outward + draws.symmetric) * step)
        return kept_in_image(boxes, (height, width))

    def _points(
        self, objects: Bool[np.ndarray, "n h w"], draws: PromptDraws
    ) -> tuple[Float64[np.ndarray, "p 2"], Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
        """Points, their labels and their objects; a near miss for which there is no room is left out."""
        near = self.config.near * float(self._pixel((objects.shape[1], objects.shape[2])).mean())
        inside = points_inside(objects, draws.inside, self.config.depth)
        beside = points_beside(objects, draws.beside, near)
        points = np.concatenate([inside, beside], axis=1)
        labels = np.repeat([INSIDE, OUTSIDE], [inside.shape[1], beside.shape[1]])
        owners, place = np.nonzero(np.isfinite(points[..., 0]))
        return points[owners, place], labels[place].astype(np.int64), owners.astype(np.int64)

    def _pixel(self, size: tuple[int, int]) -> Float64[np.ndarray, "2"]:
        """How many of the image's pixels (down, across) one configured pixel is."""
        return np.asarray(size, np.float64) / (self.config.pixels_at or size)


def slice_generator(seed: int, slice_id: str) -> np.random.Generator:
    """The generator of one slice: evaluation draws the same prompts for it in whatever order slices come."""
    return np.random.default_rng([seed, zlib.crc32(slice_id.encode())])
