"""Every model passes one contract; wrong names are answered with right ones."""

import logging

import pytest
import torch

from segmed.core.errors import ConfigError, ModelError
from segmed.models.config import ModelConfig
from segmed.models.dense import stride
from segmed.models.zoo import build_model, model_names

REPORT = ["unet", "unetplusplus", "pan", "deeplabv3", "deeplabv3plus"]
OTHERS = ["fpn", "manet", "linknet", "pspnet", "upernet", "segformer"]


def small(name: str, **settings: object) -> ModelConfig:
    return ModelConfig(name=name, encoder="resnet18", encoder_weights="none", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", REPORT + OTHERS)
def test_every_model_gives_logits_at_the_size_of_a_non_square_image(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(small(name, channels=2, labels=3)).eval()
    with torch.inference_mode():
        logits = model(torch.randn(2, 2, 128, 160))
    assert logits.shape == (2, 3, 128, 160)
    assert logits.min() < 0 < logits.max()


@pytest.mark.parametrize("name", REPORT)
def test_a_step_of_training_gives_every_trained_parameter_a_finite_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(small(name)).train()
    model(torch.randn(2, 3, 128, 128)).square().mean().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


def test_the_reports_five_models_stand_on_efficientnet_b5() -> None:
    model = build_model(ModelConfig(encoder_weights="none"))
    assert sum(parameter.numel() for parameter in model.encoder.parameters()) == pytest.approx(28.3e6, rel=0.01)  # type: ignore[union-attr, operator]
    assert set(REPORT) <= set(model_names())


def test_any_timm_model_is_an_encoder() -> None:
    config = ModelConfig(name="unet", encoder="tu-mobilenetv3_small_050", encoder_weights="none")
    with torch.inference_mode():
        assert build_model(config).eval()(torch.randn(1, 3, 64, 64)).shape == (1, 1, 64, 64)


def test_strides_are_known() -> None:
    found = {name: stride(build_model(small(name))) for name in REPORT}
    assert found == {"unet": 1, "unetplusplus": 32, "pan": 16, "deeplabv3": 8, "deeplabv3plus": 16}


def test_an_unknown_model_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(ModelError, match=r"Unknown model 'unett'. Did you mean 'unet'.*Choose one of: .*deeplabv3"):
        build_model(small("unett"))


def test_an_unknown_encoder_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"Unknown encoder 'efficientnetb5'. Did you mean 'efficientnet-b5'"):
        build_model(ModelConfig(encoder="efficientnetb5", encoder_weights="none"))


def test_weights_out_of_reach_name_the_way_without_them_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
        raise OSError("We couldn't connect to the hub.")

    monkeypatch.setattr("segmed.models.dense.smp.create_model", unreachable)
    with pytest.raises(ModelError, match=r"imagenet weights of resnet18 cannot be fetched.*--encoder-weights none"):
        build_model(ModelConfig(encoder="resnet18", encoder_weights="imagenet"))
    assert caplog.text == ""


def test_a_timm_model_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ModelError, match="unet cannot be built with encoder tu-nonsense"):
        build_model(ModelConfig(encoder="tu-nonsense", encoder_weights="none"))


def test_unknown_encoder_weights_are_refused() -> None:
    with pytest.raises(ModelError, match="resnet18 and weights nonsense"):
        build_model(ModelConfig(encoder="resnet18", encoder_weights="nonsense"))


def test_a_model_without_output_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        ModelConfig(labels=0)
