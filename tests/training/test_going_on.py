"""An interrupted run goes on as it was begun, or says in one line why it cannot."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runs import tiny_recipe, toy_and_split
from safetensors.torch import save_file

from segmed.core.errors import ConfigError
from segmed.core.files import sha256_of
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.models.dense import build_encoder
from segmed.training import Hardware, Recipe, precision, train
from segmed.training.build import fit_recipe
from segmed.training.callbacks import NoCallbacks
from segmed.training.resume import RunInputs, begin

RECIPE = tiny_recipe("epochs=2", "sampling.steps_per_epoch=2")


class Interrupting(NoCallbacks):
    """Presses Ctrl-C in the second epoch."""

    def step(self, done: int, loss: float) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[DecodedDataset, Split]:
    return toy_and_split(tmp_path_factory.mktemp("toy"))


def interrupted(toy: tuple[DecodedDataset, Split], out: Path, recipe: Recipe = RECIPE) -> Path:
    """A run stopped by Ctrl-C in its second epoch."""
    with pytest.raises(KeyboardInterrupt):
        train(recipe, data=toy[0], split=toy[1], out=out, callbacks=Interrupting(), hardware=Hardware("cpu"))
    return out


@pytest.fixture(scope="module")
def stopped(toy: tuple[DecodedDataset, Split], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run stopped in its second epoch, on a CPU that was measured to be faster in bf16."""
    with pytest.MonkeyPatch.context() as patch:
        measured(patch, 1.26)
        return interrupted(toy, tmp_path_factory.mktemp("stopped") / "run")


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def measured(patch: pytest.MonkeyPatch, speed: float) -> None:
    """Make the CPU one that has to be measured, and is found `speed` times as fast in bf16."""
    patch.setattr(precision, "_amd_family", lambda: 0)
    patch.setattr(precision, "_computes_bf16", lambda: True)
    patch.setattr(precision, "bf16_speed", lambda: speed)
    patch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


def resumed(toy: tuple[DecodedDataset, Split], run: Path, recipe: Recipe = RECIPE) -> Path:
    return train(recipe, data=toy[0], split=toy[1], out=run, resume=True, hardware=Hardware("cpu"))


def edited(file: Path, **changes: object) -> None:
    """Change keys of a JSON file; None removes one."""
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_a_damaged_checkpoint_is_named_with_what_to_do_and_without_it_the_run_begins_anew(
    toy: tuple[DecodedDataset, Split], run: Path, kept: float
) -> None:
    last = run / "resume" / "last.ckpt"
    content = last.read_bytes()
    last.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(
        ConfigError, match=r"resume/last\.ckpt: the point to resume from cannot .*; or remove it"
    ) as told:
        resumed(toy, run)
    assert len(str(told.value)) < 600
    last.unlink()
    resumed(toy, run)
    assert len((run / "metrics.csv").read_text().splitlines()) == 3


def trained_in(run: Path) -> str:
    return str(json.loads((run / "config.json").read_text())["training"]["precision"])


def test_a_run_goes_on_in_the_arithmetic_that_it_was_begun_in_and_the_log_says_so(
    toy: tuple[DecodedDataset, Split], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, 1.24)
    resumed(toy, run)
    assert trained_in(run) == "bf16-mixed"
    log = (run / "log.txt").read_text()
    assert "precision: bf16-mixed (measured here: a training step in bf16 is 1.26 times as fast as in fp32)" in log
    assert "precision: bf16-mixed (as the run was begun)" in log


def test_a_run_that_does_not_say_what_it_was_begun_in_goes_on_in_what_is_chosen_now(
    toy: tuple[DecodedDataset, Split], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, 1.24)
    edited(run / "resume" / "begun.json", precision=None)
    resumed(toy, run)
    assert trained_in(run) == "32-true"


def test_a_run_begun_in_fp16_is_not_continued_on_a_cpu_which_has_none(
    toy: tuple[DecodedDataset, Split], run: Path
) -> None:
    edited(run / "resume" / "begun.json", precision="16-mixed")
    with pytest.raises(ConfigError, match=r"run: was begun in precision 16-mixed, .* go on in bf16-mixed\. Resume on"):
        resumed(toy, run)
    assert not (run / "config.json").exists()


def test_a_run_begun_in_bf16_is_not_continued_where_it_would_be_emulated(
    toy: tuple[DecodedDataset, Split], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, 1.26)
    monkeypatch.setattr(precision, "_computes_bf16", lambda: False)
    with pytest.raises(ConfigError, match=r"run: was begun in precision bf16-mixed, .* go on in 32-true\. Resume on"):
        resumed(toy, run)
    (run / "resume" / "last.ckpt").unlink()  # of no finished epoch: begun anew
    resumed(toy, run)
    assert trained_in(run) == "32-true"


def test_a_training_in_fp16_on_a_cpu_says_what_it_computes_in(
    toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    run = train(
        tiny_recipe("epochs=1", "precision=16"), data=toy[0], split=toy[1], out=tmp_path / "run",
        hardware=Hardware("cpu"),
    )  # fmt: skip
    assert "There is no 16-mixed on a CPU: trains in bf16-mixed." in (run / "log.txt").read_text()
    assert trained_in(run) == "bf16-mixed"


def test_a_run_whose_beginning_names_no_arithmetic_that_there_is_is_not_continued(
    toy: tuple[DecodedDataset, Split], run: Path
) -> None:
    edited(run / "resume" / "begun.json", precision="8-mixed")
    with pytest.raises(ConfigError, match=r"begun\.json: precision"):
        resumed(toy, run)


def weights_file(path: Path, seed: int) -> str:
    """A file of encoder weights; its hash."""
    torch.manual_seed(seed)
    save_file(build_encoder("tu-test_efficientnet").state_dict(), path)
    return sha256_of(path)


@pytest.mark.parametrize("said", [True, False])
def test_a_resumed_run_tells_the_file_that_its_encoder_began_with(
    toy: tuple[DecodedDataset, Split], tmp_path: Path, said: bool
) -> None:
    """Where an early version did not write it, what lies there now is told."""
    weights = tmp_path / "encoder.safetensors"
    first = weights_file(weights, 0)
    recipe = tiny_recipe("epochs=2", "sampling.steps_per_epoch=2", f"model.encoder_weights={weights}")
    run = interrupted(toy, tmp_path / "run", recipe)
    second = weights_file(weights, 1)
    if not said:
        edited(run / "resume" / "begun.json", encoder_weights=None)
    resumed(toy, run, recipe)
    told = json.loads((run / "config.json").read_text())["training"]["encoder_weights"]
    assert told == {"file": "encoder.safetensors", "sha256": first if said else second}


def test_a_run_that_has_trained_no_epoch_begins_with_the_file_that_there_is_now(
    toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    weights = tmp_path / "encoder.safetensors"
    weights_file(weights, 0)
    recipe = tiny_recipe("epochs=2", "sampling.steps_per_epoch=2", f"model.encoder_weights={weights}")
    run = interrupted(toy, tmp_path / "run", recipe)
    (run / "resume" / "last.ckpt").unlink()
    second = weights_file(weights, 1)
    resumed(toy, run, recipe)
    assert json.loads((run / "config.json").read_text())["training"]["encoder_weights"]["sha256"] == second


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json"])
def test_a_finished_run_that_has_lost_a_file_is_not_overwritten_by_another(
    toy: tuple[DecodedDataset, Split], run: Path, lost: str
) -> None:
    resumed(toy, run)
    (run / lost).unlink()
    before = contents(run)
    with pytest.raises(ConfigError, match=r"run: holds .* of a run, but not what it would go on from"):
        resumed(toy, run, tiny_recipe("seed=99"))
    assert contents(run) == before


def test_an_interrupted_run_that_has_lost_its_checkpoint_folder_is_not_overwritten(
    toy: tuple[DecodedDataset, Split], run: Path
) -> None:
    shutil.rmtree(run / "resume")
    before = contents(run)
    with pytest.raises(ConfigError, match=r"holds metrics\.csv of a run, .* all of resume/\) back"):
        resumed(toy, run)
    assert contents(run) == before


def test_a_run_killed_before_it_had_begun_is_begun_anew(toy: tuple[DecodedDataset, Split], tmp_path: Path) -> None:
    inputs = RunInputs(fit_recipe(RECIPE, toy[0]), toy[1], toy[0])
    begin(tmp_path / "run", inputs, resume=False)
    (tmp_path / "run" / "resume" / "begun.json").unlink()
    begin(tmp_path / "run", replace(inputs, precision="32-true"), resume=True)
    assert json.loads((tmp_path / "run" / "resume" / "begun.json").read_text())["precision"] == "32-true"


def test_what_a_kill_left_beside_a_finished_run_is_removed_and_nothing_else(
    toy: tuple[DecodedDataset, Split], run: Path
) -> None:
    left = {path.name: path.read_bytes() for path in (run / "resume").iterdir()}
    resumed(toy, run)
    before = contents(run)
    (run / "resume").mkdir()
    for name, content in left.items():
        (run / "resume" / name).write_bytes(content)
    resumed(toy, run)
    assert contents(run) == before
    assert not (run / "resume").exists()


def test_a_finished_run_of_other_settings_keeps_what_a_kill_left(toy: tuple[DecodedDataset, Split], run: Path) -> None:
    left = (run / "resume" / "begun.json").read_bytes()
    resumed(toy, run)
    (run / "resume").mkdir()
    (run / "resume" / "begun.json").write_bytes(left)
    with pytest.raises(ConfigError, match="begun with another seed"):
        resumed(toy, run, tiny_recipe("epochs=2", "sampling.steps_per_epoch=2", "seed=8"))
    assert (run / "resume" / "begun.json").is_file()
