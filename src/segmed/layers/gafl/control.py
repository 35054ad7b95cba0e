"""The control of the layer: a filter with about as many numbers that knows neighbours and no frequencies."""

import math

import torch
from torch import Tensor, nn

from segmed.layers.gafl.modes import Response, times
from segmed.layers.gafl.transforms import Spectrum

SIDE = 5


class ConvolutionControl(nn.Module):
    """convolution-control: each channel plus its convolution with 5 x 5 taps, zero at the start; 25 numbers a channel.

    Radial has 24. What a filter of frequencies is worth beyond this one it is worth for its frequencies. It is computed
    as the others are, with the same wrap-around, so that nothing else differs. Not of the paper.
    """

    real = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.zeros(channels, SIDE, SIDE))

    def forward(self, spectrum: Spectrum, width: int) -> Spectrum:
        return times(spectrum, self.change(spectrum.shape[-3], width, spectrum.dtype))

    def change(self, height: int, width: int, dtype: torch.dtype) -> Response:
        """The transform of the taps: the sum of `w[y, x] exp(-2 pi i (v y + u x))` at frequency (v, u)."""
        taps = self.taps.to(dtype)
        down, across = _waves(height, height, taps), _waves(width, width // 2 + 1, taps)
        real, imaginary = taps @ across[0], -(taps @ across[1])  # c 5 f
        cosine, sine = down[0].T, down[1].T  # h 5
        return torch.stack((cosine @ real + sine @ imaginary, cosine @ imaginary - sine @ real), dim=-1)


def _waves(length: int, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the first `count` frequencies at the taps' distances from the middle one, `5 count` each.

    Frequencies from 1/2 on stand for the negative ones, which are the same at whole distances.
    """
    distance = torch.arange(SIDE, dtype=torch.float64) - SIDE // 2
    angle = 2 * math.pi * distance[:, None] * torch.arange(count, dtype=torch.float64) / length
    return angle.cos().to(like), angle.sin().to(like)
