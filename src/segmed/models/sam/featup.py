"""FeatUp in promptable models: a fine branch beside the mask decoder's upscaling.

SAM's decoder upsamples its map by two transposed convolutions, whose channels carry what lies below a cell; JBU mixes
cells alone and cannot do that, so the branch is added and replaces nothing. It depends on image and embedding, not on
prompts: one map serves every object that is asked for.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmed.layers.featup import GuidedKind, GuidedUpsampler
from segmed.layers.gated import Gated

STAGES = 2
"""Doublings between the embedding's grid and the mask grid."""
SHARE = 8
"""SAM's upscaled map has an eighth of the embedding's channels."""


class FineBranch(Gated):
    """Reduced embedding -> two stages to the mask grid -> norm, GELU, mixing -> gate that starts at zero.

    Without the nonlinearity after the upsampling the branch would equal an upsampled low-resolution logit: JBU commutes
    with everything that is linear in the channels.
    """

    def __init__(self, channels: int, kind: GuidedKind, *, image_channels: int = 3) -> None:
        super().__init__()
        fine = channels // SHARE
        self.reduce = nn.Conv2d(channels, fine, 1)
        self.upsampler = GuidedUpsampler(kind, fine, STAGES, image_channels=image_channels)
        self.norm = nn.LayerNorm(fine)
        self.mix = nn.Linear(fine, fine)
        self.gate = nn.Parameter(torch.zeros(fine))

    def forward(self, embedding: Float[Tensor, "b c g g"], image: Float[Tensor, "b k s s"]) -> Float[Tensor, "b f h h"]:
        """What is added to the upscaled map of every object of each image; zero at the start."""
        upsampled = self.upsampler(self.reduce(embedding), image).movedim(1, -1)
        mixed: Tensor = self.gate * self.mix(functional.gelu(self.norm(upsampled)))
        return mixed.movedim(-1, 1)


def doublings(side: int, goal: int) -> int:
    """How many doublings take a map of `side` cells to `goal` or beyond."""
    return max(0, (-(-goal // side) - 1).bit_length())
