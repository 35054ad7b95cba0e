"""sam-tiny: SAM's own parts on a small encoder, with SAM's positional encoding."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny_models import tiny

from segmed.core.errors import ConfigError, ModelError
from segmed.models.config import ModelConfig
from segmed.models.encoder_weights import find_encoder_file, read_tensors
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
        ({"encoder_weights": "advprop"}, "no weights 'advprop'. Choose imagenet or none"),
        ({"encoder_weights": "imagenet"}, "resnet18 cannot be fetched.*Give their file"),
        ({"labels": 2}, "one label, got 2"),
        ({"sam": SamConfig(trains="lora")}, "no attention blocks"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_to_do(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(config(**changes))


def test_the_stages_begin_with_every_weight_that_a_file_has_for_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model("mobilenetv3_small_050", pretrained=False)
    save_file(whole.state_dict(), tmp_path / "mobile.safetensors")
    model = build_model(
        config(encoder="tu-mobilenetv3_small_050", encoder_weights=str(tmp_path / "mobile.safetensors"), channels=1)
    )
    stages = model.image_encoder.stages.state_dict()  # type: ignore[union-attr]
    assert len(stages) > 20
    first = "conv_stem.weight"
    for name, value in stages.items():
        own = whole.state_dict()[name]
        assert torch.equal(value, own.sum(dim=1, keepdim=True) if name == first else own), name


def test_a_file_of_another_encoder_is_refused_by_name(tmp_path: Path) -> None:
    save_file(timm.create_model("resnet18", pretrained=False).state_dict(), tmp_path / "r18.safetensors")
    with pytest.raises(ModelError, match=r"r18\.safetensors: these are not the weights of mobilenetv3_small_050"):
        build_model(config(encoder="mobilenetv3_small_050", encoder_weights=str(tmp_path / "r18.safetensors")))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tu-tf_efficientnet_lite0"])
def test_imagenet_weights_of_an_encoder_with_a_package_need_no_network(name: str) -> None:
    model = build_model(config(encoder=name, encoder_weights="imagenet"))
    file = find_encoder_file(name, "imagenet")
    assert file is not None
    stem = read_tensors(file.path)["_conv_stem.weight"]
    assert torch.equal(model.image_encoder.stages.state_dict()["conv_stem.weight"], stem)  # type: ignore[union-attr]
