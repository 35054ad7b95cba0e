"""The driver of ablations: what it runs, in which order, what it leaves alone, and what it refuses."""

import shutil
import subprocess
import sys
from pathlib import Path

import ablation
import pytest
from ablation_spec import read_spec, run_folder

from segmed.core.errors import ConfigError, DataError
from segmed.training.recipe import save_recipe

SPEC = """
title: averages
seeds: [0, 1]
set: {epochs: 2}
evaluations: {test: [], again: [--part, validation]}
degrade: ["lowpass:0.5"]
variants:
  plain: {recipe: unet-cpu, set: {ema_decay: 0.0}}
  averaged: {recipe: unet-cpu, against: plain}
"""


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return path


def commands(spec_file: Path, out: Path, name: str = "plain", seed: int = 0) -> list[list[str]]:
    return list(ablation.commands(read_spec(spec_file), name, seed, out, Path("data"), Path("split.json")))


def test_a_run_has_its_variants_settings_and_seed(spec_file: Path) -> None:
    spec = read_spec(spec_file)
    plain, averaged = spec.recipe("plain", 1), spec.recipe("averaged", 1)
    assert (plain.ema_decay, plain.epochs, plain.seed) == (0.0, 2, 1)
    assert averaged.ema_decay > 0


def test_a_new_run_is_trained_and_evaluated_in_every_way(spec_file: Path, tmp_path: Path) -> None:
    train, *evaluations = commands(spec_file, tmp_path / "out")
    assert train[:2] == ["train", "unet-cpu"]
    assert "seed=0" in train
    assert "--resume" not in train
    assert [Path(each[each.index("-o") + 1]).name for each in evaluations[:2]] == [
        "evaluation-test",
        "evaluation-again",
    ]
    assert evaluations[1][-2:] == ["--part", "validation"]
    assert evaluations[2][-2:] == ["--degrade", "lowpass:0.5"]


def test_a_promptable_variant_is_done_once_every_kind_of_prompts_is(spec_file: Path, tmp_path: Path) -> None:
    spec_file.write_text(
        SPEC.replace("test: []", "test: [--prompts, 'jitter:5,none']").replace(
            "against: plain", "against: plain, train: [--embeddings, kept]"
        )
    )
    train, first, *_ = commands(spec_file, tmp_path, "averaged")
    assert train[train.index("--embeddings") + 1] == "kept"
    assert first[-2:] == ["--prompts", "jitter:5,none"]
    for kind, left in (("jitter-5", True), ("none", False)):
        done = run_folder(tmp_path, "averaged", 0) / "evaluation-test" / "prompts" / kind / "evaluation.json"
        done.parent.mkdir(parents=True)
        done.write_text("{}")
        assert any("--prompts" in each for each in commands(spec_file, tmp_path, "averaged")) == left


def test_a_run_that_broke_off_goes_on_and_what_is_done_is_left(spec_file: Path, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "out", "plain", 0)
    run.mkdir(parents=True)
    save_recipe(run / "recipe.yaml", read_spec(spec_file).recipe("plain", 0))
    assert commands(spec_file, tmp_path / "out")[0][-1] == "--resume"
    for done in ("config.json", "evaluation-test/evaluation.json", "evaluation-test-lowpass-0.5/evaluation.json"):
        (run / done).parent.mkdir(exist_ok=True)
        (run / done).touch()
    (only,) = commands(spec_file, tmp_path / "out")
    assert only[-2:] == ["--part", "validation"]


def test_a_folder_with_a_run_of_another_recipe_is_refused(spec_file: Path, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "out", "plain", 0)
    run.mkdir(parents=True)
    save_recipe(run / "recipe.yaml", read_spec(spec_file).recipe("averaged", 0))
    with pytest.raises(DataError, match="seed-0: was begun with another ema_decay"):
        commands(spec_file, tmp_path / "out")


def test_one_seed_of_all_variants_comes_before_the_next(spec_file: Path) -> None:
    runs = ablation.chosen(read_spec(spec_file), None, None)
    assert runs == [("plain", 0), ("averaged", 0), ("plain", 1), ("averaged", 1)]
    with pytest.raises(ConfigError, match=r"no variant 'unet'\. Choose from: plain, averaged"):
        ablation.chosen(read_spec(spec_file), ["unet"], None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("against: plain", "against: nothing", "averaged is against 'nothing', which is no other variant"),
        (
            "{recipe: unet-cpu, against",
            "{recipe: unet-cpu, set: {epochs: 3}, against",
            "differ in what they are trained",
        ),
        ("ema_decay: 0.0", "ema_dekay: 0.0", "unknown key 'ema_dekay'. Did you mean 'ema_decay'"),
        ("seeds: [0, 1]", "seeds: [1, 1]", "seeds without repetition"),
        ("plain:", "../plain:", "is no name"),
    ],
)
def test_a_spec_that_makes_no_study_is_refused(spec_file: Path, old: str, new: str, message: str) -> None:
    spec_file.write_text(SPEC.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        read_spec(spec_file)


def test_a_run_that_fails_is_reported_and_the_others_go_on(
    spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []

    def run(command: list[str], **options: object) -> "subprocess.CompletedProcess[str]":
        ran.append(command[3:])
        return subprocess.CompletedProcess(command, 1 if "ema_decay=0.0" in command and "seed=0" in command else 0)

    monkeypatch.setattr(subprocess, "run", run)
    arguments = [str(spec_file), "--data", "data", "--split", "split.json", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["ablation.py", *arguments])
    assert ablation.main() == 1
    assert [each[0] for each in ran] == ["train"] + 3 * ["train", "evaluate", "evaluate", "evaluate"]
    assert "failed: " + str(tmp_path / "out" / "plain" / "seed-0") in capsys.readouterr().err
    assert (tmp_path / "out" / "spec.yaml").read_text() == SPEC


def test_a_run_that_another_command_holds_is_left_to_it(tmp_path: Path) -> None:
    with ablation.exclusive_lock(tmp_path / "lock") as first, ablation.exclusive_lock(tmp_path / "lock") as second:
        assert (first, second) == (True, False)


def test_the_specs_that_come_with_segmed_can_be_read() -> None:
    for path in Path(ablation.__file__).parent.glob("*.yaml"):
        assert len(read_spec(path).seeds) >= 3, path


def test_a_studys_folder_is_read_without_the_folder_of_its_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = tmp_path / "studies"
    (studies / "recipes").mkdir(parents=True)
    (studies / "recipes" / "own.yaml").write_text("model: {name: unet}\nepochs: 3\n")
    spec_file = studies / "study.yaml"
    spec_file.write_text(SPEC.replace("recipe: unet-cpu", "recipe: recipes/own.yaml"))
    out = tmp_path / "elsewhere" / "out"
    ablation.keep_spec(spec_file, read_spec(spec_file), out)
    shutil.rmtree(studies)
    monkeypatch.chdir(tmp_path)
    assert read_spec(out / "spec.yaml").recipe("plain", 0).epochs == 2
    assert (out / "recipes" / "own.yaml").read_text().endswith("epochs: 3\n")


def test_saying_what_would_be_run_writes_nothing(
    spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ["ablation.py", str(spec_file), "--data", "data", "--split", "split.json", "--out", str(out), "--dry-run"]
    monkeypatch.setattr(sys, "argv", given)
    assert ablation.main() == 0
    assert "plain seed 0: segmed train unet-cpu" in capsys.readouterr().out
    assert not out.exists()
