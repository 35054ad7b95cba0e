"""Gains that follow the image: a tiny network from the image's radial energy to a radial change of its log-gain."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmed.layers.gafl.frequencies import hats, multiplicity
from segmed.layers.gafl.transforms import Spectrum

QUIET = 1e-8
"""Added to an energy before its logarithm; images are of order one."""


def radial_energy(spectrum: Spectrum, bins: Float[Tensor, "bins bands"]) -> Float[Tensor, "b c bands"]:
    """Mean squared amplitude of every ring of frequencies, 0 for a ring without a bin; `bins` from `ring_weights`."""
    energy = spectrum.square().sum(-1).flatten(-2)
    return (energy @ bins) / bins.sum(0).clamp_min(torch.finfo(spectrum.dtype).tiny)


def ring_weights(
    height: int, width: int, bands: int, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "bins bands"]:
    """`hats`, with every bin of the half-spectrum counted as often as it is in the full one."""
    return multiplicity(width, dtype, device).repeat(height)[:, None] * hats(height, width, bands, dtype, device)


class RadialAdaptation(nn.Module):
    """A change of log-gain for every image, channel and frequency, from the log radial energy of that channel.

    One network for all channels, `bands -> hidden -> bands`. Only the shape of the energy counts, not its level, so
    brightness changes nothing. The last layer's weights start at zero; so that the first layer learns from the first
    step all the same, the last layer also has a fixed random part, and the starting output is subtracted.
    """

    last_weight: Tensor
    start_weight: Tensor
    start_bias: Tensor

    def __init__(self, bands: int, hidden: int = 16) -> None:
        super().__init__()
        self.bands = bands
        self.first = nn.Linear(bands, hidden)
        self.last = nn.Linear(hidden, bands)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("last_weight", torch.randn(bands, hidden) / hidden**0.5)
        self.register_buffer("start_weight", self.first.weight.detach().clone())
        self.register_buffer("start_bias", self.first.bias.detach().clone())

    def forward(self, spectrum: Spectrum, width: int) -> Float[Tensor, "b c h f"]:
        height, dtype = spectrum.shape[-3], spectrum.dtype
        grid = (height, width, self.bands, dtype, spectrum.device)
        rings = hats(*grid)
        profile = (radial_energy(spectrum, ring_weights(*grid)) + QUIET).log()
        profile = profile - profile.mean(-1, keepdim=True)
        linear = nn.functional.linear
        hidden = linear(profile, self.first.weight.to(dtype), self.first.bias.to(dtype))
        start = linear(profile, self.start_weight.to(dtype), self.start_bias.to(dtype))
        hidden, start = nn.functional.gelu(hidden), nn.functional.gelu(start)
        change = linear(hidden, self.last.weight.to(dtype), self.last.bias.to(dtype))
        change = change + linear(hidden - start, self.last_weight.to(dtype))
        return (change @ rings.T).view(*spectrum.shape[:-1])
