"""Decoders of the U-Net family that upsample their maps by the image: FeatUp's JBU in the place of interpolation.

Works for `unet` and `unetplusplus` of segmentation_models_pytorch, whose decoders double a map by interpolation before
every block. Others upsample by transposed convolutions, by bilinear steps between heads, or inside blocks whose
attention reads the upsampled map, and are refused.

Every scale has one stage (6,233 parameters), guided by the image averaged down to that scale; its kernels are made
once per image and serve every block of the scale.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmed.core.errors import ModelError
from segmed.core.image import Size
from segmed.layers.featup import BilinearUpsample, Guidance, GuidedKind, JBUUpsample, build_upsample

GUIDED = ("unet", "unetplusplus")
"""Architectures whose decoder can be guided."""


def guide_decoder(model: nn.Module, name: str, kind: GuidedKind, channels: int) -> None:
    """Put a guided decoder in the place of the model's own, in place.

    Raises `ModelError` for an architecture, or an encoder, that it does not work for.
    """
    if name not in GUIDED:
        raise ModelError(
            f"upsampler {kind} works in the decoders of {' and '.join(GUIDED)}, not in that of {name}. "
            "Use one of these, or --upsampler interpolate."
        )
    if cast(Any, model).encoder.out_channels[0] != channels:
        raise ModelError(f"upsampler {kind} needs an encoder that hands the image on; this one does not. Use resnet18.")
    decoder = cast(nn.Module, model.decoder)
    model.decoder = (GuidedUnet if name == "unet" else GuidedUnetPlusPlus)(decoder, kind, channels)


class GuidedDecoder(nn.Module):
    """What both decoders share: the decoder whose blocks they run, one stage per scale, and the guidance."""

    def __init__(self, decoder: nn.Module, kind: GuidedKind, channels: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.guidance = Guidance(channels, constant=kind == "jbu-constant")
        self.upsamplers = nn.ModuleList(build_upsample(kind) for _ in range(self._scales()))

    def _scales(self) -> int:
        raise NotImplementedError

    def upsampled(self, level: int) -> JBUUpsample | BilinearUpsample:
        """The stage that upsamples to `level`, the coarsest first."""
        return cast("JBUUpsample | BilinearUpsample", self.upsamplers[level])

    def kernels(self, features: Sequence[Float[Tensor, "b _c _h _w"]]) -> list[Tensor]:
        """The kernels of every scale; `features` are the encoder's, the image first, each half as large."""
        guidance = self.guidance(features[0])
        sizes = _sizes(features)
        return [self.upsampled(i).kernel(guidance, sizes[i], sizes[i + 1]) for i in range(len(self.upsamplers))]


class GuidedUnet(GuidedDecoder):
    """A U-Net's decoder."""

    def _scales(self) -> int:
        return len(cast(Any, self.decoder).blocks)

    def forward(self, features: Sequence[Float[Tensor, "b _c _h _w"]]) -> Float[Tensor, "b c h w"]:
        """The decoded map at the image's size; a block's own interpolation finds nothing left to do."""
        decoder, kernels, sizes = cast(Any, self.decoder), self.kernels(features), _sizes(features)
        skips = [*features[-2:0:-1], None]
        x: Tensor = decoder.center(features[-1])
        for level, block in enumerate(decoder.blocks):
            size = sizes[level + 1]
            x = self.upsampled(level)(x, kernels[level], size)
            x = block(x, *size, skip_connection=skips[level])
        return x


class GuidedUnetPlusPlus(GuidedDecoder):
    """A U-Net++'s decoder: node (d, l) upsamples node (d, l - 1) to level l and joins that level's nodes before it.

    Zhou et al., UNet++, DLMIA 2018, eq. 1, with the blocks of segmentation_models_pytorch.
    """

    def _scales(self) -> int:
        return int(cast(Any, self.decoder).depth) + 1

    def forward(self, features: Sequence[Float[Tensor, "b _c _h _w"]]) -> Float[Tensor, "b c h w"]:
        """The decoded map at the image's size."""
        decoder, kernels, sizes = cast(Any, self.decoder), self.kernels(features), _sizes(features)
        coarse_first = [*features[:0:-1]]
        depth = int(decoder.depth)
        nodes: dict[tuple[int, int], Tensor] = {}

        def node(first: int, level: int, below: Tensor, joined: Sequence[Tensor]) -> Tensor:
            upsampled = self.upsampled(level)(below, kernels[level], sizes[level + 1])
            return run_block(decoder.blocks[f"x_{first}_{level}"], upsampled, joined)

        for level in range(depth):
            skip = coarse_first[level + 1]
            for first in range(level, -1, -1):
                below = coarse_first[level] if first == level else nodes[first, level - 1]
                joined = [nodes[other, level] for other in range(first + 1, level + 1)]
                nodes[first, level] = node(first, level, below, [*joined, skip])
        return node(0, depth, nodes[0, depth - 1], [])


def run_block(block: Any, upsampled: Float[Tensor, "b _c h w"], joined: Sequence[Tensor]) -> Float[Tensor, "b _k h w"]:
    """A block of U-Net++ on a map that is upsampled already."""
    if block.is_empty:
        return upsampled.new_empty(upsampled.shape[0], 0, *upsampled.shape[2:])
    x = block.attention1(torch.cat([upsampled, *joined], 1)) if joined else upsampled
    finished: Tensor = block.attention2(block.conv2(block.conv1(x)))
    return finished


def _sizes(features: Sequence[Tensor]) -> list[Size]:
    """Heights and widths of the encoder's maps, the coarsest first."""
    return [(each.shape[2], each.shape[3]) for each in reversed(features)]
