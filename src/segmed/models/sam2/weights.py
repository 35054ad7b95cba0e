"""Weights of SAM 2: which image encoder they are of, and what they are called here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from segmed.core.errors import ModelError
from segmed.models.families import FAMILIES, NATIVE, hiera_of
from segmed.models.sam.sam2_key_mapping import OURS as NAMES
from segmed.models.sam.weights import Pretrained
from segmed.models.sam_config import HieraConfig

__all__ = ["NAMES", "HieraArchitecture", "HieraShape", "require_same_hiera", "shape_of"]

BACKBONE = "vision_encoder.backbone."


@dataclass(frozen=True)
class HieraShape:
    """What the shapes of weights tell of a Hiera; heads, global blocks and later windows leave no trace in them."""

    width: int
    blocks: tuple[int, int, int, int]
    background: int
    first_window: int
    channels: int

    @classmethod
    def of(cls, hiera: HieraConfig, channels: int) -> "HieraShape":
        """Of a configured encoder."""
        return cls(hiera.width, hiera.blocks, hiera.background, hiera.windows[0], channels)


@dataclass(frozen=True)
class HieraArchitecture:
    """What weights of SAM 2 tell; they were all trained on images of one size, as no shape depends on it."""

    shape: HieraShape
    size: int = NATIVE

    @property
    def channels(self) -> int:
        """Of the images."""
        return self.shape.channels

    @property
    def model(self) -> str | None:
        """The name of the model of this image encoder; None for any other."""
        return model_of(self.shape)

    @property
    def words(self) -> str:
        """The model, or what it is where it has no name."""
        return self.model or f"a Hiera of width {self.shape.width} and {sum(self.shape.blocks)} blocks"

    @property
    def hiera(self) -> HieraConfig:
        """A configuration whose weights have these shapes: the model's own where it has a name."""
        if self.model is not None:
            return hiera_of(self.model)
        shape = self.shape
        return HieraConfig(
            width=shape.width, blocks=shape.blocks, global_blocks=(), windows=(shape.first_window, 1, 1, 1),
            background=shape.background,
        )  # fmt: skip


def shape_of(tensors: Mapping[str, Tensor], source: str) -> HieraShape:
    """Read it from weights under transformers' names; raises `ModelError` where the image encoder is not whole."""
    try:
        position, window = tensors[f"{BACKBONE}pos_embed"], tensors[f"{BACKBONE}pos_embed_window"]
        patch = tensors[f"{BACKBONE}patch_embed.projection.weight"]
        numbers = {
            int(found[1]) for name in tensors if (found := re.match(re.escape(BACKBONE) + r"blocks\.(\d{1,4})\.", name))
        }
        widths = [
            int(tensors[f"{BACKBONE}blocks.{number}.layer_norm2.weight"].shape[0]) for number in range(len(numbers))
        ]
        width = int(patch.shape[0])
        first, second, third, fourth = (widths.count(width * 2**stage) for stage in range(4))
        return HieraShape(
            width=width,
            blocks=(first, second, third, fourth),
            background=int(position.shape[2]),
            first_window=int(window.shape[2]),
            channels=int(patch.shape[1]),
        )
    except (KeyError, IndexError) as error:
        raise ModelError(f"{source}: the image encoder is not whole (no {error}). Get the file again.") from error


def require_same_hiera(pretrained: Pretrained, hiera: HieraConfig, channels: int, model: str) -> None:
    """Raise `ModelError` where weights are not of this image encoder, naming the right model."""
    if not pretrained.source.second:
        raise ModelError(f"{pretrained.place}: these weights are of the first SAM's kind. Use --model sam-vit-b.")
    found = shape_of(pretrained.source.tensors, pretrained.place)
    if found == HieraShape.of(hiera, channels):
        return
    right = model_of(found)
    if right is not None and right != model:
        raise ModelError(f"{pretrained.place}: these weights are not those of {model}. Use --model {right}.")
    raise ModelError(
        f"{pretrained.place}: these weights are of another image encoder than {model}'s ({found}). Set model.sam.hiera "
        "and model.channels to theirs."
    )


def model_of(shape: HieraShape) -> str | None:
    """The family with this image encoder; None for any other."""
    known = ((name, row.hiera) for name, row in FAMILIES.items() if row.hiera is not None)
    return next((name for name, hiera in known if HieraShape.of(hiera, shape.channels) == shape), None)
