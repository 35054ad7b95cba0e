"""`segmed embed` says what it will take, makes the cache that `segmed train --embeddings` uses, and refuses."""

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bright_run import save
from commands import segmed
from prompted_runs import save_prompted_run
from segmed.cli.main import app
from segmed.core.labels import LabelMap
from toydata import write_toy

MODEL = (
    "--set", "model={name: sam-tiny, encoder: test_efficientnet, encoder_weights: none}",
    "--set", "model.sam={size: 64, trains: decoder}", "--set", "preprocess.size=[64, 64]",
)  # fmt: skip
STEPS = ("--set", "sampling={batch_size: 4, steps_per_epoch: 1}", "--set", "epochs=1")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_toy(tmp_path_factory.mktemp("toy"))
    segmed("data", "split", root, "-o", root / "split.json", "--ratios", "0.5,0.25,0.25")
    return root


def error_of(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 1
    return str(result.exception)


def test_embed_then_train_then_estimate(root: Path) -> None:
    data = ("--data", root, "--split", root / "split.json")
    said = segmed("embed", "default", *MODEL, *data, "-o", root / "cache", "--views", "hflip")
    # 12 training slices in two views and 4 to 8 of validation
    assert "embeddings of 32 KiB" in said
    assert re.search(r"s each, about \d+(\.\d)? s\n", said)
    again = segmed("embed", "default", *MODEL, *data, "-o", root / "cache", "--views", "hflip")
    assert "complete, every checksum is right" in again
    cached = ("--embeddings", root / "cache", "--set", "augment=none")
    output = segmed("train", *MODEL, *STEPS, *data, "-o", root / "run", *cached)
    assert "segmed embed" not in output
    assert (root / "run" / "config.json").is_file()
    hinted = segmed("estimate", *MODEL, *STEPS, *data)
    assert "The image encoder is frozen: run it once with `segmed embed`" in hinted


def test_what_cannot_work_is_one_error_before_any_pixel_is_read(root: Path) -> None:
    data = ("--data", root, "-o", root / "other")
    assert "sam.trains is all" in error_of("embed", "default", *MODEL, *data, "--set", "model.sam.trains=all")
    assert "unet has no image encoder of its own" in error_of("embed", "default", *data)
    assert "more than --max-gib" in error_of("embed", "default", *MODEL, *data, "--max-gib", "0.0001")
    assert "Unknown view" in error_of("embed", "default", *MODEL, *data, "--views", "upside-down")
    training = ("train", *MODEL, "--data", root, "--split", root / "split.json", "-o", root / "r")
    assert "augment is not none" in error_of(*training, "--embeddings", root / "nothing")
    assert not list((root / "other").glob("shard-*"))


def test_a_run_embeds_a_data_set_whose_masks_store_its_own_labels(tmp_path: Path) -> None:
    run = save_prompted_run(tmp_path / "run", labels=LabelMap(("lesion",), (0, 100)))
    line = np.eye(64, dtype=np.uint8)
    save(tmp_path / "data" / "images" / "a_1.png", np.stack([line * 200] * 3, axis=2))
    save(tmp_path / "data" / "masks" / "a_1.png", line * 100)
    assert "1 embeddings" in segmed("embed", run, "--data", tmp_path / "data", "-o", tmp_path / "cache")
