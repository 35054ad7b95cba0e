"""The fast form of a JBU stage: kernels from guidance, composed with the bicubic upsampling, used on the small map.

A stage of the paper upsamples the map by bicubic interpolation and then takes a 7 x 7 kernel at every new pixel. Both
are linear in the map, so they are one kernel on the small map; and as the four children of a small pixel read from the
same 7 x 7 small pixels, borders included, one window serves all four. Channels come last throughout.
"""

from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from segmed.layers.featup.jbu import (
    RADIUS,
    SIDE,
    JBUStage,
    kernel_from,
    reflect_pad,
    reflected,
)
from segmed.layers.featup.windows import match, mix

CHUNK_PIXELS = 2**14
"""Kernels are made for about this many pixels at a time, which bounds what is held beside the kernels themselves."""
CUBIC = -0.75
"""The free constant of cubic convolution, as torch has it (Keys 1981 has -0.5)."""


def stage_kernel(
    stage: JBUStage, guidance: Float[Tensor, "b 3 H W"], *, doubles: bool, renormalise: bool
) -> Float[Tensor, "b h w children 49"]:
    """The kernels of one stage for `upsample_map`: on the small map where the stage `doubles` it (h = H / 2, four
    children), on the upsampled map otherwise (h = H, one child). In the dtype of `guidance`."""
    height, width = guidance.shape[-2:]
    image = guidance.movedim(1, -1)
    key = pointwise(stage.range_proj, image)  # b H W 32
    padded_key = reflect_pad(key, rows=1, columns=2)
    bicubic_rows = doubling_windows(height // 2, key) if doubles else None
    bicubic_columns = doubling_windows(width // 2, key) if doubles else None
    fixup = partial(pointwise, stage.fixup_proj)
    parts = []
    for rows in row_chunks(stage, guidance):
        similarity = match(key[:, rows], padded_key[:, rows.start : rows.stop + 2 * RADIUS]).squeeze(3)
        kernel = kernel_from(stage, similarity, image[:, rows], fixup, axis=-1, renormalise=renormalise)  # b n W 49
        if bicubic_rows is None or bicubic_columns is None:
            parts.append(kernel.unsqueeze(3))
        else:
            parts.append(compose(kernel, bicubic_rows[rows], bicubic_columns))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def upsample_map(
    source: Float[Tensor, "b h w c"], kernel: Float[Tensor, "b p q children 49"], size: tuple[int, int]
) -> Float[Tensor, "b H W c"]:
    """Upsample a map to `size` by kernels of `stage_kernel`."""
    if kernel.shape[3] == 1:
        source = F.interpolate(source.movedim(-1, 1), size, mode="bicubic", align_corners=False).movedim(1, -1)
        return mix(kernel, reflect_pad(source, rows=1, columns=2))
    return mix(kernel, F.pad(source, (0, 0, RADIUS, RADIUS, RADIUS, RADIUS)))  # taps outside weigh nothing


def pointwise(layers: nn.Sequential, image: Float[Tensor, "b n W i"]) -> Float[Tensor, "b n W o"]:
    """`jbu.pointwise_mlp` with channels last, in the dtype of `image` whatever that of the parameters."""
    first, gelu, dropout, last = layers
    hidden = gelu(linear(first, image))
    hidden = dropout(hidden.movedim(-1, 1)).movedim(1, -1)
    return linear(last, hidden)


def linear(layer: nn.Module, image: Float[Tensor, "b n W i"]) -> Float[Tensor, "b n W o"]:
    """A 1x1 convolution with channels last."""
    weight, bias = cast(Tensor, layer.weight), cast(Tensor, layer.bias)
    return F.linear(image, weight.flatten(1).to(image.dtype), bias.to(image.dtype))


def row_chunks(stage: JBUStage, guidance: Float[Tensor, "b 3 H W"]) -> Iterator[slice]:
    """Even numbers of rows of about `CHUNK_PIXELS` pixels in all. All rows at once while training, where dropout must
    drop the same channels everywhere and the backward pass keeps everything anyway."""
    batch, _, height, width = guidance.shape
    step = height if stage.training else max(2, CHUNK_PIXELS // (batch * width) // 2 * 2)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def compose(
    kernel: Float[Tensor, "b n W 49"], rows: Float[Tensor, "n 7 7"], columns: Float[Tensor, "W 7 7"]
) -> Float[Tensor, "b m w 4 49"]:
    """Kernels on the upsampled map to kernels on the small map, four for every small pixel (m = n / 2, w = W / 2)."""
    kernel = torch.unflatten(kernel, -1, (SIDE, SIDE))
    kernel = torch.einsum("bywpq,wqs->bywps", kernel, columns)
    kernel = torch.einsum("bywps,ypr->bywrs", kernel, rows)
    kernel = torch.unflatten(torch.unflatten(kernel, 2, (-1, 2)), 1, (-1, 2))  # b m 2 w 2 7 7
    return kernel.transpose(2, 3).flatten(5, 6).flatten(3, 4)


def doubling_windows(length: int, like: Tensor) -> Float[Tensor, "upsampled 7 7"]:
    """How the seven neighbours of each upsampled pixel depend on the seven small pixels around its parent (one axis).

    Entry y, p, r: the bicubic weight of small pixel y // 2 - 3 + r in the upsampled pixel that neighbour p of y reads,
    after reflection. All small pixels that any neighbour needs lie in this window: reflection and clamping only ever
    bring a pixel nearer to y.
    """
    upsampled = torch.arange(2 * length, device=like.device).unsqueeze(1)  # 2l 1
    neighbour = reflected(2 * length, like.device).unfold(0, SIDE, 1)  # 2l 7
    odd = neighbour % 2
    first = neighbour // 2 - 2 + odd
    taps = first.unsqueeze(-1) + torch.arange(4, device=like.device)  # 2l 7 4
    window = taps.clamp(0, length - 1) - (upsampled // 2 - RADIUS).unsqueeze(-1)
    near = cubic_weights(0.25, like)
    weights = torch.where(odd.unsqueeze(-1) == 1, near, near.flip(0))
    return like.new_zeros(2 * length, SIDE, SIDE).scatter_add(2, window, weights)


def cubic_weights(fraction: float, like: Tensor) -> Float[Tensor, "4"]:
    """Cubic convolution's weights of the pixels at -1, 0, 1 and 2, read at `fraction` between 0 and 1."""

    def inner(x: float) -> float:
        return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1

    def outer(x: float) -> float:
        return ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC

    return like.new_tensor([outer(1 + fraction), inner(fraction), inner(1 - fraction), outer(2 - fraction)])
