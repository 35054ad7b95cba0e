"""A training begins with all weights of another run, also where it trains other parts of them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from segmed.core.errors import ConfigError
from segmed.models.config import ModelConfig
from segmed.models.sam.network import PromptableSam
from segmed.models.sam_config import SamConfig, VitConfig
from segmed.models.zoo import build_model
from segmed.training.warm_start import _copy_weights

VIT = VitConfig(width=32, depth=2, heads=2, global_layers=(1,), window=2)


def sam(seed: int, **changes: object) -> PromptableSam:
    torch.manual_seed(seed)
    config = SamConfig(size=64, vit=VIT, **changes)  # type: ignore[arg-type]
    model = build_model(ModelConfig(name="sam-vit-b", encoder_weights="none", sam=config)).eval()
    assert isinstance(model, PromptableSam)
    for name, weights in model.named_parameters():
        if name.endswith("lora_up"):  # as after some steps; they begin at zero
            nn.init.normal_(weights, std=0.1)
    return model


def begun(model: PromptableSam, run: PromptableSam) -> PromptableSam:
    _copy_weights(model, run.state_dict(), Path("runs/first"))
    return model


def features(model: PromptableSam) -> torch.Tensor:
    with torch.inference_mode():
        return model.features(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))).first


def test_a_run_of_the_decoder_goes_on_with_low_rank_updates_that_change_nothing_yet() -> None:
    run = sam(0, trains="decoder")
    torch.manual_seed(1)
    fresh = build_model(
        ModelConfig(name="sam-vit-b", encoder_weights="none", sam=SamConfig(size=64, vit=VIT, trains="lora"))
    ).eval()
    assert isinstance(fresh, PromptableSam)
    torch.testing.assert_close(features(begun(fresh, run)), features(run))


def test_a_run_with_low_rank_updates_goes_on_with_the_same() -> None:
    run = sam(0, trains="lora")
    model = begun(sam(1, trains="lora"), run)
    assert all(torch.equal(model.state_dict()[name], each) for name, each in run.state_dict().items())


@pytest.mark.parametrize("trains", ["all", "decoder"])
def test_low_rank_updates_are_merged_where_the_next_training_has_none(trains: str) -> None:
    run = sam(0, trains="lora")
    torch.testing.assert_close(features(begun(sam(1, trains=trains), run)), features(run))


def test_weights_of_another_network_are_still_refused() -> None:
    run = sam(0, trains="decoder", presence=False)
    with pytest.raises(ConfigError, match=r"runs/first holds weights of another network \(presence"):
        begun(run, sam(1, trains="lora"))
