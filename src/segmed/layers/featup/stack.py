"""FeatUp's stack of joint bilateral upsamplers: features upsampled 2, 4, 8, 16 times, or to any size, by an image.

Source: see `jbu`. The parameters have FeatUp's key names (`up1.range_temp` .. `fixup_proj.1.bias`), so that its
published weights load: `load_published`.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from segmed.core.errors import ConfigError
from segmed.core.image import Size
from segmed.layers.featup.checks import check_finite, check_guidance, check_match, check_source, plan_sizes
from segmed.layers.featup.fast import stage_kernel, upsample_map
from segmed.layers.featup.jbu import FIXUP_SHARE, JBUStage
from segmed.layers.featup.windows import summed_in


@dataclass(frozen=True)
class Kernels:
    """All that upsampling a map takes from the image: made once per image, used for any number of feature maps.

    Tensors and sizes only, so it can be kept in memory or saved; `to(torch.bfloat16)` halves it.
    """

    source_size: Size
    """(height, width) of the features that these kernels are for."""
    batch: int
    """How many images they come from."""
    sizes: tuple[Size, ...]
    """The size that each stage upsamples to; the last one is the size of the result."""
    stages: tuple[Tensor, ...]
    """One tensor per stage, as `fast.stage_kernel` makes it."""

    @property
    def size(self) -> Size:
        """(height, width) of the result."""
        return self.sizes[-1] if self.sizes else self.source_size

    def to(self, *where: Any) -> "Kernels":
        """The same on another device or in another dtype, as `Tensor.to` takes them. Sums stay in float32."""
        return replace(self, stages=tuple(stage.to(*where) for stage in self.stages))

    def detach(self) -> "Kernels":
        """The same without the way back to the guidance and the parameters."""
        return replace(self, stages=tuple(stage.detach() for stage in self.stages))


class JBUStack(nn.Module):
    """Upsample feature maps by an image: `forward(source: B C h w, guidance: B 3 H W) -> B C 2^stages*h 2^stages*w`.

    With `renormalise` (the default, for new training) every kernel sums to one and constants stay constant. FeatUp's
    own weights were trained without it, which `load_published` sets.

    The kernels, and the sums over their taps, are in float32 also under autocast (float64 if anything is); the
    features keep their dtype, or take autocast's. The last 1x1 projection is taken on the small map: it commutes with
    the upsampling, as all channels share a kernel. Only its bias is added at the end.

    Raises `ModelError` for input that does not fit: see `checks`. Values are checked for nan and infinity in eager
    mode, where that is cheap: on the small features and on the guidance after pooling.

    Example:
        >>> stack = JBUStack(channels=8, stages=2).eval()
        >>> features, image = torch.randn(1, 8, 5, 7), torch.randn(1, 3, 40, 56)
        >>> stack(features, image).shape
        torch.Size([1, 8, 20, 28])
        >>> kernels = stack.kernels(image, (5, 7))  # once per image
        >>> stack.upsample(features, kernels).shape
        torch.Size([1, 8, 20, 28])
    """

    def __init__(self, channels: int, stages: int = 4, *, renormalise: bool = True) -> None:
        super().__init__()
        if channels < 1 or stages < 1:
            raise ConfigError(f"JBUStack({channels}, {stages}): channels and stages must be at least 1.")
        self.channels, self.stages, self.renormalise = channels, stages, renormalise
        for number in range(1, stages + 1):
            self.add_module(f"up{number}", JBUStage())
        self.fixup_proj = nn.Sequential(nn.Dropout2d(0.2), nn.Conv2d(channels, channels, 1))

    def stage(self, index: int) -> JBUStage:
        """The stage that runs as number `index`, counted from 0."""
        return cast(JBUStage, getattr(self, f"up{index + 1}"))

    def forward(
        self, source: Float[Tensor, "b c h w"], guidance: Float[Tensor, "g k H W"], size: Size | None = None
    ) -> Float[Tensor, "b c p q"]:
        """Upsample `source` to `size`, or 2^stages times. `guidance` has three channels and, as a rule, the encoder's
        own scaling; its size is free from that of the features upwards. One image may serve a whole batch."""
        check_source(source, self.channels)
        kernels = self.kernels(guidance, (source.shape[2], source.shape[3]), size)
        return self.upsample(source, kernels)

    def kernels(self, guidance: Float[Tensor, "g k H W"], source_size: Size, size: Size | None = None) -> Kernels:
        """The kernels that upsample features of `source_size` to `size` (2^stages times if None), for `upsample`.

        `size` may be any from `source_size` to 2^stages times that: the stages double the map until the target is
        nearer than that, and the rest is not run. Every stage is guided by the image averaged down to its own size.
        """
        check_guidance(guidance, source_size)
        sizes = plan_sizes(source_size, size, self.stages)
        image = guidance.to(summed_in(guidance, self.stage(0).range_temp))
        stages = []
        before = source_size
        with torch.autocast(guidance.device.type, enabled=False):
            for index, after in enumerate(sizes):
                pooled = F.adaptive_avg_pool2d(image, after)
                doubles = after == (2 * before[0], 2 * before[1])
                if after == sizes[-1]:
                    check_finite(pooled, "guidance")  # an average shows what any of its pixels holds
                stages.append(stage_kernel(self.stage(index), pooled, doubles=doubles, renormalise=self.renormalise))
                before = after
        return Kernels(source_size, guidance.shape[0], sizes, tuple(stages))

    def upsample(self, source: Float[Tensor, "b c h w"], kernels: Kernels) -> Float[Tensor, "b c p q"]:
        """Upsample `source` by kernels of its image. The result has its channels last in memory (`channels_last`)."""
        check_source(source, self.channels)
        check_match(source, kernels.source_size, kernels.batch)
        check_finite(source, "features")
        features = in_autocast_dtype(source).movedim(1, -1)  # b h w c
        projection = cast(nn.Conv2d, self.fixup_proj[1])
        with torch.autocast(source.device.type, enabled=False):
            dropped = self.fixup_proj[0](features.movedim(-1, 1)).movedim(1, -1)
            features = features + FIXUP_SHARE * F.linear(dropped, projection.weight.flatten(1).to(features.dtype))
            for kernel, size in zip(kernels.stages, kernels.sizes, strict=True):
                features = upsample_map(features, kernel.expand(source.shape[0], *kernel.shape[1:]), size)
            if projection.bias is not None:
                features.add_(FIXUP_SHARE * projection.bias.to(features.dtype))  # in place: as large as the result
        return features.movedim(-1, 1)


def in_autocast_dtype(source: Tensor) -> Tensor:
    """`source` as autocast would hand it to a convolution; as it is outside autocast, and in float64."""
    device = source.device.type
    if not torch.is_autocast_enabled(device) or source.dtype == torch.float64:
        return source
    return source.to(torch.get_autocast_dtype(device))
