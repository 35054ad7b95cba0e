"""Kernels of 7 x 7 taps, another one at every place, on a map: three operators and their derivatives.

All three are derivatives of one trilinear form

    form(kernel, mixed, padded) = sum over places x, children m, taps o, channels c of
        kernel[x, m, o] * mixed[x, m, c] * padded[x + o, c]

by the argument that each leaves out, and so each is the backward pass of the others, to any order:

- `mix(kernel, padded)`: the window of every place, weighed by the kernels of its children;
- `match(mixed, padded)`: the products of every child with the 49 pixels of its window;
- `spread(kernel, mixed)`: every child, added to the 49 pixels of its window.

Shapes, with the channels last: `padded` is b h+6 w+6 c; `kernel` is b h w f*f 49, taps row by row; `mixed` is
b f*h f*w c, where place (i, j) has the f*f children (f*i .. f*i+f-1, f*j .. f*j+f-1); f is 1 or 2.

No unfolded tensor is made: the seven rows around a row of places are laid side by side once, column after column,
and the windows are overlapping views of that, so that each place is one small matrix product. Rows are taken a few at
a time, which bounds the working memory by `CHUNK_BYTES`, or by one row where that is more. Products are summed in
float32, or in float64 where an argument is; `mix` and `spread` return the map's dtype.

The operators are registered with torch (`segmed::jbu_*`), which lets `torch.compile` and `torch.export` pass them by
unopened. They are written for processors and tested there alone. Under autocast they take what they are given.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from segmed.layers.featup.jbu import RADIUS, SIDE, TAPS

CHUNK_BYTES = 8 * 2**20
MARGIN = 2 * RADIUS


@torch.library.custom_op("segmed::jbu_mix", mutates_args=())
def mix(kernel: Tensor, padded: Tensor) -> Tensor:
    """b h w f*f 49, b h+6 w+6 c -> b f*h f*w c, in the dtype of `padded`."""
    batch, height, width, children, _ = kernel.shape
    channels, factor, total = padded.shape[-1], math.isqrt(children), summed_in(kernel, padded)
    mixed = padded.new_empty(batch, height * factor, width * factor, channels)
    with torch.autocast(padded.device.type, enabled=False):
        for image, rows in chunks(batch, height, (width + MARGIN) * (SIDE + children) * channels, total):
            windows = windows_of(padded[image], rows, total)
            products = torch.bmm(weights_of(kernel[image, rows], total), windows)  # cells f*f c
            children_of(mixed[image], rows, factor).copy_(
                torch.unflatten(without_filler(products, width), 2, (factor, factor))
            )
    return mixed


@torch.library.custom_op("segmed::jbu_match", mutates_args=())
def match(mixed: Tensor, padded: Tensor) -> Tensor:
    """b f*h f*w c, b h+6 w+6 c -> b h w f*f 49, in float32 or float64."""
    batch, height, width, channels = padded.shape
    height, width, total = height - MARGIN, width - MARGIN, summed_in(mixed, padded)
    factor = mixed.shape[1] // height
    kernel = padded.new_empty(batch, height, width, factor**2, TAPS, dtype=total)
    with torch.autocast(padded.device.type, enabled=False):
        for image, rows in chunks(batch, height, (width + MARGIN) * (SIDE + factor**2) * channels, total):
            windows = windows_of(padded[image], rows, total)
            vectors = with_filler(children_of(mixed[image], rows, factor).flatten(2, 3).to(total))  # cells f*f c
            products = without_filler(torch.bmm(vectors, windows.transpose(1, 2)), width)  # n w f*f 49
            kernel[image, rows].copy_(transposed_taps(products))
    return kernel


@torch.library.custom_op("segmed::jbu_spread", mutates_args=())
def spread(kernel: Tensor, mixed: Tensor) -> Tensor:
    """b h w f*f 49, b f*h f*w c -> b h+6 w+6 c, in the dtype of `mixed`."""
    batch, height, width, children, _ = kernel.shape
    channels, factor, total = mixed.shape[-1], math.isqrt(children), summed_in(kernel, mixed)
    padded = mixed.new_zeros(batch, height + MARGIN, width + MARGIN, channels, dtype=total)
    with torch.autocast(mixed.device.type, enabled=False):
        for image, rows in chunks(batch, height, (width + MARGIN) * (TAPS + children) * channels, total):
            vectors = with_filler(children_of(mixed[image], rows, factor).flatten(2, 3).to(total))  # cells f*f c
            windows = torch.bmm(weights_of(kernel[image, rows], total).transpose(1, 2), vectors)  # cells 49 c
            add_windows(padded[image], rows, torch.unflatten(windows, 1, (SIDE, SIDE)))
    return padded.to(mixed.dtype)


def summed_in(*tensors: Tensor) -> torch.dtype:
    """The dtype that kernels and sums of products are in: float64 where an argument is, float32 otherwise."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def chunks(batch: int, height: int, row_elements: int, dtype: torch.dtype) -> Iterator[tuple[int, slice]]:
    """An image's index and a range of rows of places, as many rows as the working memory holds."""
    step = max(1, CHUNK_BYTES // max(1, row_elements * dtype.itemsize))
    for image in range(batch):
        for start in range(0, height, step):
            yield image, slice(start, min(start + step, height))


def windows_of(padded: Tensor, rows: slice, dtype: torch.dtype) -> Tensor:
    """The windows of places as overlapping views, cells 49 c; taps column by column.

    Cells run over the rows' places, with six that belong to no place after every row but the last one.
    """
    count, columns, channels = rows.stop - rows.start, padded.shape[1], padded.shape[2]
    bands = padded[rows.start : rows.stop + MARGIN].unfold(0, SIDE, 1)  # n w+6 c 7, a view
    bands = bands.transpose(2, 3).to(dtype).contiguous()  # n w+6 7 c
    return bands.as_strided((count * columns - MARGIN, TAPS, channels), (SIDE * channels, channels, 1))


def add_windows(padded: Tensor, rows: slice, windows: Tensor) -> None:
    """Add windows, cells 7(columns) 7(rows) c, where `windows_of` would have read them."""
    count, columns, cells = rows.stop - rows.start, padded.shape[1], windows.shape[0]
    bands = windows.new_zeros(count * columns, SIDE, windows.shape[-1])
    for column in range(SIDE):
        bands[column : column + cells] += windows[:, column]
    bands = torch.unflatten(bands, 0, (count, columns))
    for row in range(SIDE):
        padded[rows.start + row : rows.stop + row] += bands[:, :, row]


def children_of(mixed: Tensor, rows: slice, factor: int) -> Tensor:
    """The children of the rows' places as a view of f*h f*w c: n w f f c."""
    taken = mixed[rows.start * factor : rows.stop * factor]
    return torch.unflatten(torch.unflatten(taken, 1, (-1, factor)), 0, (-1, factor)).transpose(1, 2)


def weights_of(kernel: Tensor, dtype: torch.dtype) -> Tensor:
    """Kernels n w f*f 49 in the order of `windows_of`: cells f*f 49."""
    return with_filler(transposed_taps(kernel.to(dtype)))


def transposed_taps(kernel: Tensor) -> Tensor:
    """Taps row by row to taps column by column, or back."""
    return torch.unflatten(kernel, -1, (SIDE, SIDE)).transpose(-1, -2).flatten(-2)


def with_filler(places: Tensor) -> Tensor:
    """n w m k -> cells m k, with six cells of zeros between the rows."""
    return F.pad(places, (0, 0, 0, 0, 0, MARGIN)).flatten(0, 1)[:-MARGIN]


def without_filler(cells: Tensor, width: int) -> Tensor:
    """cells m k -> n w m k, a view that passes by the cells between the rows."""
    count, (_, m, k) = (cells.shape[0] + MARGIN) // (width + MARGIN), cells.shape
    return cells.as_strided((count, width, m, k), ((width + MARGIN) * m * k, m * k, k, 1))


@mix.register_fake
def _(kernel: Tensor, padded: Tensor) -> Tensor:
    batch, height, width, children, _ = kernel.shape
    factor = math.isqrt(children)
    return padded.new_empty(batch, height * factor, width * factor, padded.shape[-1])


@match.register_fake
def _(mixed: Tensor, padded: Tensor) -> Tensor:
    batch, height, width = padded.shape[0], padded.shape[1] - MARGIN, padded.shape[2] - MARGIN
    factor = mixed.shape[1] // height
    return padded.new_empty(batch, height, width, factor**2, TAPS, dtype=summed_in(mixed, padded))


@spread.register_fake
def _(kernel: Tensor, mixed: Tensor) -> Tensor:
    batch, height, width = kernel.shape[:3]
    return mixed.new_empty(batch, height + MARGIN, width + MARGIN, mixed.shape[-1])


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _mix_backward(ctx: Any, mixed: Tensor) -> tuple[Tensor | None, Tensor | None]:
    kernel, padded = ctx.saved_tensors
    for_kernel, for_padded = ctx.needs_input_grad
    return match(mixed, padded).to(kernel.dtype) if for_kernel else None, spread(kernel, mixed) if for_padded else None


def _match_backward(ctx: Any, kernel: Tensor) -> tuple[Tensor | None, Tensor | None]:
    mixed, padded = ctx.saved_tensors
    for_mixed, for_padded = ctx.needs_input_grad
    return mix(kernel, padded).to(mixed.dtype) if for_mixed else None, spread(kernel, mixed) if for_padded else None


def _spread_backward(ctx: Any, padded: Tensor) -> tuple[Tensor | None, Tensor | None]:
    kernel, mixed = ctx.saved_tensors
    for_kernel, for_mixed = ctx.needs_input_grad
    return match(mixed, padded).to(kernel.dtype) if for_kernel else None, mix(kernel, padded) if for_mixed else None


mix.register_autograd(_mix_backward, setup_context=_keep)
match.register_autograd(_match_backward, setup_context=_keep)
spread.register_autograd(_spread_backward, setup_context=_keep)
