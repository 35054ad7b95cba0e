"""FeatUp's implicit variant is fitted to one image's own features, the same way every time."""

import pytest
import torch
from torch import nn

from segmed.core.errors import ConfigError
from segmed.models.config import ModelConfig
from segmed.models.sam.network import PromptableSam
from segmed.models.sam.tiny import build_sam_tiny
from segmed.models.sam_config import SamConfig
from segmed.training.implicit import ImplicitFeatures, components, fit_implicit


def model(**changes: object) -> PromptableSam:
    torch.manual_seed(0)
    sam = SamConfig(**{"size": 64, **changes})  # type: ignore[arg-type]
    config = ModelConfig(name="sam-tiny", encoder="test_efficientnet", encoder_weights="none", sam=sam)
    return build_sam_tiny(config).eval()


def image() -> torch.Tensor:
    torch.manual_seed(1)
    return nn.functional.interpolate(torch.randn(1, 3, 4, 4), (64, 64), mode="bicubic")


def test_fitted_features_brought_down_come_near_the_encoders() -> None:
    network, read = model(encode_at=32), image()
    with torch.no_grad():
        target = network.features(read).first
    errors = []
    for steps in (1, 60):
        fitted = fit_implicit(network, read, steps=steps, views=6)
        assert fitted.shape == (1, 256, 8, 8)
        errors.append(float(nn.functional.mse_loss(nn.functional.avg_pool2d(fitted, 2), target)))
    assert errors[1] < 0.5 * errors[0]


def test_the_same_seed_gives_the_same_features_and_leaves_global_chance_alone() -> None:
    network, read = model(encode_at=32), image()
    before = torch.get_rng_state()
    first = fit_implicit(network, read, steps=3, views=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(fit_implicit(network, read, steps=3, views=3), first)
    assert not torch.equal(fit_implicit(network, read, steps=3, views=3, seed=1), first)


def test_the_network_has_featups_303_inputs_and_any_size() -> None:
    network = ImplicitFeatures(5)
    assert network.layers[1].in_channels == 303
    assert network(torch.randn(1, 3, 5, 9)).shape == (1, 5, 5, 9)


def test_components_are_at_most_as_many_as_asked_and_span_the_features() -> None:
    features = torch.einsum("cp,nphw->nchw", torch.randn(8, 2), torch.randn(3, 2, 4, 4))
    centre, axes = components(features, most=2)
    flat = features - centre[:, None, None]
    assert axes.shape == (8, 2)
    assert torch.allclose(torch.einsum("cp,dp,ndhw->nchw", axes, axes, flat), flat, atol=1e-4)


def test_a_model_that_encodes_at_full_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Set model\.sam\.encode_at"):
        fit_implicit(model(), image())


def test_phases_begin_at_random_as_featups_do() -> None:
    torch.manual_seed(0)
    phase = ImplicitFeatures(5).phase.detach()
    assert 0.8 < float(phase.std()) < 1.2
    assert abs(float(phase.mean())) < 0.3
