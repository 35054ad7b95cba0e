"""What SegMed adds to SAM: a box that is drawn and measured from, tokens for no prompt, and a head that can say no."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmed.layers.gated import Gated


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


class BoxPrior(Gated):
    """Where each cell of the mask grid lies in a box, for the decoder's upscaled map; a gate starts at zero.

    A cell's place is told in units of the box: its distances from the centre are 1 at the sides, and their squares add
    to 1 on the inscribed ellipse, which alone matches half of a tumour's mask. So a decoder begins from the box's shape
    and learns from the image how the object differs, however few cells of the embedding a small box has.
    """

    FEATURES, FAR = 5, 2.0

    def __init__(self, channels: int, hidden: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(self.FEATURES, hidden), nn.GELU(), nn.Linear(hidden, channels))
        self.gate = nn.Parameter(torch.zeros(channels))

    def forward(self, boxes: Float[Tensor, "m 4"], cells: int) -> Float[Tensor, "m k h w"]:
        """Maps of boxes (x0, y0, x1, y1) from 0 to 1 on `cells` x `cells`; empty boxes give zeros."""
        given = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        mapped: Tensor = self.gate * self.layers(self.places(boxes, cells))
        return (mapped * given[:, None, None, None]).movedim(-1, 1)

    def places(self, boxes: Float[Tensor, "m 4"], cells: int) -> Float[Tensor, "m h w 5"]:
        """The share of each cell that a box covers, the cell's distances from the box's centre down and across in units
        of the half sides, and the larger and the sum of squares of these; all cut off at `FAR`."""
        centres = (torch.arange(cells, device=boxes.device, dtype=boxes.dtype) + 0.5) / cells
        middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp_min(0.5 / cells)
        x, y = ((centres - middle[:, axis, None]) / half[:, axis, None] for axis in (0, 1))
        x, y = x[:, None, :].expand(-1, cells, -1), y[:, :, None].expand(-1, -1, cells)
        far = torch.stack([y, x, torch.maximum(x.abs(), y.abs()), x.square() + y.square()], dim=-1)
        cover = box_coverage(boxes, cells)
        return torch.cat([cover[..., None], far.clamp(-self.FAR, self.FAR)], dim=-1)


def box_coverage(boxes: Float[Tensor, "m 4"], cells: int) -> Float[Tensor, "m h w"]:
    """The share (0 to 1) of each of `cells` x `cells` that each box covers; the torch form of `prompts.grid`'s."""
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
