"""Several processes train one run together: on one slice stream, scored as by one process."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from runs import tiny_recipe, toy_and_split

from segmed.core.errors import ConfigError
from segmed.training import Hardware, Recipe, train
from segmed.training.build import fit_recipe, prepare
from segmed.training.callbacks import NoCallbacks
from segmed.training.checkpointing import RunCheckpoint
from segmed.training.engine import make_trainer
from segmed.training.precision import Precision
from segmed.training.recipe import load_recipe
from segmed.training.resume import RunInputs, begin
from segmed.training.run_log import logged

SCRIPT = Path(__file__).with_name("runs.py")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, `dense` and `prompted`, each trained by the same two processes."""
    folder = tmp_path_factory.mktemp("several")
    toy_and_split(folder)
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_two_processes_leave_one_complete_run(trained: Path) -> None:
    run = trained / "dense"
    assert len((run / "metrics.csv").read_text().splitlines()) == 4
    assert json.loads((run / "config.json").read_text())["training"]["devices"] == 2


@pytest.mark.slow
def test_two_processes_train_a_promptable_model_whose_parts_are_not_all_used_in_each_step(trained: Path) -> None:
    assert json.loads((trained / "prompted" / "config.json").read_text())["training"]["devices"] == 2


@pytest.mark.parametrize(
    ("hardware", "cuda", "synchronised"),
    [
        (Hardware("cpu", devices=2), True, False),
        (Hardware("auto", devices=2), True, True),
        (Hardware("gpu", devices=-1), True, True),
        (Hardware("gpu", devices=1, nodes=2), True, True),
        (Hardware("gpu", devices=1), True, False),
        (Hardware("auto", devices=2), False, False),
    ],
)
def test_batch_normalisation_is_over_devices_where_several_gpus_train(
    hardware: Hardware, cuda: bool, synchronised: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert asked_of_lightning(tiny_recipe(), hardware, cuda, monkeypatch, tmp_path)["sync_batchnorm"] is synchronised


@pytest.mark.parametrize("devices", [-1, 2])
def test_promptable_models_may_leave_parameters_unused_on_several_devices(
    devices: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = asked_of_lightning(load_recipe("sam-tiny"), Hardware("gpu", devices), True, monkeypatch, tmp_path)
    assert asked["strategy"] == "ddp_find_unused_parameters_true"


def asked_of_lightning(
    recipe: Recipe, hardware: Hardware, cuda: bool, patch: pytest.MonkeyPatch, out: Path
) -> dict[str, Any]:
    """What the trainer is made with on a machine with these devices."""
    asked: dict[str, Any] = {}
    trainer = object.__new__(pl.Trainer)
    patch.setattr(torch.cuda, "is_available", lambda: cuda)
    patch.setattr("lightning.pytorch.Trainer", lambda **options: asked.update(options) or trainer)
    checkpoint = RunCheckpoint(out, patience=None, callbacks=NoCallbacks())
    make_trainer(recipe, checkpoint, hardware, Precision("32-true", "asked for"), out=out, tensorboard=False)
    return asked


def test_more_devices_than_validation_slices_are_refused_before_the_start(tmp_path: Path) -> None:
    data, split = toy_and_split(tmp_path)
    recipe, count = fit_recipe(tiny_recipe(), data), len(split.fold(0).validation)
    prepare(recipe, data=data, split=split, fold=0, rank=count - 1, world=count)
    with pytest.raises(ConfigError, match=rf"has {count} validation slices for {count + 1} devices.*fewer devices"):
        prepare(recipe, data=data, split=split, fold=0, world=count + 1)
    prepare(replace(recipe, train_on="all"), data=data, split=split, fold=0, world=count + 1)


def test_a_run_goes_on_with_as_many_processes_as_began_it(tmp_path: Path) -> None:
    data, split = toy_and_split(tmp_path)
    run, inputs = tmp_path / "run", RunInputs(tiny_recipe(), split, data, processes=2)
    begin(run, inputs, resume=False)
    begin(run, inputs, resume=True)
    with pytest.raises(ConfigError, match="was begun on 2 devices"):
        begin(run, replace(inputs, processes=1), resume=True)


def test_a_process_that_is_not_the_first_leaves_the_folder_to_that(tmp_path: Path) -> None:
    data, split = toy_and_split(tmp_path)
    with logged(tmp_path / "run", 1):
        begin(tmp_path / "run", RunInputs(tiny_recipe(), split, data), resume=False)


@pytest.mark.parametrize(
    ("hardware", "said"),
    [
        (Hardware(accelerator="tpuu"), "Cannot train with accelerator tpuu"),
        (Hardware(accelerator="cpu", devices=0), "Cannot train with accelerator cpu, devices 0"),
        (Hardware(accelerator="cpu", strategy="fsdp"), "Choose auto or ddp"),
    ],
)
def test_hardware_that_is_not_there_is_refused_in_one_line(tmp_path: Path, hardware: Hardware, said: str) -> None:
    data, split = toy_and_split(tmp_path)
    with pytest.raises(ConfigError, match=said):
        train(tiny_recipe(), data=data, split=split, out=tmp_path / "run", hardware=hardware)
    assert not (tmp_path / "run").exists()
