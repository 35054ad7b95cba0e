"""The zoo: a plain table from name to builder. Every model maps `B C H W` images to `B K H W` logits."""

import difflib
from collections.abc import Callable

from torch import nn

from segmed.core.errors import ModelError
from segmed.models.config import ModelConfig
from segmed.models.dense import DENSE, build_dense
from segmed.models.filtering import with_filter


def _sam_tiny(config: ModelConfig) -> nn.Module:
    from segmed.models.sam.tiny import build_sam_tiny

    return build_sam_tiny(config)


def _boxed(config: ModelConfig) -> nn.Module:
    if config.name in PROMPTABLE:
        raise ModelError(f"{config.name} takes boxes already. Leave model.box_channel to dense models.")
    if config.gafl is not None or config.upsampler != "interpolate":
        raise ModelError("A box channel goes with neither model.gafl nor model.upsampler. Leave these out.")
    from segmed.models.boxed import build_boxed

    return build_boxed(config)


def _sam_vit(config: ModelConfig) -> nn.Module:
    from segmed.models.sam.vit import build_sam_vit

    return build_sam_vit(config)


PROMPTABLE: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "sam-tiny": _sam_tiny,
    **dict.fromkeys(("sam-vit-b", "sam-vit-l", "sam-vit-h", "medsam"), _sam_vit),
}
"""Models that take prompts; without any they map images to logits like all others."""

MODELS: dict[str, Callable[[ModelConfig], nn.Module]] = {**dict.fromkeys(DENSE, build_dense), **PROMPTABLE}


def build_model(config: ModelConfig) -> nn.Module:
    """Build the configured network; raises `ModelError` for unknown names and weights that cannot be had."""
    if config.name not in MODELS:
        near = difflib.get_close_matches(config.name, MODELS, n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ModelError(f"Unknown model {config.name!r}. {hint}Choose one of: {', '.join(sorted(MODELS))}.")
    model = _boxed(config) if config.box_channel else MODELS[config.name](config)
    return with_filter(model, config)


def takes_prompts(config: ModelConfig) -> bool:
    """Whether the configured network can be asked with prompts: a promptable one, or one with a box channel."""
    return config.name in PROMPTABLE or config.box_channel
