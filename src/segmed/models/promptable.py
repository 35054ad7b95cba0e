"""From the decoder's objects to one answer per image, the same in training's validation and in prediction."""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from segmed.models.boxed import BoxedDense
from segmed.models.sam.network import Decoded, PromptableSam
from segmed.models.sam.prompts import ObjectPrompts
from segmed.prompts.value import Prompts

Promptable: TypeAlias = PromptableSam | BoxedDense
"""What encodes images and decodes prompts."""

NOTHING = -20.0
"""The logit of an image of which nothing was asked: surely background."""


def prompted_logits(
    model: Promptable,
    embedding: Float[Tensor, "b c gh gw"],
    prompts: Sequence[Prompts],
    fine: Float[Tensor, "b f y x"] | None = None,
) -> Float[Tensor, "b h w"]:
    """Logits at the network's size of all that is asked of each image; `NOTHING` where that is nothing.

    Prompts are on the network's grid, one value per image; `fine` is the images' `fine_map`.
    """
    objects = ObjectPrompts.of(prompts, ask_all=False).to(embedding.device)
    return largest_logits(model, model.decode(embedding, objects, fine), objects, len(prompts))


def largest_logits(model: Promptable, decoded: Decoded, objects: ObjectPrompts, images: int) -> Float[Tensor, "b h w"]:
    """The largest logit of an image's objects, pixel by pixel at the network's size; `NOTHING` without any."""
    enlarged = model.enlarged(decoded.logits)
    size = enlarged.shape[1:]
    logits = torch.full((images, *size), NOTHING, device=enlarged.device)
    if not len(objects):
        return logits
    rows = objects.image[:, None, None].expand(-1, *size)
    return logits.scatter_reduce(0, rows, enlarged, "amax")
