"""`segmed study` as a user types it: begun in part, gone on with, and its page made again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from commands import segmed
from segmed.cli.main import app
from segmed.core.errors import ConfigError
from segmed.data.layouts.manifest import write_manifest
from segmed.data.sources import open_dataset
from toydata import write_toy

SMALL = (
    "--set", "epochs=1", "--set", "sampling.steps_per_epoch=2", "--set", "sampling.batch_size=4", "--systems=unet",
    "--protocol=patient", "--budget=smoke", "--no-estimate", "--accelerator=cpu",
)  # fmt: skip


def test_a_part_of_a_study_ends_well_and_the_rest_goes_on_with_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "cache"))
    data, out = write_toy(tmp_path / "toy", size=(33, 40)), tmp_path / "out"
    dataset = open_dataset(data)
    parts = {p: {"split": "test" if n < 2 else "train"} for n, p in enumerate(dataset.patients)}
    write_manifest(data / "manifest.csv", replace(dataset, attributes=parts))
    first = segmed("study", data, "--out", out, *SMALL, "--part=1/2", "--no-pictures", "--anonymise")
    assert "1 of 2 trainings and tests are not done" in first
    assert "No row of the study is whole yet (U-Net, by patient: not finished: 1 of 2" in first
    assert "its column 'split' is a split already, which is not used" in first
    assert not (out / "study.html").exists()
    begun = json.loads((out / "study.json").read_text())
    second = segmed("study", data, "--out", out, "--resume", "--no-estimate", "--accelerator=cpu")
    assert str(out / "study.html") in second.splitlines()
    assert json.loads((out / "study.json").read_text()) == begun
    page = (out / "study.html").read_text()
    assert "splits of the data, not used" in page
    assert "TOY_" not in page  # --anonymise and --no-pictures are the study's
    assert "data:image/png" not in page
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.zeros((33, 40), np.uint8)).save(tmp_path / "masks" / "other.png")
    own = ("--resume", "--no-estimate", "--accelerator=cpu", f"--predictions=mine={tmp_path / 'masks'}")
    refused = CliRunner().invoke(app, ["study", str(data), "--out", str(out), *own])
    assert refused.exit_code == 2
    assert "the row mine was refused: " in refused.output
    assert "no prediction for slice" in refused.output


def test_a_study_that_cannot_be_leaves_its_folder_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "cache"))
    data, out = write_toy(tmp_path / "toy", size=(33, 40)), tmp_path / "out"
    for wrong in (("--folds=30",), ("--set", "epochs=none"), ("--part=3/2",)):
        with pytest.raises(ValueError, match=r"folds|epochs|expected I/N"):
            segmed("study", data, "--out", out, *SMALL, *wrong)
        assert not out.exists()


@pytest.mark.parametrize("option", ["--split", "--from"])
def test_a_split_of_ones_own_is_refused_in_words(tmp_path: Path, option: str) -> None:
    with pytest.raises(ConfigError, match=r"deals folds of its own.*mine\.json.*segmed compare"):
        segmed("study", tmp_path, "--out", tmp_path / "out", option, "mine.json")
    assert not (tmp_path / "out").exists()
