"""The other two forms of a `JBUStack`, of the same parameters: as the paper writes it, and in plain operators.

`upsample_as_written` is what the fast form is tested against. `PlainJBU` uses nothing but slices, products and sums,
one tap at a time, and is for exporters that know no operator of ours, ONNX's among them.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from segmed.core.image import Size
from segmed.layers.jbu import FIXUP_SHARE, SIDE, TAPS, JBUStage, reflect_pad
from segmed.layers.jbu_checks import check_guidance, check_source, plan_sizes
from segmed.layers.jbu_stack import JBUStack


def upsample_as_written(
    stack: JBUStack, source: Float[Tensor, "b c h w"], guidance: Float[Tensor, "b 3 H W"], size: Size | None = None
) -> Float[Tensor, "b c p q"]:
    """`JBUStack.forward` stage by stage with every neighbourhood in memory, the projection last."""
    for index, reached in enumerate(plan_sizes((source.shape[2], source.shape[3]), size, stack.stages)):
        pooled = F.adaptive_avg_pool2d(guidance, reached)
        source = stack.stage(index)(source, pooled, renormalise=stack.renormalise)
    return source + FIXUP_SHARE * stack.fixup_proj(source)


class PlainJBU(nn.Module):
    """A stack in plain operators: `forward(source: B C h w, guidance: B 3 H W) -> B C p q`, for a fixed `size`.

    Shares the parameters of `stack`. The guidance should be a whole number of times as large as each stage's result,
    which is what exporters of adaptive pooling ask for.
    """

    def __init__(self, stack: JBUStack, size: Size | None = None) -> None:
        super().__init__()
        self.stack, self.size = stack, size

    def forward(self, source: Float[Tensor, "b c h w"], guidance: Float[Tensor, "b k H W"]) -> Float[Tensor, "b c p q"]:
        """Upsample `source`; the same numbers as the stack's."""
        check_source(source, self.stack.channels)
        source_size = source.shape[2], source.shape[3]
        check_guidance(guidance, source_size)
        for index, reached in enumerate(plan_sizes(source_size, self.size, self.stack.stages)):
            pooled = F.adaptive_avg_pool2d(guidance, reached)
            kernel = plain_kernel(self.stack.stage(index), pooled, self.stack.renormalise)
            upsampled = shifts(F.interpolate(source, reached, mode="bicubic", align_corners=False))
            source = kernel[:, :1] * upsampled[0]
            for tap in range(1, TAPS):
                source = source + kernel[:, tap : tap + 1] * upsampled[tap]
        return source + FIXUP_SHARE * self.stack.fixup_proj(source)


def plain_kernel(stage: JBUStage, guidance: Float[Tensor, "b 3 H W"], renormalise: bool) -> Float[Tensor, "b 49 H W"]:
    """`JBUStage.kernel` one tap at a time."""
    key = stage.range_proj(guidance)
    similarity = torch.cat([(key * shifted).sum(1, keepdim=True) for shifted in shifts(key)], 1)
    return stage.kernel_from(similarity, guidance, renormalise=renormalise)


def shifts(image: Float[Tensor, "b c H W"]) -> list[Tensor]:
    """The 49 neighbours of every pixel as views of one padded map, row by row."""
    height, width = image.shape[-2:]
    padded = reflect_pad(image, rows=2, columns=3)
    return [padded[:, :, r : r + height, s : s + width] for r in range(SIDE) for s in range(SIDE)]
