"""A filter in front of a dense model changes nothing until it has learnt, and the model is still a dense model."""

import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
from torch import nn

from segmed.layers.gafl import MODES, gain_parameters, with_gafl
from segmed.models.dense import stride


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    torch.manual_seed(0)
    return smp.Unet("resnet18", encoder_depth=3, encoder_weights=None, decoder_channels=(8, 8, 8), in_channels=3).eval()


def mri() -> torch.Tensor:
    return torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mode", MODES)
def test_inserting_the_filter_changes_no_logit(unet: nn.Module, mode: str) -> None:
    with torch.no_grad():
        assert torch.equal(with_gafl(unet, 3, mode=mode, padding=8)(mri()), unet(mri()))


def test_a_learnt_filter_changes_the_logits(unet: nn.Module) -> None:
    model = with_gafl(unet, 3)
    with torch.no_grad():
        for weight in gain_parameters(model):
            weight += 0.5
        assert (model(mri()) - unet(mri())).abs().max() > 1e-3


def test_the_models_stride_is_read_through_the_filter() -> None:
    model = nn.Conv2d(3, 1, 1)
    model.encoder = nn.Identity()
    model.encoder.output_stride = 16
    assert stride(with_gafl(model, 3)) == stride(model) == 16


def test_a_model_of_any_size_stays_one_behind_the_filter() -> None:
    model = nn.Conv2d(3, 1, 1)
    model.requires_divisible_input_shape = False
    assert stride(with_gafl(model, 3)) == 1


def test_a_model_without_an_encoder_has_none_behind_the_filter() -> None:
    model = with_gafl(nn.Conv2d(3, 1, 1), 3)
    assert getattr(model, "encoder", None) is None
    assert stride(model) == 1


def test_the_weights_are_saved_once_and_read_back(unet: nn.Module) -> None:
    model, other = with_gafl(unet, 3, adaptive=True), with_gafl(unet, 3, adaptive=True)
    with torch.no_grad():
        for weight in gain_parameters(model):
            weight += 0.1
        stored = safetensors.torch.load(safetensors.torch.save(model.state_dict()))
        assert {name.split(".")[0] for name in stored} == {"gafl", "network"}
        other.load_state_dict(stored)
        assert torch.equal(other(mri()), model(mri()))


def test_the_filter_gets_a_gradient_through_the_model(unet: nn.Module) -> None:
    model = with_gafl(unet, 3)
    model(mri()).square().sum().backward()
    assert all((weight.grad != 0).all() for weight in gain_parameters(model))
    unet.zero_grad()
