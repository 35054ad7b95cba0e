"""U-Net decoders that raise their maps by the image: the architecture's own wiring, one kernel per scale, saved."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segmed.core.config import config_from_mapping, config_to_mapping
from segmed.core.errors import ConfigError, ModelError
from segmed.core.labels import LabelMap
from segmed.layers.featup import KINDS, GuidedKind, JBUUpsample
from segmed.models.checkpoint import RunConfig, load_run, save_run
from segmed.models.config import ModelConfig
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig

ENCODER = "tu-test_efficientnet"


def configured(name: str = "unet", upsampler: str = "jbu", **settings: object) -> ModelConfig:
    return ModelConfig(name=name, encoder=ENCODER, encoder_weights="none", upsampler=upsampler, **settings)  # type: ignore[arg-type]


class Nearest(JBUUpsample):
    """Raises as the architectures do, to see that all else is theirs."""

    def forward(self, source: Tensor, kernel: Tensor, size: tuple[int, int]) -> Tensor:
        return nn.functional.interpolate(source, size, mode="nearest")


@pytest.mark.parametrize(("name", "size"), [("unet", (64, 96)), ("unet", (70, 45)), ("unetplusplus", (64, 96))])
def test_with_nearest_upsampling_the_guided_decoder_is_the_architectures_own(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    plain = build_model(configured(name, "interpolate")).eval()
    torch.manual_seed(0)
    guided = build_model(configured(name)).eval()
    guided.decoder.upsamplers = nn.ModuleList(Nearest() for _ in range(5))  # type: ignore[union-attr]
    image = torch.randn(2, 3, *size)
    with torch.inference_mode():
        assert torch.equal(guided(image), plain(image))


@pytest.mark.parametrize("name", ["unet", "unetplusplus"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_adds_31165_parameters_and_gives_logits_at_the_images_size(name: str, kind: GuidedKind) -> None:
    plain = build_model(configured(name, "interpolate"))
    guided = build_model(configured(name, kind, labels=2)).eval()
    added = sum(p.numel() for p in guided.decoder.parameters()) - sum(p.numel() for p in plain.decoder.parameters())  # type: ignore[union-attr]
    assert added == 5 * 6233
    with torch.inference_mode():
        assert guided(torch.randn(1, 3, 64, 96)).shape == (1, 2, 64, 96)


@pytest.mark.parametrize("name", ["unet", "unetplusplus"])
def test_kernels_are_made_once_per_scale(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    kernel = JBUUpsample.kernel

    def counted(self: JBUUpsample, guidance: Tensor, source_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
        made.append(size)
        return kernel(self, guidance, source_size, size)

    monkeypatch.setattr(JBUUpsample, "kernel", counted)
    with torch.inference_mode():
        build_model(configured(name)).eval()(torch.randn(1, 3, 32, 64))
    assert made == [(2, 4), (4, 8), (8, 16), (16, 32), (32, 64)]


def test_a_step_of_training_moves_every_parameter_of_the_stages() -> None:
    torch.manual_seed(0)
    model = build_model(configured(channels=2)).train()
    model(torch.randn(2, 2, 64, 64)).square().mean().backward()
    decoder = model.decoder
    assert isinstance(decoder, nn.Module)
    added = [*decoder.upsamplers.parameters(), *decoder.guidance.parameters()]  # type: ignore[union-attr]
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in added)


def test_a_run_keeps_its_upsampler_and_predicts_the_same_when_loaded(tmp_path: Path) -> None:
    model = build_model(configured()).eval()
    labels = LabelMap()
    save_run(tmp_path, model, RunConfig(configured(), PreprocessConfig(), labels, 0.5))
    loaded = load_run(tmp_path)
    assert loaded.config.model.upsampler == "jbu"
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded.model(image), model(image))


def test_a_model_saved_before_there_were_upsamplers_is_read_as_one_that_interpolates() -> None:
    values = config_to_mapping(configured(upsampler="interpolate"))
    del values["upsampler"]
    assert config_from_mapping(ModelConfig, values, source="config.json").upsampler == "interpolate"


@pytest.mark.parametrize("name", ["fpn", "deeplabv3plus", "pan", "linknet", "manet"])
def test_other_decoders_are_refused_with_those_that_work(name: str) -> None:
    with pytest.raises(ModelError, match=f"unet and unetplusplus, not in that of {name}"):
        build_model(ModelConfig(name=name, encoder="resnet18", encoder_weights="none", upsampler="jbu"))


def test_promptable_models_are_pointed_to_their_own_setting() -> None:
    with pytest.raises(ModelError, match=r"no U-Net decoder for upsampler jbu\. Set sam.featup instead"):
        build_model(ModelConfig(name="sam-tiny", encoder="resnet18", encoder_weights="none", upsampler="jbu"))


def test_an_unknown_upsampler_is_refused() -> None:
    with pytest.raises(ConfigError, match="upsampler"):
        configured(upsampler="bicubic")
