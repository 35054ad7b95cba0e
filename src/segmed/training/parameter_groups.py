"""Which parameters an optimiser steps alike: learned filters and guided upsamplers have step sizes of their own."""

from collections.abc import Iterable
from itertools import compress
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
        {"params": free, "weight_decay": 0.0, "lr": FREE_SHARE * config.filter_learning_rate},
        {"params": filters, "weight_decay": 0.0, "lr": config.filter_learning_rate},
        {"params": upsamplers, "weight_decay": 0.0, "lr": config.upsampler_learning_rate},
    ]
    return [group for group in groups if group["params"]]


def leave_out_empty_groups(checkpoint: dict[str, Any]) -> None:
    """Bring a checkpoint of early versions, which kept groups without parameters, to the groups of this one."""
    states = zip(checkpoint.get("optimizer_states", ()), checkpoint.get("lr_schedulers", ()), strict=False)
    for optimizer, schedule in states:
        full = [bool(group["params"]) for group in optimizer["param_groups"]]
        optimizer["param_groups"] = list(compress(optimizer["param_groups"], full))
        for key in ("base_lrs", "_last_lr", "lr_lambdas"):
            if len(schedule.get(key, ())) == len(full):
                schedule[key] = list(compress(schedule[key], full))


def upsampler_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of every guided upsampler in `model`, and the gates that let its branch in."""
    layers = (part for part in model.modules() if isinstance(part, UPSAMPLING))
    found = {id(weight): weight for part in layers for weight in part.parameters()}
    gates = (part.gate for part in model.modules() if isinstance(part, Gated))
    return list((found | {id(weight): weight for weight in gates}).values())


def _trained(parameters: Iterable[nn.Parameter], *, but: Iterable[nn.Parameter] = ()) -> list[nn.Parameter]:
    left_out = {id(weight) for weight in but}
    return [weight for weight in parameters if weight.requires_grad and id(weight) not in left_out]
