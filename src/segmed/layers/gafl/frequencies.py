"""The half-spectrum of a real image: its frequencies in cycles per pixel, its rings, and its symmetry.

`h f` are the rows and the columns of `rfft2`: vertical frequencies in FFT order, and the `w // 2 + 1` horizontal ones
that are not negative. Every grid is made in float64 on the CPU and kept for the last few sizes.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

HIGHEST = math.sqrt(0.5)
"""Radius of the corner of the spectrum, in cycles per pixel."""


def _kept(make: Callable[..., Any]) -> Callable[..., Any]:
    """Keep what `make` returns for its last arguments; under a compiler or an exporter, make it in the graph."""
    remembered = functools.lru_cache(maxsize=16)(make)

    @functools.wraps(make)
    def grid(*arguments: Any) -> Any:
        if torch.compiler.is_compiling():
            return make(*arguments)
        with torch.inference_mode(False), torch.no_grad():  # a grid first needed in prediction serves training too
            return remembered(*arguments)

    return grid


def frequencies(height: int, width: int) -> tuple[Float[Tensor, "h"], Float[Tensor, "f"]]:
    """Vertical frequencies in [-0.5, 0.5) and horizontal ones in [0, 0.5], in cycles per pixel."""
    return torch.fft.fftfreq(height, dtype=torch.float64), torch.fft.rfftfreq(width, dtype=torch.float64)


def radius(height: int, width: int) -> Float[Tensor, "h f"]:
    """The length of the frequency vector of every bin."""
    vertical, horizontal = frequencies(height, width)
    return (vertical.square()[:, None] + horizontal.square()[None, :]).sqrt()


@_kept
def hats(height: int, width: int, bands: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "bins bands"]:
    """Weights of linear interpolation over the radius: every bin (`h f`, flattened) lies between two of the bands.

    The bands are evenly spaced from 0 to `HIGHEST`; every row sums to 1.
    """
    position = radius(height, width).flatten()[:, None] * ((bands - 1) / HIGHEST)
    distance = (position - torch.arange(bands, dtype=torch.float64)).abs()
    return (1 - distance).clamp_min(0).to(dtype).to(device)


@_kept
def directions(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "2 bins"]:
    """Unit vectors (down, right) of every bin's frequency; 0 where a frequency is its own negative: 0 and Nyquist."""
    vertical, horizontal = (torch.where(k.abs() == 0.5, 0.0, k) for k in frequencies(height, width))
    vectors = torch.stack(torch.meshgrid(vertical, horizontal, indexing="ij")).flatten(1)
    length = radius(height, width).flatten().clamp_min(torch.finfo(torch.float64).tiny)
    return (vectors / length).to(dtype).to(device)


@_kept
def multiplicity(width: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "f"]:
    """How many bins of the full spectrum a column of the half-spectrum stands for: 1 at its edges, else 2."""
    return (2 - own_conjugates(width, torch.device("cpu")).to(torch.float64)).to(dtype).to(device)


def own_conjugates(width: int, device: torch.device) -> Tensor:
    """True for the columns that hold their own conjugates: the first and, for an even width, the last (`f`)."""
    column = torch.arange(width // 2 + 1, device=device)
    return (column * 2) % width == 0


def of_a_real_image(field: Float[Tensor, "c h f"], width: int, *, odd: bool) -> Float[Tensor, "c h f"]:
    """The even (or odd) part of `field` in the columns that hold both a frequency and its negative.

    A filter keeps an image real only if its gain is even and its phase odd: rows `k` and `-k` of these columns must
    agree (or be opposite, hence 0 where `k` is `-k`). Elsewhere the half-spectrum is free, and `field` is unchanged.
    """
    negative = field.flip(-2).roll(1, -2)
    part = (field - negative) / 2 if odd else (field + negative) / 2
    return torch.where(own_conjugates(width, field.device), part, field)


@_kept
def neighbours(
    size: int, base: int, positive: bool, dtype: torch.dtype, device: torch.device
) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"], Float[Tensor, "n"]]:
    """Where the frequencies of an axis of `size` pixels lie among those of `base` pixels: lower, upper, fraction.

    Of all frequencies in FFT order, which wrap around; or, if `positive`, of the half that is not negative, where a
    frequency beyond the last of an odd base takes the last.
    """
    index = torch.arange(size // 2 + 1 if positive else size, dtype=torch.int64)
    signed = index if positive else torch.where(index < (size + 1) // 2, index, index - size)
    place = (signed * base).to(torch.float64) / size
    lower = place.floor()
    fraction = place - lower
    low = lower.to(torch.int64)
    if positive:
        low, high = (step.clamp_max(base // 2) for step in (low, low + 1))
    else:
        low, high = (step.remainder(base) for step in (low, low + 1))
    return low.to(device), high.to(device), fraction.to(dtype).to(device)


def resampled(values: Tensor, dim: int, size: int, base: int, *, positive: bool) -> Tensor:
    """Linear interpolation of `values` along `dim`, from the frequencies of `base` pixels to those of `size`."""
    if size == base:
        return values
    low, high, fraction = neighbours(size, base, positive, values.dtype, values.device)
    shape = [1] * values.ndim
    shape[dim] = -1
    lower, upper = values.index_select(dim, low), values.index_select(dim, high)
    return lower + fraction.view(shape) * (upper - lower)
