"""The zoo: from name to network. Every model maps `B C H W` images to `B K H W` logits."""

import difflib
from collections.abc import Callable

from torch import nn

from segmed.core.errors import ModelError
from segmed.models.config import ModelConfig
from segmed.models.dense import DENSE, build_dense
from segmed.models.families import FAMILIES
from segmed.models.filtering import with_filter


def _sam_tiny(config: ModelConfig) -> nn.Module:
    from segmed.models.sam.tiny import build_sam_tiny

    return build_sam_tiny(config)


def _boxed(config: ModelConfig) -> nn.Module:
    if config.name in FAMILIES:
        raise ModelError(f"{config.name} takes boxes already. Leave model.box_channel to dense models.")
    if config.gafl is not None or config.upsampler != "interpolate":
        raise ModelError("A box channel goes with neither model.gafl nor model.upsampler. Leave these out.")
    from segmed.models.boxed import build_boxed

    return build_boxed(config)


def _sam_vit(config: ModelConfig) -> nn.Module:
    from segmed.models.sam.vit import build_sam_vit

    return build_sam_vit(config)


def _sam2(config: ModelConfig) -> nn.Module:
    from segmed.models.sam2.build import build_sam2

    return build_sam2(config)


NETWORKS: dict[str, Callable[[ModelConfig], nn.Module]] = {"pyramid": _sam_tiny, "vit": _sam_vit, "hiera": _sam2}
"""What builds the promptable models of `FAMILIES`; without prompts they map images to logits like all others."""


def model_names() -> tuple[str, ...]:
    """All models by name."""
    return (*DENSE, *FAMILIES)


def build_model(config: ModelConfig) -> nn.Module:
    """Build the configured network; raises `ModelError` for unknown names and weights that cannot be had."""
    if config.name not in model_names():
        near = difflib.get_close_matches(config.name, model_names(), n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ModelError(f"Unknown model {config.name!r}. {hint}Choose one of: {', '.join(sorted(model_names()))}.")
    build = NETWORKS[FAMILIES[config.name].network] if config.name in FAMILIES else build_dense
    return with_filter(_boxed(config) if config.box_channel else build(config), config)
