"""One 2x stage of FeatUp's joint bilateral upsampler, in the form that reads like the paper.

Source: Fu et al., "FeatUp: A Model-Agnostic Framework for Features at Any Resolution", ICLR 2024, sec. 3.2; the
parameters have the names, shapes and initial values of mhamilton723/FeatUp@6b5a6c0 `featup/upsamplers.py` (MIT).

This form keeps every neighbourhood in memory and is here to be read and to be tested against. `JBUStack` runs the
fast form (`fast`), which gives the same numbers.

Differs from the reference:
- no compiled operator, so every one of the 49 taps gets its gradient;
- reflection goes on past the far border where a map is smaller than the window (the reference cannot run there);
- `renormalise` may centre the fix-up, so that the 49 weights go on summing to one (the reference lets them drift).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

RADIUS = 3
SIDE = 2 * RADIUS + 1
TAPS = SIDE * SIDE
GUIDANCE_CHANNELS = 3
KEY_CHANNELS = 32
FIXUP_SHARE = 0.1
"""The weight of both fix-ups: that of a stage's kernel and that of the stack's channels."""


class JBUStage(nn.Module):
    """Kernels of 7 x 7 taps from guidance, used on a map upsampled to the guidance's size; 6,233 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.range_temp = nn.Parameter(torch.tensor(0.0))
        self.range_proj = pointwise_mlp(GUIDANCE_CHANNELS, KEY_CHANNELS)
        self.fixup_proj = pointwise_mlp(TAPS + GUIDANCE_CHANNELS, TAPS)
        self.sigma_spatial = nn.Parameter(torch.tensor(1.0))

    def kernel(self, guidance: Float[Tensor, "b 3 H W"], *, renormalise: bool = False) -> Float[Tensor, "b 49 H W"]:
        """The weights of the 49 neighbours of every pixel, row by row."""
        key = self.range_proj(guidance)  # b 32 H W
        similarity = (neighbourhoods(key) * key.unsqueeze(2)).sum(1)  # b 49 H W
        return self.kernel_from(similarity, guidance, renormalise=renormalise)

    def kernel_from(
        self, similarity: Float[Tensor, "b 49 H W"], guidance: Float[Tensor, "b 3 H W"], *, renormalise: bool
    ) -> Float[Tensor, "b 49 H W"]:
        """The same from the products of keys on."""
        return kernel_from(self, similarity, guidance, self.fixup_proj, axis=1, renormalise=renormalise)

    def forward(
        self, source: Float[Tensor, "b c h w"], guidance: Float[Tensor, "b 3 H W"], *, renormalise: bool = False
    ) -> Float[Tensor, "b c H W"]:
        """Upsample `source` to the size of `guidance`, which is already at the size of the result."""
        kernel = self.kernel(guidance, renormalise=renormalise)
        upsampled = F.interpolate(source, guidance.shape[-2:], mode="bicubic", align_corners=False)  # b c H W
        return (kernel.unsqueeze(1) * neighbourhoods(upsampled)).sum(2)


def kernel_from(
    stage: JBUStage,
    similarity: Tensor,
    guidance: Tensor,
    fixup: Callable[[Tensor], Tensor],
    *,
    axis: int,
    renormalise: bool,
) -> Tensor:
    """A stage's kernels from the products of its keys.

    Args:
        stage: Whose temperature and spatial deviation are used, in the dtype of `similarity`.
        similarity: The products of a pixel's key with those of its 49 neighbours, along `axis`.
        guidance: The image at the same pixels, its channels along `axis`.
        fixup: The stage's `fixup_proj`, in the layout of `axis`.
        axis: The axis of taps and channels: 1, or -1 where channels come last.
        renormalise: Whether the fix-up's mean is taken away, so that it adds no weight.

    Returns:
        The kernels, in the shape of `similarity`.
    """
    dtype = similarity.dtype
    gaussian = spatial_gaussian(stage.sigma_spatial.to(dtype))
    range_kernel = (temperature(stage).to(dtype) * similarity).softmax(axis)
    kernel = range_kernel * (gaussian if axis == -1 else gaussian.view(1, TAPS, 1, 1))
    kernel = kernel / kernel.sum(axis, keepdim=True).clamp(min=1e-7)
    change = fixup(torch.cat([kernel, guidance], axis))
    if renormalise:
        change = change - change.mean(axis, keepdim=True)  # moves weight between taps, adds none
    return kernel + FIXUP_SHARE * change


def pointwise_mlp(inputs: int, outputs: int) -> nn.Sequential:
    """Two 1x1 convolutions with GELU between them and whole channels dropped out, one tenth of them."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.GELU(), nn.Dropout2d(0.1), nn.Conv2d(outputs, outputs, 1))


def temperature(stage: JBUStage) -> Float[Tensor, ""]:
    """The factor on the range logits, from 1e-4 to 1e4; 1 at the start."""
    return stage.range_temp.exp().clamp(1e-4, 1e4)


def spatial_gaussian(sigma: Float[Tensor, ""]) -> Float[Tensor, "49"]:
    """A Gaussian over the window, whose half width is 1; centre 1, corners exp(-1 / sigma^2)."""
    offset = torch.linspace(-1, 1, SIDE, dtype=sigma.dtype, device=sigma.device)
    squared_distance = offset.square().unsqueeze(1) + offset.square()  # 7 7
    return (-squared_distance / (2 * sigma.square())).exp().flatten()


def neighbourhoods(image: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c 49 H W"]:
    """The 7 x 7 neighbours of every pixel, row by row, reflected at the borders."""
    height, width = image.shape[-2:]
    padded = reflect_pad(image, rows=2, columns=3)
    shifted = [padded[:, :, r : r + height, s : s + width] for r in range(SIDE) for s in range(SIDE)]
    return torch.stack(shifted, 2)


def reflect_pad(image: Tensor, *, rows: int, columns: int) -> Tensor:
    """Three more pixels on all sides; `rows` and `columns` name the axes. Equal to torch's reflection where it is
    defined, which is from four pixels on."""
    rows_read = reflected(image.shape[rows], image.device)
    columns_read = reflected(image.shape[columns], image.device)
    return image.index_select(rows, rows_read).index_select(columns, columns_read)


def reflected(length: int, device: torch.device) -> Int[Tensor, " padded"]:
    """Where -3 .. length+2 read from when the borders are mirrors, the border pixel itself not repeated.

    With fewer than four pixels the light goes to and fro between both mirrors (numpy's `reflect`); a single pixel is
    its own neighbour everywhere.
    """
    position = torch.arange(-RADIUS, length + RADIUS, device=device)
    period = max(2 * (length - 1), 1)
    position = position.remainder(period)
    return torch.minimum(position, period - position)
