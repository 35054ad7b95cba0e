"""Test-time flips: probabilities of an image and of its mirror images, averaged on the image's own grid.

Whether they help is a matter for the validation patients (`segmed tune`), not for the test.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from segmed.models.prediction import Tta
from segmed.preprocess import Undo

Axes = tuple[int, ...]
"""Axes of `B C H W` that are mirrored."""
FLIPS: dict[Tta, tuple[Axes, ...]] = {"none": ((),), "mirror": ((), (3,)), "flips": ((), (3,), (2,), (2, 3))}
"""The axes of `B C H W` along which the network's input, and its logits in turn, are mirrored, for each pass.

Each kind begins with the passes of the cheaper ones."""


def probabilities_by_pass(
    model: nn.Module, images: Float[Tensor, "b c h w"], undos: Sequence[Undo], tta: Tta
) -> Iterator[Float[Tensor, "passes k _H _W"]]:
    """Probabilities of each image on its own grid, of every pass of `tta`. On the processor, float32."""
    with torch.inference_mode():
        passes = [_logits(model, images, axes) for axes in FLIPS[tta]]
    for index, undo in enumerate(undos):
        yield torch.stack([undo(logits[index]).sigmoid() for logits in passes])


def _logits(model: nn.Module, images: Float[Tensor, "b c h w"], axes: tuple[int, ...]) -> Float[Tensor, "b k h w"]:
    logits: Tensor = model(flipped(images, axes).contiguous(memory_format=torch.channels_last))
    return flipped(logits, axes).float().cpu()


def flipped(image: Shaped[Tensor, "..."], axes: Axes) -> Shaped[Tensor, "..."]:
    """Mirrored along axes; the tensor itself where there are none."""
    return image.flip(axes) if axes else image
