"""The whole way on the command line, on colour masks of two labels: split, estimate, train, evaluate, predict."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from PIL import Image as Pillow
from typer.testing import CliRunner

from commands import TINY, segmed
from segmed.cli.main import app
from segmed.core.errors import MissingDependencyError, SplitError

LABELS = "background=#000000,rim=#ff0000,cup=#00ff00"


@pytest.fixture(scope="module")
def fundus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fundus")
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number in range(8):
        mask = np.zeros((40, 44, 3), np.uint8)
        mask[8:30, 8:30] = (255, 0, 0)
        mask[14:24, 14:24] = (0, 255, 0)
        picture = np.clip(mask // 2 + rng.integers(1, 60, mask.shape), 0, 255).astype(np.uint8)
        Pillow.fromarray(picture).save(root / "images" / f"eye_{number}.png")
        Pillow.fromarray(mask).save(root / "masks" / f"eye_{number}.png")
    return root


@pytest.fixture(scope="module")
def run(fundus: Path) -> Path:
    options = ("--labels", LABELS, "--ratios", "0.5,0.25,0.25", "--each-image-is-a-patient")
    segmed("data", "split", fundus, "-o", fundus / "split.json", *options)
    segmed("train", *TINY, "--data", fundus, "--split", fundus / "split.json", "--labels", LABELS, "-o", fundus / "run")
    return fundus / "run"


def test_a_run_of_two_labels_has_two_outputs_and_knows_their_names(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    assert config["model"]["labels"] == 2
    assert config["labels"]["names"] == ["rim", "cup"]


def test_tensorboard_without_its_package_is_one_line_before_the_data_are_read(
    fundus: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmed.training.engine.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("segmed.cli.inputs.open_decoded", lambda *_, **__: pytest.fail("the data were read"))
    arguments = [
        "train",
        *TINY,
        "--data",
        str(fundus),
        "--split",
        str(fundus / "split.json"),
        "-o",
        str(tmp_path / "r"),
    ]
    result = CliRunner().invoke(app, [*arguments, "--tensorboard"])
    assert isinstance(result.exception, MissingDependencyError)
    assert 'pip install "segmed-torch[track]"' in str(result.exception)


@pytest.mark.parametrize(("rank", "printed"), [(0, True), (1, False)])
def test_of_several_processes_the_first_prints_the_run(
    fundus: Path, run: Path, monkeypatch: pytest.MonkeyPatch, rank: int, printed: bool
) -> None:
    """Each of them runs the whole command; this run is finished, so that none has to be started."""
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    options = ("--data", fundus, "--split", fundus / "split.json", "--labels", LABELS, "-o", run, "--resume")
    assert (str(run) in segmed("train", *TINY, *options).splitlines()) == printed


def test_a_split_of_images_that_look_like_slices_asks_whose_they_are(fundus: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "split", str(fundus), "-o", str(tmp_path / "a.json"), "--labels", LABELS])
    assert "look like slices of one patient" in str(result.exception)
    assert not (tmp_path / "a.json").exists()
    pairs = ("--patient-regex", r"(?P<patient>eye)_(?P<slice>[0-9])", "--labels", LABELS)
    result = CliRunner().invoke(app, ["data", "split", str(fundus), "-o", str(tmp_path / "b.json"), *pairs])
    assert "1 patient is too few" in str(result.exception)


def test_a_run_whose_split_was_edited_is_not_evaluated(fundus: Path, run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "split.json").write_text((copy / "split.json").read_text().replace('"seed": 0', '"seed": 1'))
    result = CliRunner().invoke(app, ["evaluate", str(copy), "--data", str(fundus), "--labels", LABELS])
    assert isinstance(result.exception, SplitError)
    assert "is not the split that the run was trained on" in str(result.exception)


def test_the_estimate_is_printed_as_json_on_request(fundus: Path, run: Path) -> None:
    options = ("--data", fundus, "--split", fundus / "split.json", "--labels", LABELS, "--json")
    found = json.loads(_json(segmed("estimate", *TINY, *options)))
    assert found["steps_per_epoch"] == 2


def _json(output: str) -> str:
    return output[output.index("{") :]


def test_predictions_are_colour_masks_with_overlays_beside(fundus: Path, run: Path) -> None:
    segmed("predict", run, fundus / "images", "-o", fundus / "out", "--overlays")
    names = sorted(path.name for path in (fundus / "out").iterdir())
    assert len(names) == 16
    with Pillow.open(fundus / "out" / names[0]) as mask:
        assert mask.mode == "RGB"


def test_predicting_a_bad_file_ends_with_exit_code_2_and_names_it(run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"nothing")
    result = CliRunner().invoke(app, ["predict", str(run), str(tmp_path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "bad.png" in result.output


def test_evaluation_scores_both_labels(fundus: Path, run: Path) -> None:
    segmed("evaluate", run, "--data", fundus, "--labels", LABELS)
    value = json.loads((run / "evaluation-test" / "evaluation.json").read_text())
    assert "cup" in json.dumps(value["labels"])
