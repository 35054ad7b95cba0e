"""What SegMed adds to SAM: a drawn box, tokens in place of a prompt, and a head that can say no."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BoxMap(nn.Module):
    """A box drawn on the embedding: the share of each mask cell that it covers, through two strided convolutions.

    SAM gives a box to the decoder as two corner tokens. Trained from random weights on positive slices alone, a
    decoder learns to do without them; a map of the box is hard to overlook. The last projection starts at zero.
    """

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(1, hidden // 4, 2, stride=2), nn.GELU(), nn.Conv2d(hidden // 4, hidden, 2, stride=2), nn.GELU()
        )
        self.project = nn.Conv2d(hidden, channels, 1)
        for parameter in self.project.parameters():
            nn.init.zeros_(parameter)

    def forward(self, boxes: Float[Tensor, "m 4"], cells: int) -> Float[Tensor, "m c g g"]:
        """Maps of boxes (x0, y0, x1, y1) from 0 to 1, drawn on `cells` x `cells`; empty boxes give zeros."""
        drawn = box_coverage(boxes, cells) * 2 - 1
        given = (boxes[:, 2] > boxes[:, 0]).to(drawn.dtype)[:, None, None, None]
        mapped: Tensor = self.project(self.down(drawn[:, None]))
        return mapped * given


def box_coverage(boxes: Float[Tensor, "m 4"], cells: int) -> Float[Tensor, "m h w"]:
    """The share (0 to 1) of each of `cells` x `cells` that each box covers; the torch form of `core.grid`'s."""
    low = torch.arange(cells, device=boxes.device, dtype=boxes.dtype)
    scaled = boxes * cells

    def overlap(start: Tensor, end: Tensor) -> Tensor:
        return (torch.minimum(end[:, None], low + 1) - torch.maximum(start[:, None], low)).clamp(0, 1)

    across, down = overlap(scaled[:, 0], scaled[:, 2]), overlap(scaled[:, 1], scaled[:, 3])
    return down[:, :, None] * across[:, None, :]


class PromptlessTokens(nn.Module):
    """Learned tokens that stand in for a prompt where there is none."""

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(count, channels) * 0.02)

    def forward(self, objects: int) -> Float[Tensor, "m t c"]:
        """The tokens, for each of so many objects."""
        return self.tokens.expand(objects, -1, -1)


class PresenceHead(nn.Module):
    """Whether an image shows the object at all, from its embedding: mean and maximum over the map, then two layers."""

    def __init__(self, channels: int, hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * channels, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, embedding: Float[Tensor, "b c g g"]) -> Float[Tensor, " b"]:
        """The logit of each image."""
        pooled = torch.cat([embedding.mean((2, 3)), embedding.amax((2, 3))], dim=1)
        logits: Tensor = self.layers(pooled)
        return logits[:, 0]
