"""FeatUp's published weights load by their own key names, and nothing else does."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segmed.core.errors import ModelError
from segmed.layers.featup import JBUStack, load_published

STAGE = {
    "range_temp": (),
    "range_proj.0.weight": (32, 3, 1, 1),
    "range_proj.0.bias": (32,),
    "range_proj.3.weight": (32, 32, 1, 1),
    "range_proj.3.bias": (32,),
    "fixup_proj.0.weight": (49, 52, 1, 1),
    "fixup_proj.0.bias": (49,),
    "fixup_proj.3.weight": (49, 49, 1, 1),
    "fixup_proj.3.bias": (49,),
    "sigma_spatial": (),
}


def published(channels: int = 3, stages: int = 4, prefix: str = "") -> dict[str, Tensor]:
    """Weights as FeatUp writes them, made up."""
    torch.manual_seed(5)
    shapes = {f"up{n}.{key}": shape for n in range(1, stages + 1) for key, shape in STAGE.items()}
    shapes |= {"fixup_proj.1.weight": (channels, channels, 1, 1), "fixup_proj.1.bias": (channels,)}
    return {prefix + key: torch.randn(shape) for key, shape in shapes.items()}


def test_our_keys_and_shapes_are_featups() -> None:
    ours = {key: value.shape for key, value in JBUStack(3).state_dict().items()}
    assert ours == {key: value.shape for key, value in published().items()}


@pytest.mark.parametrize("prefix", ["", "upsampler.", "model.", "model.upsampler.", "module.upsampler."])
def test_prefixes_are_cut_off(prefix: str) -> None:
    stack = JBUStack(3)
    report = load_published(stack, published(prefix=prefix))
    assert len(report.loaded) == 42
    assert (report.missing, report.unexpected) == ((), ())
    assert all(torch.equal(stack.state_dict()[key], value) for key, value in published().items())


def test_loading_turns_renormalising_off() -> None:
    stack = JBUStack(3)
    assert stack.renormalise
    load_published(stack, published())
    assert not stack.renormalise


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_a_file_of_the_whole_training_module_gives_the_upsampler_and_names_the_rest(
    tmp_path: Path, suffix: str
) -> None:
    others = {"model.1.norm.weight": torch.ones(3), "downsampler.w": torch.ones(2), "scale_net.net.bias": torch.ones(1)}
    path = tmp_path / f"jbu{suffix}"
    state = published(prefix="upsampler.") | others
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state, "epoch": 1}, path)
    report = load_published(JBUStack(3), path)
    assert len(report.loaded) == 42
    assert sorted(report.unexpected) == sorted(others)


def test_stages_that_the_stack_lacks_are_named_and_left_out() -> None:
    report = load_published(JBUStack(3, stages=2), published())
    assert len(report.unexpected) == 20
    assert {key[:4] for key in report.unexpected} == {"up3.", "up4."}


def test_missing_parameters_are_named_and_nothing_is_loaded() -> None:
    stack = JBUStack(3, stages=3)
    before = stack.state_dict()["up1.range_proj.0.weight"].clone()
    with pytest.raises(ModelError, match=r"lacks 10 of the 32 JBU parameters: up3.range_temp.* and 6 more"):
        load_published(stack, published(stages=2))
    assert torch.equal(stack.state_dict()["up1.range_proj.0.weight"], before)
    assert stack.renormalise


def test_missing_parameters_are_reported_when_they_may_be() -> None:
    report = load_published(JBUStack(3, stages=3), published(stages=2), strict=False)
    assert len(report.missing) == 10
    assert all(key.startswith("up3.") for key in report.missing)


def test_another_number_of_channels_is_an_error_that_says_what_to_build() -> None:
    with pytest.raises(ModelError, match=r"for 5 channels and the stack has 3; build JBUStack\(5\)"):
        load_published(JBUStack(3), published(channels=5))


def test_weights_of_another_shape_are_refused() -> None:
    state = published() | {"up2.range_proj.3.weight": torch.zeros(16, 32, 1, 1)}
    with pytest.raises(ModelError, match=r"up2.range_proj.3.weight has shape \(16, 32, 1, 1\); expected \(32, 32"):
        load_published(JBUStack(3), state)


def test_weights_that_are_no_numbers_are_refused() -> None:
    state = published() | {"up1.sigma_spatial": torch.tensor(float("nan"))}
    with pytest.raises(ModelError, match=r"up1\.sigma_spatial holds nan"):
        load_published(JBUStack(3), state)


def test_whole_numbers_in_place_of_weights_are_refused() -> None:
    state = published() | {"up1.sigma_spatial": torch.tensor(1)}
    with pytest.raises(ModelError, match=r"of whole numbers or the like: up1\.sigma_spatial"):
        load_published(JBUStack(3), state)


def test_a_key_that_comes_twice_is_refused() -> None:
    with pytest.raises(ModelError, match="twice, under different prefixes"):
        load_published(JBUStack(3), published() | published(prefix="upsampler."))


def test_a_file_without_jbu_weights_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(1)}, tmp_path / "resnet.pth")
    with pytest.raises(ModelError, match=r"resnet.pth holds no JBU weights .*its keys are conv1.weight"):
        load_published(JBUStack(3), tmp_path / "resnet.pth")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": published(), "callback": print}, tmp_path / "jbu.ckpt")
    with pytest.raises(ModelError, match=r"jbu.ckpt: cannot be read as tensors alone"):
        load_published(JBUStack(3), tmp_path / "jbu.ckpt")


@pytest.mark.parametrize("name", ["jbu.ckpt", "jbu.safetensors"])
def test_files_that_are_none_or_broken_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=rf"{name}: no such file"):
        load_published(JBUStack(3), tmp_path / name)
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=name):
        load_published(JBUStack(3), tmp_path / name)
