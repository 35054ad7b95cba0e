"""sam-tiny: SAM's own parts on a small encoder, with SAM's positional encoding."""

import pytest
import torch
from tiny_models import tiny

from segmed.core.errors import ConfigError, ModelError
from segmed.models.config import ModelConfig
from segmed.models.sam_config import SamConfig
from segmed.models.zoo import build_model


def config(**changes: object) -> ModelConfig:
    return ModelConfig(**{"name": "sam-tiny", "encoder": "resnet18", "encoder_weights": "none", **changes})  # type: ignore[arg-type]


def test_it_has_between_six_and_twelve_million_parameters() -> None:
    assert 6e6 < sum(parameter.numel() for parameter in build_model(config()).parameters()) < 12e6


def test_the_positional_encoding_has_a_deviation_of_one_and_is_not_trained() -> None:
    gaussian = tiny().prompt_encoder.shared_embedding.positional_embedding
    assert 0.85 < float(gaussian.std()) < 1.15
    assert not gaussian.requires_grad


@pytest.mark.parametrize("size", [32, 80, 96])
def test_any_multiple_of_sixteen_is_a_size(size: int) -> None:
    model = tiny(size=size)
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, size, size)).shape == (1, 1, size, size)


def test_a_size_that_is_no_multiple_of_sixteen_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"multiple of 16, got 100\. Use 96"):
        SamConfig(size=100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "resnet81"}, "Did you mean 'resnet18'"),
        ({"encoder": "vit_tiny_patch16_224"}, "sam-tiny needs|several strides"),
        ({"encoder_weights": "imagenet"}, "no pre-trained weights"),
        ({"labels": 2}, "one label, got 2"),
        ({"sam": SamConfig(trains="lora")}, "no attention blocks"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_to_do(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(config(**changes))
