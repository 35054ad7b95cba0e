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
from segmed.core.errors import ModelError
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
    assert "'medical' is not one of 'sam', 'medsam'." in " ".join(done.stderr.replace("│", " ").split())


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
