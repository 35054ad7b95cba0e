"""A cascade is made by one command, and evaluated and applied like a run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from commands import segmed
from prompted_runs import MODEL, run_config, save_prompted_run
from segmed.cli.main import app
from segmed.core.errors import ConfigError
from segmed.core.files import sha256_of
from segmed.data.splits import split_by_patient
from segmed.inference.cascade import CascadeConfig, save_cascade
from segmed.models.checkpoint import RunConfig, copy_run, load_run, save_run
from segmed.models.config import ModelConfig
from segmed.models.prediction import PredictionConfig
from segmed.models.seen import seen_patients
from segmed.models.training_facts import TrainingFacts
from segmed.models.zoo import build_model
from toydata import toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, and a dense and a promptable run of the same split, both with random weights."""
    root = tmp_path_factory.mktemp("cascade")
    data = toy(root, slices=2)
    split = split_by_patient(data, ratios=(0.5, 0.25, 0.25))
    for name in ("dense", "sam"):
        split.save(root / name / "split.json")
    facts = {
        "data_hash": data.data_hash,
        "split_hash": sha256_of(root / "dense" / "split.json"),
        "seen": seen_patients(split, 0),
        "training": TrainingFacts(seconds=1.0),
    }
    model = ModelConfig(name="unet", encoder="tu-test_efficientnet", encoder_weights="none")
    dense = RunConfig(model, run_config().preprocess, run_config().labels, threshold=0.5, **facts)  # type: ignore[arg-type]
    save_run(root / "dense", build_model(model).eval(), dense)
    save_prompted_run(root / "sam", **facts)
    return root


def evaluation(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return values


def test_it_is_made_evaluated_and_applied(folder: Path, tmp_path: Path) -> None:
    out = folder / "cascade"
    options = ("--data", folder, "--device", "cpu")
    said = segmed("cascade", folder / "dense", folder / "sam", *options, "-o", out, "--prompts", "box+point+mask")
    assert "on which it was chosen" in said
    chosen = json.loads((out / "cascade.json").read_text())
    assert chosen["chosen"]["dice"] >= chosen["chosen"]["dice_of_dense_run"]
    assert chosen["dense"]["folder"] == "../dense"
    segmed("evaluate", out, *options, "--no-floors", "--resamples", "100")
    result = evaluation(out / "evaluation-test")
    assert result["provenance"]["model"] == f"unet + {MODEL.name}"
    segmed(
        "evaluate", folder / "sam", *options, "--prompts", "cascade,none", "--cascade", out, "--no-floors",
        "--resamples", "100",
    )  # fmt: skip
    asked = evaluation(folder / "sam" / "evaluation-test" / "prompts" / "cascade")
    assert asked["metrics"]["dice"] == result["metrics"]["dice"]
    assert not asked["oracle"]
    assert asked["threshold"] == result["threshold"] == 0.5
    assert asked["cost"]["parameters"] == result["cost"]["parameters"]
    assert asked["cost"]["training_seconds"] == result["cost"]["training_seconds"] == 2.0
    own = ("run", "model", "encoder", "training", "test_time_augmentation")
    assert [asked["provenance"][key] for key in own] == [result["provenance"][key] for key in own]
    alone = evaluation(folder / "sam" / "evaluation-test" / "prompts" / "none")
    assert alone["threshold"] == run_config().threshold
    assert alone["provenance"]["model"] == MODEL.name
    image = next(folder.glob("kaggle_3m/*/*_2.tif"))
    assert "1 mask\n" in segmed("predict", out, image, "-o", tmp_path, "--device", "cpu")


def test_small_components_are_removed_alike_of_a_cascade_and_of_one_that_is_asked(folder: Path, tmp_path: Path) -> None:
    trained = load_run(folder / "dense")
    removing = replace(trained.config, prediction=PredictionConfig(smallest_share=1))
    dense, out, options = tmp_path / "dense", tmp_path / "cascade", ("--data", folder, "--device", "cpu")
    save_run(dense, trained.model, removing)
    shutil.copy(folder / "dense" / "split.json", dense)
    segmed("cascade", dense, folder / "sam", *options, "-o", out)
    segmed("evaluate", out, *options, "--no-floors", "--resamples", "100")
    segmed(
        "evaluate", folder / "sam", *options, "--prompts", "cascade", "--cascade", out, "--no-floors",
        "--resamples", "100", "-o", tmp_path / "scores",
    )  # fmt: skip
    own, asked = evaluation(out / "evaluation-test"), evaluation(tmp_path / "scores" / "prompts" / "cascade")
    assert own["metrics"] == asked["metrics"]
    assert own["provenance"]["smallest_component"] == asked["provenance"]["smallest_component"]
    assert own["provenance"]["smallest_component"]["share of the largest"] == 1


def test_flips_reach_the_dense_run_of_a_cascade_that_is_asked(folder: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "cascade", ("--data", folder, "--device", "cpu")
    segmed("cascade", folder / "dense", folder / "sam", *options, "-o", out)
    segmed(
        "evaluate", folder / "sam", *options, "--prompts", "cascade", "--cascade", out, "--tta", "flips", "--no-floors",
        "--resamples", "100", "-o", tmp_path / "scores",
    )  # fmt: skip
    asked = evaluation(tmp_path / "scores" / "prompts" / "cascade")
    assert asked["provenance"]["test_time_augmentation"] == "flips"


def test_the_kind_needs_the_folder_and_the_folder_the_kind(folder: Path) -> None:
    common = ["evaluate", str(folder / "sam"), "--data", str(folder), "--device", "cpu", "--prompts"]
    assert "named with --cascade" in str(CliRunner().invoke(app, [*common, "cascade"]).exception)
    other = CliRunner().invoke(app, [*common, "none", "--cascade", str(folder / "dense")])
    assert "add it, as in --prompts" in str(other.exception)
    wrong = CliRunner().invoke(app, [*common, "cascade", "--cascade", str(folder / "dense")])
    assert "is not a folder made by `segmed cascade`" in str(wrong.exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dense", "sam", "--prompts", "boxes"), "Choose among: box, box+point"),
        (("dense", "dense"), "takes no prompts. Name the promptable run second"),
    ],
)
def test_what_makes_no_cascade_is_refused(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    dense, promptable, *more = arguments
    paths = [str(folder / dense), str(folder / promptable)]
    command = ["cascade", *paths, "--data", str(folder), "-o", str(folder / "none"), "--device", "cpu", *more]
    assert words in str(CliRunner().invoke(app, command).exception)
    assert not (folder / "none").exists()


def test_an_ensemble_is_refused_before_anything_is_tuned(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "ensemble.json").write_text("{}")
    with pytest.raises(ConfigError, match="both: is not a run's folder"):
        segmed("cascade", tmp_path / "both", folder / "sam", "--data", folder, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cascade_is_not_written_among_other_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text("a split of the user's")
    with pytest.raises(ConfigError, match="already holds files, and not a cascade"):
        segmed("cascade", folder / "dense", folder / "sam", "--data", folder, "-o", tmp_path)
    assert (tmp_path / "split.json").read_text() == "a split of the user's"


def test_a_cascade_made_anew_of_a_run_without_a_split_keeps_none_of_before(folder: Path, tmp_path: Path) -> None:
    save_cascade(tmp_path / "out", folder / "dense", folder / "sam", CascadeConfig(), {}, copy=True)
    assert (tmp_path / "out" / "split.json").is_file()
    assert (tmp_path / "out" / "dense" / "split.json").is_file()
    bare = copy_run(folder / "dense", tmp_path / "bare")
    (bare / "split.json").unlink()
    save_cascade(tmp_path / "out", bare, folder / "sam", CascadeConfig(), {}, copy=True)
    assert not (tmp_path / "out" / "split.json").exists()
    assert not (tmp_path / "out" / "dense" / "split.json").exists()
