"""Names of encoders' tensors: timm's, torchvision's, smp's and EfficientNet-PyTorch's, brought to an encoder's own.

smp wraps timm's models (`tu-…`) as `model.`; its own EfficientNets have the names of EfficientNet-PyTorch, where blocks
are counted through, while timm counts them by stage.
"""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

Tensors = dict[str, Tensor]
Naming = Callable[[Tensors, Mapping[str, Tensor]], Tensors]
"""Renames a file's tensors for an encoder whose state is the second argument."""

HEADS = (
    "fc.", "classifier.", "head.", "last_linear.", "_fc.", "_conv_head.", "_bn1.", "conv_head.", "bn2.",
    "decoder.", "segmentation_head.", "classification_head.",
)  # fmt: skip
"""What state dicts hold beyond the encoder: classifiers, EfficientNet's last convolution, decoders of whole models."""

UNUSED = ("_conv_head.", "_bn1.")
"""What smp's own EfficientNets carry and no decoder reads, so that a file need not have it."""

BLOCK = re.compile(r"_blocks\.(\d+)\.(.+)")
STAGED = re.compile(r"(?:model\.)?blocks\.(\d+)\.(\d+)\.")
STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
WITHOUT_EXPANSION = {
    "_depthwise_conv": "conv_dw", "_bn1": "bn1", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pw", "_bn2": "bn2",
}  # fmt: skip
WITH_EXPANSION = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand", "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip


def is_beyond_encoder(name: str) -> bool:
    """Whether a tensor of this name belongs to a head or a decoder, which an encoder does not have."""
    return name.removeprefix("model.").startswith(HEADS)


def _same(tensors: Tensors, own: Mapping[str, Tensor]) -> Tensors:
    return tensors


def _wrapped(tensors: Tensors, own: Mapping[str, Tensor]) -> Tensors:
    """timm's names in smp's wrapper."""
    return {f"model.{name}": each for name, each in tensors.items()}


def _unwrapped(tensors: Tensors, own: Mapping[str, Tensor]) -> Tensors:
    """smp's wrapper taken off."""
    return {name.removeprefix("model."): each for name, each in tensors.items()}


def _from_efficientnet_pytorch(tensors: Tensors, own: Mapping[str, Tensor]) -> Tensors:
    """EfficientNet-PyTorch's names as timm's, in smp's wrapper where the encoder has it."""
    stages = sorted({(int(found[1]), int(found[2])) for name in own if (found := STAGED.match(name))})
    expanded = {found[1] for name in tensors if (found := BLOCK.match(name)) and found[2].startswith("_expand_conv.")}
    renamed = {}
    for name, each in tensors.items():
        block = BLOCK.match(name)
        if block is None:
            renamed[_part_renamed(name, STEM)] = each
        elif int(block[1]) < len(stages):
            stage, index = stages[int(block[1])]
            parts = WITH_EXPANSION if block[1] in expanded else WITHOUT_EXPANSION
            renamed[f"blocks.{stage}.{index}.{_part_renamed(block[2], parts)}"] = each
        else:
            renamed[name] = each  # a block that the encoder does not have
    return _wrapped(renamed, own) if any(name.startswith("model.") for name in own) else renamed


def _to_efficientnet_pytorch(tensors: Tensors, own: Mapping[str, Tensor]) -> Tensors:
    """timm's names as EfficientNet-PyTorch's, which smp's own EfficientNets have."""
    bare = _unwrapped(tensors, own)
    places = sorted({(int(found[1]), int(found[2])) for name in bare if (found := STAGED.match(name))})
    number = {place: index for index, place in enumerate(places)}
    expanded = {place for place in places if f"blocks.{place[0]}.{place[1]}.conv_pwl.weight" in bare}
    renamed = {}
    for name, each in bare.items():
        found = STAGED.match(name)
        if found is None:
            renamed[_part_renamed(name, {new: old for old, new in STEM.items()})] = each
            continue
        place = (int(found[1]), int(found[2]))
        parts = WITH_EXPANSION if place in expanded else WITHOUT_EXPANSION
        back = {new: old for old, new in parts.items()}
        renamed[f"_blocks.{number[place]}.{_part_renamed(name[found.end() :], back)}"] = each
    return renamed


def _part_renamed(name: str, parts: Mapping[str, str]) -> str:
    """`name` with its first part renamed: one or two words before the tensor's own."""
    part, _, leaf = name.rpartition(".")
    return f"{parts.get(part, part)}.{leaf}"


NAMINGS: tuple[Naming, ...] = (_same, _wrapped, _unwrapped, _from_efficientnet_pytorch, _to_efficientnet_pytorch)
"""From the plainest on; of two that find as much the first is taken."""
