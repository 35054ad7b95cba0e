"""Test-time augmentation: probabilities of several images of a slice, averaged on the slice's own grid.

Mirror images and a larger image. Whether they help is a matter for the validation patients (`segmed tune`), not for
the test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from segmed.models.prediction import Tta

ZOOM = 1.25
"""How much larger the larger image is."""
Axes = tuple[int, ...]
"""Axes of `B C H W` that are mirrored."""


@dataclass(frozen=True)
class Pass:
    """One image of a slice: the axes of `B C H W` along which the network's input, and its logits in turn, are
    mirrored, and how many times as large as otherwise the slice is at the network's input.
    """

    axes: Axes = ()
    zoom: float = 1.0


MIRROR = Pass((3,))
PASSES: dict[Tta, tuple[Pass, ...]] = {
    "none": (Pass(),),
    "mirror": (Pass(), MIRROR),
    "scales": (Pass(), Pass(zoom=ZOOM)),
    "flips": (Pass(), MIRROR, Pass((2,)), Pass((2, 3))),
    "mirror+scales": (Pass(), MIRROR, Pass(zoom=ZOOM), Pass((3,), ZOOM)),
}


def passes_of(kinds: Sequence[Tta]) -> tuple[Pass, ...]:
    """Every pass of these kinds, once."""
    return tuple(dict.fromkeys(each for kind in kinds for each in PASSES[kind]))


def logits_of(model: nn.Module, images: Float[Tensor, "b c h w"], axes: Axes) -> Float[Tensor, "b k h w"]:
    """What a network says of images mirrored along `axes`, the right way round again. On the processor, float32."""
    logits: Tensor = model(flipped(images, axes).contiguous(memory_format=torch.channels_last))
    return flipped(logits, axes).float().cpu()


def flipped(image: Shaped[Tensor, "..."], axes: Axes) -> Shaped[Tensor, "..."]:
    """Mirrored along axes; the tensor itself where there are none."""
    return image.flip(axes) if axes else image
