"""`segmed distil`: what it is given is checked before anything is trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from commands import TINY, segmed
from segmed.core.errors import ConfigError
from segmed.models.checkpoint import load_config
from toydata import write_toy

SAM = (
    "--model=sam-tiny", "--encoder=test_efficientnet", "--encoder-weights=none", "--epochs=1", "--batch-size=4",
    "--set", "sampling.steps_per_epoch=1", "--set", "model.sam={size: 64}", "--set", "preprocess.size=[64, 64]",
)  # fmt: skip


@pytest.fixture(scope="module")
def toy_split(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("distil")
    write_toy(root / "data")
    segmed("data", "split", root / "data", "--out", root / "split.json")
    return root / "data", root / "split.json"


def test_a_run_is_taught_to_read_smaller_images_and_goes_on_with_masks(
    toy_split: tuple[Path, Path], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    where = ("--data", toy_split[0], "--split", toy_split[1])
    segmed("train", *SAM, *where, "--out", tmp_path / "run")
    short = ("--epochs=1", "--set", "sampling.steps_per_epoch=1", "--set", "sampling.batch_size=4")
    segmed("distil", tmp_path / "run", "--encode-at=32", *short, *where, "--out", tmp_path / "small")
    taught = load_config(tmp_path / "small")[0]
    assert taught.model.sam is not None
    assert (taught.model.sam.encode_at, taught.model.sam.size) == (32, 64)
    tuned = ("--set", f"start={tmp_path / 'small'}", "--set", "model.sam={size: 64, encode_at: 32}")
    segmed("train", *SAM, *tuned, *where, "--out", tmp_path / "tuned")
    assert load_config(tmp_path / "tuned")[0].model == taught.model


def test_a_run_without_prompts_and_a_recipe_for_masks_are_refused(toy_split: tuple[Path, Path], tmp_path: Path) -> None:
    where = ("--data", toy_split[0], "--split", toy_split[1])
    segmed("train", *TINY, "--upsampler=jbu", *where, "--out", tmp_path / "unet")
    assert load_config(tmp_path / "unet")[0].model.upsampler == "jbu"
    distil = ("distil", tmp_path / "unet", "--encode-at=32", *where, "--out", tmp_path / "out")
    with pytest.raises(ConfigError, match="unet is no promptable model"):
        segmed(*distil)
    with pytest.raises(ConfigError, match=r"learns masks\. Choose featup-encoder"):
        segmed(*distil, "--recipe", "sam-tiny")
    with pytest.raises(ConfigError, match="model, preprocess, prompting, start are the run's own"):
        segmed(*distil, "--set", "model.sam.trains=lora")


def test_a_run_is_taught_on_data_whose_masks_store_its_own_labels(tmp_path: Path) -> None:
    root = write_toy(tmp_path / "data", patients=4)
    for mask in root.rglob("*_mask.tif"):
        Pillow.fromarray(np.minimum(np.asarray(Pillow.open(mask)), 100)).save(mask)
    stored = ("--labels", "background=0,tumour=100")
    segmed("data", "split", root, "--out", tmp_path / "split.json", *stored, "--ratios", "0.5,0.25,0.25")
    where = ("--data", root, "--split", tmp_path / "split.json")
    segmed("train", *SAM, *where, *stored, "--out", tmp_path / "run")
    short = ("--epochs=1", "--set", "sampling.steps_per_epoch=1", "--set", "sampling.batch_size=4")
    segmed("distil", tmp_path / "run", "--encode-at=32", *short, *where, "--out", tmp_path / "small")
    assert load_config(tmp_path / "small")[0].labels.stored == (0, 100)
