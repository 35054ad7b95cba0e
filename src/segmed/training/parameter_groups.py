"""Which parameters an optimiser steps alike: learned filters and guided upsamplers have step sizes of their own."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from segmed.layers.featup import BilinearUpsample, Guidance, GuidedUpsampler, JBUUpsample
from segmed.layers.gafl import Free, gain_parameters
from segmed.layers.gated import Gated
from segmed.training.recipe import OptimConfig

UPSAMPLING = (GuidedUpsampler, JBUUpsample, BilinearUpsample, Guidance)
"""The layers of guided upsampling: FeatUp's, their controls, and what makes their guidance."""
FREE_SHARE = 0.1
"""The step size of gains with a number for every frequency, as a share of the other filters': 1e-3, GAFL's own. Each
sees its one frequency alone, and at 1e-2 takes noise for signal."""


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict[str, Any]]:
    """Optimiser groups of all that is trained, in a fixed order; a group without parameters is left out.

    Weight decay acts on matrices and convolutions. Biases, normalisation, learned filters and guided upsamplers have
    none. The last two begin as the identity, or behind a gate that is zero, and have to leave it within a short
    training: `config.filter_learning_rate` and `config.upsampler_learning_rate` are their peak step sizes;
    gains with a number for every frequency take `FREE_SHARE` of the first.

    Args:
        model: what is trained; frozen parameters are in no group.
        config: step sizes and weight decay.

    Returns:
        Groups for `torch.optim.AdamW`; those without `lr` take the optimiser's own.
    """
    free = _trained(weight for part in model.modules() if isinstance(part, Free) for weight in part.parameters())
    filters = _trained(gain_parameters(model), but=free)
    upsamplers = _trained(upsampler_parameters(model), but=[*free, *filters])
    rest = _trained(model.parameters(), but=[*free, *filters, *upsamplers])
    groups: list[dict[str, Any]] = [
        {"params": [each for each in rest if each.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [each for each in rest if each.ndim <= 1], "weight_decay": 0.0},
    ]
    own = (
        (free, FREE_SHARE * config.filter_learning_rate),
        (filters, config.filter_learning_rate),
        (upsamplers, config.upsampler_learning_rate),
    )
    return groups + [{"params": some, "weight_decay": 0.0, "lr": rate} for some, rate in own if some]


def upsampler_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of every guided upsampler in `model`, and the gates that let its branch in."""
    layers = (part for part in model.modules() if isinstance(part, UPSAMPLING))
    found = {id(weight): weight for part in layers for weight in part.parameters()}
    gates = (part.gate for part in model.modules() if isinstance(part, Gated))
    return list((found | {id(weight): weight for weight in gates}).values())


def _trained(parameters: Iterable[nn.Parameter], *, but: Iterable[nn.Parameter] = ()) -> list[nn.Parameter]:
    left_out = {id(weight) for weight in but}
    return [weight for weight in parameters if weight.requires_grad and id(weight) not in left_out]
