"""What an image encoder says of images: one or more maps, the same in memory, in a cache and in its shards."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from segmed.core.errors import ModelError

Shape = tuple[int, int, int]
"""Channels, rows and columns of one level."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """The maps of b images. SAM has one level, and a second where FeatUp adds one; SAM 2 has three.

    Example:
        >>> embedding = Embedding((torch.zeros(2, 256, 64, 64), torch.zeros(2, 32, 256, 256)))
        >>> len(embedding), embedding.shapes
        (2, ((256, 64, 64), (32, 256, 256)))
        >>> len(embedding[:1])
        1
    """

    levels: tuple[Float[Tensor, "b _c _h _w"], ...]
    """In the order of the model; the first is the one that prompts are decoded on."""

    def __post_init__(self) -> None:
        """Raise `ModelError` for no level, and for levels of different numbers of images."""
        if len({len(level) for level in self.levels}) != 1:
            raise ModelError(
                f"An embedding has levels of the same images, got {[len(level) for level in self.levels]}."
            )

    def __len__(self) -> int:
        """The number of images."""
        return len(self.levels[0])

    def __getitem__(self, images: slice | Int[Tensor, " m"]) -> "Embedding":
        """Of some of the images."""
        return Embedding(tuple(level[images] for level in self.levels))

    @classmethod
    def join(cls, several: Sequence["Embedding"]) -> "Embedding":
        """Of the images of all; raises `ModelError` where these differ in their levels."""
        if len({each.shapes for each in several}) != 1:
            raise ModelError("Embeddings of different shapes cannot be joined. Encode the images at one size.")
        return cls(tuple(torch.cat(level) for level in zip(*(each.levels for each in several), strict=True)))

    @property
    def first(self) -> Float[Tensor, "b c h w"]:
        """The level that prompts are decoded on."""
        return self.levels[0]

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Of every level, without the images."""
        return tuple((level.shape[1], level.shape[2], level.shape[3]) for level in self.levels)

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.first.device

    def to(self, device: torch.device) -> "Embedding":
        """On another device."""
        return Embedding(tuple(level.to(device, non_blocking=True) for level in self.levels))

    def float(self) -> "Embedding":
        """In single precision."""
        return Embedding(tuple(level.float() for level in self.levels))
