"""Upsample feature maps guided by an image, inside a network: FeatUp's JBU, and the controls it has to beat.

Kinds by name:

- `jbu`: joint bilateral upsampling (see `jbu`);
- `jbu-constant`: the same module with guidance that is zero everywhere, so one learned kernel per stage: what the
  extra parameters and the smooth window are worth without the image;
- `bilinear-control`: bilinear upsampling, each pixel then scaled by a gain that as many parameters compute from the
  image: what parameters that see the image are worth without a kernel.

All three have the same number of parameters, stage by stage and stack by stack. Guidance passes through one module,
`Guidance`, whatever the kind; a filter on it goes in front of that module.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from segmed.core.image import Size
from segmed.layers.featup.checks import check_finite, check_guidance, plan_sizes
from segmed.layers.featup.fast import stage_kernel, upsample_map
from segmed.layers.featup.jbu import FIXUP_SHARE, GUIDANCE_CHANNELS, JBUStage
from segmed.layers.featup.stack import JBUStack, Kernels, in_autocast_dtype
from segmed.layers.featup.windows import summed_in

GuidedKind = Literal["jbu", "jbu-constant", "bilinear-control"]
Upsampler = Literal["interpolate", GuidedKind]
"""How a decoder upsamples its maps: as its architecture does, or by a kind."""
KINDS: tuple[GuidedKind, ...] = ("jbu", "jbu-constant", "bilinear-control")
GAIN_HIDDEN = 76
"""Hidden units of a control's gain: 3 -> 76 -> 76 -> 1 has the 6,233 parameters of a JBU stage."""


class Guidance(nn.Module):
    """The preprocessed image as the three channels of JBU's guidance.

    Three channels pass as they are and one is repeated; any other number is mixed by a learned 1x1 convolution.
    With `constant` the result is zero everywhere.
    """

    def __init__(self, channels: int, *, constant: bool = False) -> None:
        super().__init__()
        self.constant = constant
        self.mix = None if channels in (1, GUIDANCE_CHANNELS) else nn.Conv2d(channels, GUIDANCE_CHANNELS, 1)

    def forward(self, image: Float[Tensor, "b k H W"]) -> Float[Tensor, "b 3 H W"]:
        """The guidance of images."""
        guidance = image if self.mix is None else self._mixed(image)
        guidance = guidance.expand(-1, GUIDANCE_CHANNELS, -1, -1)
        return torch.zeros_like(guidance) if self.constant else guidance

    def _mixed(self, image: Float[Tensor, "b k H W"]) -> Float[Tensor, "b 3 H W"]:
        assert self.mix is not None
        with torch.autocast(image.device.type, enabled=False):
            mixed: Tensor = self.mix(image.to(summed_in(image, self.mix.weight)))
            return mixed


class JBUUpsample(nn.Module):
    """One JBU stage whose kernels are made apart from their use, for maps of any number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = JBUStage()

    def kernel(self, guidance: Float[Tensor, "b 3 H W"], source_size: Size, size: Size) -> Tensor:
        """Kernels that upsample maps of `source_size` to `size`, for `forward`; in float32, or float64."""
        check_guidance(guidance, source_size)
        with torch.autocast(guidance.device.type, enabled=False):
            image = F.adaptive_avg_pool2d(guidance.to(summed_in(guidance, self.stage.range_temp)), size)
            check_finite(image, "guidance")
            doubles = size == (2 * source_size[0], 2 * source_size[1])
            return stage_kernel(self.stage, image, doubles=doubles, renormalise=True)

    def forward(self, source: Float[Tensor, "b c h w"], kernel: Tensor, size: Size) -> Float[Tensor, "b c p q"]:
        """Upsample a map to `size` by its image's kernels; channels last in memory."""
        check_finite(source, "features")
        features = in_autocast_dtype(source).movedim(1, -1)
        with torch.autocast(source.device.type, enabled=False):
            return upsample_map(features, kernel, size).movedim(-1, 1)


class BilinearUpsample(nn.Module):
    """The control of one stage: bilinear, times a gain per pixel that starts at 1; 6,233 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Sequential(
            nn.Conv2d(GUIDANCE_CHANNELS, GAIN_HIDDEN, 1), nn.GELU(),
            nn.Conv2d(GAIN_HIDDEN, GAIN_HIDDEN, 1), nn.GELU(),
            nn.Conv2d(GAIN_HIDDEN, 1, 1),
        )  # fmt: skip
        for parameter in self.gain[-1].parameters():
            nn.init.zeros_(parameter)

    def kernel(self, guidance: Float[Tensor, "b 3 H W"], source_size: Size, size: Size) -> Float[Tensor, "b 1 p q"]:
        """The gains at `size`; in float32, or float64, as JBU's kernels."""
        check_guidance(guidance, source_size)
        last = self.gain[-1].weight
        assert isinstance(last, Tensor)
        with torch.autocast(guidance.device.type, enabled=False):  # gains near 1 would be lost in bf16
            image = F.adaptive_avg_pool2d(guidance.to(summed_in(guidance, last)), size)
            check_finite(image, "guidance")
            gain: Tensor = 1 + self.gain(image)
            return gain

    def forward(
        self, source: Float[Tensor, "b c h w"], kernel: Float[Tensor, "b 1 p q"], size: Size
    ) -> Float[Tensor, "b c p q"]:
        """Upsample a map to `size` and scale its pixels."""
        upsampled = F.interpolate(in_autocast_dtype(source), size, mode="bilinear", align_corners=False)
        return (upsampled * kernel).to(upsampled.dtype)


class BilinearStack(nn.Module):
    """The control of a `JBUStack`, with its methods and number of parameters."""

    def __init__(self, channels: int, stages: int) -> None:
        super().__init__()
        self.channels, self.stages = channels, stages
        self.upsamplers = nn.ModuleList(BilinearUpsample() for _ in range(stages))
        self.fixup_proj = nn.Sequential(nn.Dropout2d(0.2), nn.Conv2d(channels, channels, 1))

    def kernels(self, guidance: Float[Tensor, "b 3 H W"], source_size: Size, size: Size | None = None) -> Kernels:
        """The gains of every stage."""
        sizes = plan_sizes(source_size, size, self.stages)
        before = (source_size, *sizes)
        gains = tuple(self._upsampler(i).kernel(guidance, before[i], after) for i, after in enumerate(sizes))
        return Kernels(source_size, guidance.shape[0], sizes, gains)

    def upsample(self, source: Float[Tensor, "b c h w"], kernels: Kernels) -> Float[Tensor, "b c p q"]:
        """Upsample `source` by gains of its image; the projection comes first, as in `JBUStack`."""
        check_finite(source, "features")
        features: Tensor = source + FIXUP_SHARE * self.fixup_proj(source)
        for index, (gain, size) in enumerate(zip(kernels.stages, kernels.sizes, strict=True)):
            features = self._upsampler(index)(features, gain, size)
        return features

    def _upsampler(self, index: int) -> BilinearUpsample:
        stage = self.upsamplers[index]
        assert isinstance(stage, BilinearUpsample)
        return stage


class GuidedUpsampler(nn.Module):
    """A stack of any kind with its guidance: features and the preprocessed image in, upsampled features out."""

    def __init__(self, kind: GuidedKind, channels: int, stages: int, *, image_channels: int = 3) -> None:
        super().__init__()
        self.kind = kind
        self.guidance = Guidance(image_channels, constant=kind == "jbu-constant")
        control = kind == "bilinear-control"
        self.stack = BilinearStack(channels, stages) if control else JBUStack(channels, stages)

    def kernels(self, image: Float[Tensor, "b k H W"], source_size: Size, size: Size | None = None) -> Kernels:
        """What upsampling takes from the image: once per image, for any number of maps."""
        return self.stack.kernels(self.guidance(image), source_size, size)

    def upsample(self, source: Float[Tensor, "b c h w"], kernels: Kernels) -> Float[Tensor, "b c p q"]:
        """Upsample a map by its image's kernels."""
        return self.stack.upsample(source, kernels)

    def forward(
        self, source: Float[Tensor, "b c h w"], image: Float[Tensor, "b k H W"], size: Size | None = None
    ) -> Float[Tensor, "b c p q"]:
        """Upsample `source` to `size`, or 2^stages times."""
        return self.upsample(source, self.kernels(image, (source.shape[2], source.shape[3]), size))


def build_upsample(kind: GuidedKind) -> JBUUpsample | BilinearUpsample:
    """One stage of a kind."""
    return BilinearUpsample() if kind == "bilinear-control" else JBUUpsample()
