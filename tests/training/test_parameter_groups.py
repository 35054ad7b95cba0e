"""Learned filters, guided upsamplers and gates are stepped at rates of their own, and every parameter once."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn

from segmed.core.errors import ConfigError
from segmed.layers.gafl import gain_parameters
from segmed.layers.gafl.config import GaflConfig
from segmed.models.config import ModelConfig
from segmed.models.sam_config import SamConfig
from segmed.models.zoo import build_model
from segmed.training.featup import train_upsampler_only
from segmed.training.parameter_groups import leave_out_empty_groups, parameter_groups, upsampler_parameters
from segmed.training.recipe import OptimConfig

CONFIG = OptimConfig(filter_learning_rate=0.02, upsampler_learning_rate=0.03, weight_decay=0.1)
DENSE = ModelConfig(name="unet", encoder="resnet18", encoder_weights="none", upsampler="jbu")
SMALL = SamConfig(size=64, encode_at=32, featup="jbu", box_prior=True)
PROMPTED = ModelConfig(name="sam-tiny", encoder="test_efficientnet", encoder_weights="none", sam=SMALL)


def ids(parameters: Iterable[nn.Parameter]) -> set[int]:
    return {id(each) for each in parameters}


@pytest.mark.parametrize("model", [DENSE, PROMPTED])
def test_every_trained_parameter_is_in_one_group(model: ModelConfig) -> None:
    network = build_model(model)
    grouped = [each for group in parameter_groups(network, CONFIG) for each in group["params"]]
    assert ids(grouped) == ids(each for each in network.parameters() if each.requires_grad)
    assert len(grouped) == len(ids(grouped))


def test_upsamplers_and_gates_have_their_own_rate_and_no_decay() -> None:
    network = build_model(PROMPTED)
    upsamplers = parameter_groups(network, CONFIG)[-1]
    names = {name for name, each in network.named_parameters() if id(each) in ids(upsamplers["params"])}
    assert {name.split(".")[0] for name in names} == {"upsampler", "fine", "box_prior"}
    assert {name for name in names if name.startswith(("fine.", "box_prior.")) and "upsampler" not in name} == {
        "fine.gate", "box_prior.gate",
    }  # fmt: skip
    assert (upsamplers["lr"], upsamplers["weight_decay"]) == (0.03, 0.0)


def test_a_filter_on_the_guidance_is_a_filter_and_no_upsampler() -> None:
    network = build_model(
        ModelConfig(
            name="sam-tiny", encoder="test_efficientnet", encoder_weights="none", sam=SMALL,
            gafl=GaflConfig(place="guidance", adaptive=True),
        )
    )  # fmt: skip
    *_, filters, upsamplers = parameter_groups(network, CONFIG)
    assert ids(filters["params"]) == ids(gain_parameters(network))
    assert filters["lr"] == 0.02
    assert not ids(filters["params"]) & ids(upsampler_parameters(network))
    assert upsamplers["lr"] == 0.03


def upsampler_alone() -> nn.Module:
    network = build_model(PROMPTED)
    train_upsampler_only(network, encoder=False)
    return network


def test_groups_without_parameters_are_left_out() -> None:
    assert [group["lr"] for group in parameter_groups(upsampler_alone(), CONFIG)] == [0.03]


def test_a_checkpoint_with_groups_without_parameters_has_the_groups_of_now() -> None:
    def state(groups: list[dict[str, Any]]) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
        optimizer = torch.optim.AdamW(groups, lr=0.5)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))

    groups = parameter_groups(upsampler_alone(), CONFIG)
    before, schedule = state([{"params": [], "weight_decay": 0.1}, {"params": []}, *groups])
    groups[0]["params"][0].grad = torch.ones_like(groups[0]["params"][0])
    before.step()
    schedule.step()
    checkpoint = {"optimizer_states": [before.state_dict()], "lr_schedulers": [schedule.state_dict()]}
    leave_out_empty_groups(checkpoint)
    after, follower = state(parameter_groups(upsampler_alone(), CONFIG))
    after.load_state_dict(checkpoint["optimizer_states"][0])
    follower.load_state_dict(checkpoint["lr_schedulers"][0])
    follower.step()
    assert after.param_groups[0]["lr"] == pytest.approx(0.03 / 3)
    assert len(after.state) == len(before.state) == 1


def test_rates_are_above_0() -> None:
    with pytest.raises(ConfigError, match="upsampler_learning_rate must be above 0"):
        OptimConfig(upsampler_learning_rate=0)


def test_a_gate_opens_in_the_steps_of_a_short_training() -> None:
    """With the rate of other weights, 3e-4, Adam cannot move it beyond 0.012 in 40 steps."""
    torch.manual_seed(0)
    network = build_model(PROMPTED)
    optimizer = torch.optim.AdamW(parameter_groups(network, OptimConfig()), lr=3e-4)
    assert network.fine is not None
    embedding, image, wanted = torch.randn(1, 256, 4, 4), torch.rand(1, 3, 64, 64), torch.randn(1, 32, 16, 16)
    for _ in range(40):
        optimizer.zero_grad()
        (network.fine(embedding, image) - wanted).square().mean().backward()
        optimizer.step()
    assert network.fine.gate.abs().mean() > 0.1
    assert network.fine(embedding, image).std() > 0.1
