"""A learned filter in every place of every kind of model: nothing changes at first, and it is saved with the run."""

import dataclasses
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from filter_parts import filter_of
from segmed.core.errors import ConfigError, ModelError
from segmed.core.labels import LabelMap
from segmed.layers.gafl import MODES, GaflConfig
from segmed.models.checkpoint import RunConfig, load_run, save_run
from segmed.models.config import ModelConfig
from segmed.models.dense import stride
from segmed.models.filtering import fit_filter
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.sam_config import SamConfig
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig
from segmed.prompts.value import Prompts

ENCODER = "tu-test_efficientnet"
SIDE = 64


def dense(name: str = "unet", gafl: GaflConfig | None = None, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    config = ModelConfig(name=name, encoder=ENCODER, encoder_weights="none", channels=channels, gafl=gafl)
    return build_model(config).eval()


def promptable(gafl: GaflConfig | None = None, **sam: object) -> nn.Module:
    torch.manual_seed(0)
    config = ModelConfig(
        name="sam-tiny", encoder=ENCODER, encoder_weights="none", sam=SamConfig(size=SIDE, **sam), gafl=gafl
    )
    return build_model(config).eval()


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 4 - 1


def moved(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for weight in filter_of(model).parameters():
            weight += 0.5
    return model


@pytest.mark.parametrize(("name", "mode"), [*(("unet", mode) for mode in MODES), ("deeplabv3plus", "spectrum")])
def test_no_logit_of_a_dense_model_changes_at_first(name: str, mode: str) -> None:
    inputs = image(2, 3, 64, 96)
    with torch.no_grad():
        plain, filtered = dense(name)(inputs), dense(name, GaflConfig(mode=mode))(inputs)
        assert (filtered - plain).abs().max() <= 2e-6
        assert (moved(dense(name, GaflConfig(mode=mode)))(inputs) - plain).abs().max() > 1e-4


@pytest.mark.parametrize(("place", "mode"), [("input", "general"), ("embedding", "spectrum"), ("embedding", "phase")])
def test_no_mask_of_a_promptable_model_changes_at_first(place: str, mode: str) -> None:
    inputs = image(1, 3, SIDE, SIDE)
    prompts = ObjectPrompts.of([Prompts(boxes=[(8, 8, 40, 50)])])
    found = []
    for model in (promptable(), promptable(GaflConfig(place=place, mode=mode))):
        with torch.no_grad():
            found.append((model.decode(model.encode(inputs), prompts).logits, model(inputs)))
    for plain, filtered in zip(*found, strict=True):
        assert (filtered - plain).abs().max() <= 2e-6
    model = moved(promptable(GaflConfig(place=place, mode=mode)))
    with torch.no_grad():
        assert (model.decode(model.encode(inputs), prompts).logits - found[0][0]).abs().max() > 1e-5


def test_the_embedding_is_kept_unfiltered() -> None:
    inputs = image(1, 3, SIDE, SIDE)
    with torch.no_grad():
        kept = promptable().encode(inputs).first
        assert torch.equal(moved(promptable(GaflConfig(place="embedding"))).encode(inputs).first, kept)
        assert not torch.equal(moved(promptable(GaflConfig(place="input"))).encode(inputs).first, kept)


@pytest.mark.parametrize("place", ["input", "embedding"])
def test_the_filter_of_a_promptable_model_gets_a_gradient(place: str) -> None:
    model = promptable(GaflConfig(place=place)).train()
    prompts = ObjectPrompts.of([Prompts(boxes=[(8, 8, 40, 50)])] * 2)
    model.decode(model.embed(image(2, 3, SIDE, SIDE)), prompts).logits.square().sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in filter_of(model).parameters())


@pytest.mark.parametrize("trains", ["decoder", "decoder+prompts"])
def test_a_filter_before_a_frozen_encoder_is_refused_with_the_reason(trains: str) -> None:
    with pytest.raises(ModelError, match=r"frozen encoder of sam\.trains=decoder.*its embeddings are kept"):
        promptable(GaflConfig(), trains=trains)
    assert filter_of(promptable(GaflConfig(place="embedding"), trains=trains)) is not None


def test_places_that_a_model_does_not_have_are_refused() -> None:
    with pytest.raises(ModelError, match="unet has no embedding to filter"):
        dense(gafl=GaflConfig(place="embedding"))
    with pytest.raises(ModelError, match="no guidance to filter: FeatUp is not part of it"):
        promptable(GaflConfig(place="guidance"))


def test_a_filter_can_stand_on_a_guidance_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmed.models.sam.network.PromptableSam.guided", True)
    model, guidance = promptable(GaflConfig(place="guidance"), trains="decoder"), image(1, 3, 40, 33)
    with torch.no_grad():
        assert torch.equal(model.filtered("guidance", guidance), guidance)
        assert not torch.equal(moved(model).filtered("guidance", guidance), guidance)
        assert torch.equal(model.filtered("input", guidance), guidance)


def test_the_stride_is_that_of_the_model_behind_the_filter() -> None:
    with torch.device("meta"):
        config = ModelConfig(name="deeplabv3plus", encoder="resnet18", encoder_weights="none", gafl=GaflConfig())
        plain = build_model(dataclasses.replace(config, gafl=None))
        assert stride(build_model(config)) == stride(plain) > 1
    assert stride(promptable(GaflConfig(place="embedding"))) == 8


def test_a_run_with_a_filter_comes_back_from_disk_with_it(tmp_path: Path) -> None:
    gafl = GaflConfig(mode="general", parametrisation="lowrank", rank=2, size=(64, 64), padding=4)
    config = RunConfig(
        model=ModelConfig(name="unet", encoder=ENCODER, encoder_weights="none", gafl=gafl),
        preprocess=PreprocessConfig(),
        labels=LabelMap(),
        threshold=0.5,
    )
    model = moved(dense("unet", gafl))
    save_run(tmp_path, model, config)
    loaded = load_run(tmp_path)
    assert replace(loaded.config, weights_sha256="") == config
    with torch.no_grad():
        assert torch.equal(loaded.model(image(1, 3, 64, 32)), model(image(1, 3, 64, 32)))


def test_a_run_from_before_there_were_filters_still_loads(tmp_path: Path) -> None:
    config = RunConfig(
        model=ModelConfig(name="unet", encoder=ENCODER, encoder_weights="none"),
        preprocess=PreprocessConfig(),
        labels=LabelMap(),
        threshold=0.5,
    )
    save_run(tmp_path, dense(), config)
    value = json.loads((tmp_path / "config.json").read_text())
    del value["model"]["gafl"]
    (tmp_path / "config.json").write_text(json.dumps(value))
    assert replace(load_run(tmp_path).config, weights_sha256="") == config


def test_a_filter_of_images_takes_the_networks_size_and_one_of_the_embedding_its_grid() -> None:
    config = ModelConfig(gafl=GaflConfig(parametrisation="free"))
    assert fit_filter(config, (128, 96)).gafl.size == (128, 96)
    named = dataclasses.replace(config, gafl=GaflConfig(size=(64, 64)))
    assert fit_filter(named, (128, 96)) is named
    assert fit_filter(ModelConfig(), (128, 96)).gafl is None
    cells = filter_of(promptable(GaflConfig(parametrisation="free", place="embedding"))).mode.log_gain.size
    assert cells == (SIDE // 8, SIDE // 8)


def test_every_weight_of_a_fitted_free_filter_is_taught_by_images_of_its_size() -> None:
    gafl = fit_filter(ModelConfig(gafl=GaflConfig(parametrisation="free")), (64, 64)).gafl
    model = dense("unet", gafl)
    model(image(1, 3, 64, 64)).square().sum().backward()
    assert all((weight.grad != 0).all() for weight in filter_of(model).parameters())


def test_adaptive_gains_of_a_mode_without_gains_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="Adaptive gains exist for the modes spectrum and spectrum-log, not for phase"
    ):
        GaflConfig(mode="phase", adaptive=True)


def test_a_dense_model_with_a_filter_does_without_sams_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmed.models.sam.network", None)
    small = ModelConfig(name="unet", encoder="tu-test_efficientnet", encoder_weights="none", gafl=GaflConfig())
    assert build_model(small)(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 64, 64)
