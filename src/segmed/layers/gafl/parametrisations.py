"""Three ways to write a number for every frequency, all zero at the start, all for any image size.

Each gives a field `c h f` over the half-spectrum of an image: even (a gain, a bias) or odd (a phase). A field that
starts as a product would have no gradient if a factor were zero, so products have their starting value subtracted.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmed.layers.gafl.frequencies import directions, hats, of_a_real_image, resampled

Field = Float[Tensor, "c h f"]


class Radial(nn.Module):
    """`bands` numbers per channel over the radius of the frequency, with straight lines between them.

    An even field commutes with flips and with turns by 90°. An odd one is the radial profile of a displacement (down,
    right): `phi(|k|) . k / |k|`, zero at frequency 0; profiles that grow linearly move the image.
    """

    def __init__(self, channels: int, *, odd: bool, bands: int) -> None:
        super().__init__()
        self.odd, self.bands = odd, bands
        shape = (channels, 2, bands - 1) if odd else (channels, bands)
        self.weight = nn.Parameter(torch.zeros(shape))

    def forward(self, height: int, width: int, dtype: torch.dtype) -> Field:
        weight = self.weight.to(dtype)
        rings = hats(height, width, self.bands, dtype, weight.device)
        if not self.odd:
            return (weight @ rings.T).view(-1, height, width // 2 + 1)
        profiles = weight @ rings[:, 1:].T
        displacement = (profiles * directions(height, width, dtype, weight.device)).sum(1)
        return displacement.view(-1, height, width // 2 + 1)


class Free(nn.Module):
    """One number per channel and frequency of an image of `size`; other sizes interpolate between the frequencies.

    An odd field has no numbers at the frequencies that are their own negatives: they could never learn.
    """

    index: Tensor

    def __init__(self, channels: int, *, odd: bool, size: tuple[int, int]) -> None:
        super().__init__()
        self.odd, self.size = odd, size
        height, width = size
        live = torch.ones(height, width // 2 + 1, dtype=torch.bool)
        if odd:
            rows = [row for row in range(height) if 2 * row % height == 0]
            columns = [column for column in range(width // 2 + 1) if 2 * column % width == 0]
            live[torch.tensor(rows)[:, None], torch.tensor(columns)] = False
        self.register_buffer("index", live.flatten().nonzero().flatten(), persistent=False)
        self.weight = nn.Parameter(torch.zeros(channels, len(self.index)))

    def forward(self, height: int, width: int, dtype: torch.dtype) -> Field:
        rows, columns = self.size[0], self.size[1] // 2 + 1
        field = self.weight.to(dtype)
        if self.odd:
            field = field.new_zeros(len(field), rows * columns).index_copy(1, self.index, field)
        field = field.view(-1, rows, columns)
        field = resampled(field, 1, height, self.size[0], positive=False)
        field = resampled(field, 2, width, self.size[1], positive=True)
        return of_a_real_image(field, width, odd=self.odd)


class LowRank(nn.Module):
    """A sum of `rank` products of a function of the rows' frequency and one of the columns', made for `size`.

    `rows . columns` less its value at the start, where both are cosines: zero at first, and both sides learn at once.
    """

    first_rows: Tensor
    first_columns: Tensor

    def __init__(self, channels: int, *, odd: bool, size: tuple[int, int], rank: int) -> None:
        super().__init__()
        self.odd, self.size = odd, size
        waves = 2 * math.pi * torch.arange(rank, dtype=torch.float64)[:, None]
        down = torch.fft.fftfreq(size[0], dtype=torch.float64)
        rows = (waves * down).cos()
        if odd:  # a part that changes sign with the frequency, for the columns where only that part counts
            rows = rows + ((waves + 2 * math.pi) * down).sin()
        columns = (waves * torch.fft.rfftfreq(size[1], dtype=torch.float64)).cos()
        scale = rank**-0.25
        self.register_buffer("first_rows", (scale * rows).float().expand(channels, -1, -1).clone())
        self.register_buffer("first_columns", (scale * columns).float().expand(channels, -1, -1).clone())
        self.rows = nn.Parameter(self.first_rows.clone())
        self.columns = nn.Parameter(self.first_columns.clone())

    def forward(self, height: int, width: int, dtype: torch.dtype) -> Field:
        rows, first_rows = (
            resampled(values.to(dtype), 2, height, self.size[0], positive=False)
            for values in (self.rows, self.first_rows)
        )
        columns, first_columns = (
            resampled(values.to(dtype), 2, width, self.size[1], positive=True)
            for values in (self.columns, self.first_columns)
        )
        # rows . columns - first_rows . first_columns, in the form that is exactly 0 at the start
        field = (rows - first_rows).mT @ columns + first_rows.mT @ (columns - first_columns)
        return of_a_real_image(field, width, odd=self.odd)


BANDS, RANK = 24, 4
"""Where nothing is said: numbers per channel of radial, and products of lowrank."""
IMAGE_SIZE = (256, 256)
"""(height, width) of a filter of images where a recipe names none and no data set tells."""

Parametrisation = Literal["radial", "free", "lowrank"]
"""radial: `BANDS` numbers per channel; free: one per frequency; lowrank: `RANK` x (rows + columns)."""
PARAMETRISATIONS: tuple[str, ...] = get_args(Parametrisation)

NewField = Callable[..., nn.Module]
"""Makes a field: `new_field(odd=...)`."""


def field_maker(name: str, channels: int, *, bands: int, rank: int, size: tuple[int, int]) -> NewField:
    """The maker of even and odd fields of this parametrisation, one of `PARAMETRISATIONS`."""

    def new_field(*, odd: bool) -> nn.Module:
        if name == "radial":
            return Radial(channels, odd=odd, bands=bands)
        if name == "free":
            return Free(channels, odd=odd, size=size)
        return LowRank(channels, odd=odd, size=size, rank=rank)

    return new_field
