"""SAM on the command line: convert a checkpoint, train from it, convert the run back."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from commands import segmed
from segmed.cli.main import app
from segmed.cli.train import chosen_recipe
from segmed.core.errors import ConfigError, ModelError
from segmed.models.config import ModelConfig
from segmed.models.sam.key_mapping import OURS, SEGMENT_ANYTHING, renamed
from segmed.models.sam_config import SamConfig, VitConfig
from segmed.models.zoo import build_model
from toydata import write_toy

VIT = "{width: 32, depth: 2, heads: 2, global_layers: [1], window: 3}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small MedSAM in its released format: flat, with segment-anything's names."""
    plain = SamConfig(
        size=64, vit=VitConfig(width=32, depth=2, heads=2, global_layers=(1,), window=3), box_map=False,
        promptless_tokens=0, presence=False,
    )  # fmt: skip
    model = build_model(ModelConfig(name="medsam", encoder_weights="none", sam=plain))
    path = tmp_path_factory.mktemp("weights") / "medsam_vit_b.pth"
    torch.save(
        {
            renamed(renamed(name, OURS, back=True), SEGMENT_ANYTHING, back=True): each
            for name, each in model.state_dict().items()
        },
        path,
    )
    return path


def test_a_checkpoint_is_converted_trained_from_and_written_back(checkpoint: Path, tmp_path: Path) -> None:
    said = segmed("convert", checkpoint, "-o", tmp_path / "medsam.safetensors")
    assert "a ViT of width 32 and depth 2 at 64 px (flat checkpoint, segment-anything's names)" in said
    assert "preprocessing: medsam's (by the name)" in said
    data = write_toy(tmp_path / "data", patients=4, slices=2)
    segmed("data", "split", data, "-o", tmp_path / "split.json", "--ratios", "0.5,0.25,0.25")
    small = ("model.sam.size=32", f"model.sam.vit={VIT}", "model.sam.trains=lora", "preprocess.size=[32, 32]")
    brief = ("sampling.steps_per_epoch=1", "optim.accumulate=1", "preprocess.slice_range=false")
    options = [part for each in (*small, *brief) for part in ("--set", each)]
    segmed(
        "train", "medsam", "--encoder-weights", tmp_path / "medsam.safetensors", "--data", data, "--epochs=1",
        "--split", tmp_path / "split.json", "-o", tmp_path / "run", *options,
    )  # fmt: skip
    assert "trained on images of preprocess.slice_range=True" in (tmp_path / "run" / "log.txt").read_text()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["model"]["encoder"] == "vit-b"
    said = segmed(
        "convert", tmp_path / "run", "-o", tmp_path / "back.safetensors", "--layout=segment-anything",
        "--contract=medsam",
    )  # fmt: skip
    assert "left out, as SAM has no place for it: box_map, presence, promptless" in said
    back, original = load_file(tmp_path / "back.safetensors"), torch.load(checkpoint, weights_only=True)
    assert back.keys() == original.keys()
    gaussian = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    assert torch.equal(back[gaussian], original[gaussian])
    assert back["image_encoder.pos_embed"].shape == (1, 2, 2, 32)
    assert not torch.equal(back["mask_decoder.iou_token.weight"], original["mask_decoder.iou_token.weight"])


def test_an_unknown_contract_is_a_usage_error_that_lists_the_names(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["convert", "absent.pth", "--out", str(tmp_path / "a.safetensors"), "--contract", "medical"]
    )
    assert done.exit_code == 2
    assert "'medical' is not one of 'sam', 'medsam', 'sam2', 'medsam2'." in " ".join(
        done.stderr.replace("│", " ").split()
    )


@pytest.mark.parametrize("option", ["--contract=sam", "--layout=transformers", "--layout=segment-anything"])
def test_what_is_of_sams_checkpoints_alone_is_a_usage_error_for_an_encoders(tmp_path: Path, option: str) -> None:
    out = tmp_path / "a.safetensors"
    done = CliRunner().invoke(app, ["convert", "absent.pth", "--out", str(out), "--encoder", "resnet18", option])
    assert done.exit_code == 2
    named = option.partition("=")[0]
    assert f"{named} is of SAM's checkpoints, not of an encoder's" in " ".join(done.stderr.replace("│", " ").split())


def test_an_unfinished_checkpoint_leaves_no_file(tmp_path: Path) -> None:
    torch.save({"image_encoder.blocks.0.norm1.weight": torch.zeros(1)}, tmp_path / "sam_vit.pth")
    out = tmp_path / "out.safetensors"
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "sam_vit.pth"), "-o", str(out)])
    assert isinstance(result.exception, ModelError)
    assert not out.exists()


@pytest.mark.parametrize("name", ["sam-vit-b", "sam-vit-l", "medsam", "sam-tiny"])
def test_a_promptable_model_without_a_recipe_gets_one_that_fits_it(name: str) -> None:
    recipe = chosen_recipe("default", None, model=name)
    assert recipe.model.name == name
    assert recipe.model.sam is None or recipe.preprocess.size == (recipe.model.sam.size, recipe.model.sam.size)
    assert recipe.preprocess.size is not None


def test_a_dense_model_without_a_recipe_keeps_the_defaults() -> None:
    assert chosen_recipe("default", None, model="unet").preprocess.size is None


def test_published_weights_are_a_run_without_any_training(checkpoint: Path, tmp_path: Path) -> None:
    data = write_toy(tmp_path / "data", patients=4, slices=2)
    segmed("data", "split", data, "-o", tmp_path / "split.json", "--ratios", "0.5,0.25,0.25")
    small = ("model.sam.size=64", f"model.sam.vit={VIT}", "preprocess.size=[64, 64]")
    options = [part for each in small for part in ("--set", each)]
    run = tmp_path / "published"
    segmed("convert", checkpoint, "-o", tmp_path / "medsam.safetensors")
    said = segmed("pretrained", "medsam", "--encoder-weights", tmp_path / "medsam.safetensors", "--data", data,
                  "-o", run, *options)  # fmt: skip
    assert "trained on BraTS" in said
    assert f"Next: segmed evaluate {run} --data {data} --split split.json" in said
    said = segmed("evaluate", run, "--data", data, "--split", tmp_path / "split.json", "--prompts", "gt,points",
                  "-o", tmp_path / "scores", "--no-floors")  # fmt: skip
    assert "TRAINING UNKNOWN" in said
    assert "ORACLE" in said
    image = next(path for path in sorted(data.rglob("*_2.tif")))
    segmed("predict", run, image, "-o", tmp_path / "mask.tif", "--box", "4,4,24,30")
    assert (tmp_path / "mask.tif").is_file()
    for words in (
        ("predict", run, image, "-o", tmp_path / "other.tif"),
        ("evaluate", run, "--data", data, "--split", tmp_path / "split.json", "-o", tmp_path / "alone"),
    ):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert isinstance(done.exception, ModelError)
        assert "answer to boxes and points alone. Give some" in str(done.exception)
    assert not (tmp_path / "other.tif").exists()
    assert not (tmp_path / "alone").exists()


def test_how_a_data_set_is_read_is_no_setting_without_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["pretrained", "medsam", "-o", str(tmp_path / "run"), "--labels", "a=1"])
    assert isinstance(done.exception, ConfigError)
    assert "Name it with --data" in str(done.exception)
