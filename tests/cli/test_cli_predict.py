"""`segmed predict` says what it normalises together, replaces nothing unasked, and ends with 2 where a file is bad."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bright_run import REGEX, save, slices, written
from commands import segmed
from segmed.cli.main import app
from segmed.core.errors import ConfigError, DataError
from segmed.core.labels import LabelMap
from segmed.core.volume import Grid, Volume
from segmed.io.volumes import write_volume
from segmed.models.checkpoint import RunConfig, save_run
from segmed.models.config import ModelConfig
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = ModelConfig(name="unet", encoder="tu-test_efficientnet", encoder_weights="none", channels=1)
    config = RunConfig(model, PreprocessConfig(channels=(0,)), LabelMap(), threshold=0.5, volumes=True)
    folder = tmp_path_factory.mktemp("run")
    save_run(folder, build_model(model), config)
    return folder


def test_what_is_normalised_together_is_said_and_where_the_run_was_evaluated_otherwise(
    run: Path, tmp_path: Path
) -> None:
    root = written(tmp_path / "in")
    told = segmed("predict", run, root, "-o", tmp_path / "a", "--patient-regex", REGEX)
    assert "9 images of 3 patients, the images of each patient normalised together." in told
    assert "Warning" not in told
    alone = segmed("predict", run, root, "-o", tmp_path / "b")
    assert "9 images, each normalised by itself." in alone
    assert "Warning: each image is normalised alone" in alone
    assert "Warning: names such as" not in alone
    pooled = segmed("predict", run, root / "images", "-o", tmp_path / "c", "--volumes")
    assert "Warning: the images of one folder are normalised together, but names such as p0_1.png and p1_1" in pooled


def test_masks_are_replaced_only_where_that_is_said(run: Path, tmp_path: Path) -> None:
    root, options = written(tmp_path / "in"), ("--patient-regex", REGEX)
    segmed("predict", run, root, "-o", tmp_path / "out", *options)
    result = CliRunner().invoke(app, ["predict", str(run), str(root), "-o", str(tmp_path / "out"), *options])
    assert isinstance(result.exception, DataError)
    assert "9 masks" in segmed("predict", run, root, "-o", tmp_path / "out", *options, "--overwrite")
    (tmp_path / "out" / "p1_2.png").unlink()
    resumed = segmed("predict", run, root, "-o", tmp_path / "out", *options, "--resume")
    assert "1 mask, 8 kept as they were, whatever made them" in resumed
    both = CliRunner().invoke(app, ["predict", str(run), str(root), "-o", "x", "--overwrite", "--resume"])
    assert isinstance(both.exception, ConfigError)


def test_one_image_is_written_to_the_file_that_is_named(run: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "scan.png", slices()["p0_1"])
    segmed("predict", run, image, "-o", tmp_path / "mask.png")
    assert (tmp_path / "mask.png").is_file()


def test_one_bad_file_among_many_is_listed_and_the_others_are_predicted(run: Path, tmp_path: Path) -> None:
    root = written(tmp_path / "in")
    (root / "images" / "p1_2.png").write_bytes(b"no image")
    arguments = ["predict", str(run), str(root), "-o", str(tmp_path / "out"), "--patient-regex", REGEX]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert len(list((tmp_path / "out").iterdir())) == 8
    assert "p1_2.png: not an image" in result.output
    assert "Warning: p1: 1 of 3 slices could not be used" in result.output


def test_masks_among_the_images_are_named_and_not_predicted(run: Path, tmp_path: Path) -> None:
    for name in ("x.png", "x_mask.png"):
        save(tmp_path / "in" / name, slices()["p0_1"])
    assert "1 image file not predicted" in segmed("predict", run, tmp_path / "in", "-o", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.png"]


def test_masks_may_lie_below_the_images_when_it_goes_on(run: Path, tmp_path: Path) -> None:
    for name in ("s_1", "s_2"):
        save(tmp_path / "new" / f"{name}.png", slices()["p0_1"])
    how = ("predict", run, tmp_path / "new", "-o", tmp_path / "new" / "masks", "--volumes")
    segmed(*how)
    assert "0 masks, 2 kept as they were" in segmed(*how, "--resume")


def test_masks_of_volumes_may_lie_below_these_and_are_said_to_be_no_inputs(run: Path, tmp_path: Path) -> None:
    volume = Volume(np.arange(192, dtype=np.uint8).reshape(3, 8, 8), Grid((3, 8, 8), spacing=(5.0, 1.0, 1.0)))
    (tmp_path / "new").mkdir()
    write_volume(tmp_path / "new" / "a.nii.gz", volume)
    how = ("predict", run, tmp_path / "new", "-o", tmp_path / "new" / "masks")
    segmed(*how)
    told = segmed(*how, "--resume")
    assert "0 masks, 1 kept as they were" in told
    assert "1 volume not predicted, as results go there, such as" in told
