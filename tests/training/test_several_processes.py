"""Several processes train one run together: on one slice stream, scored as by one process."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from runs import tiny_recipe, toy_and_split

from segmed.core.errors import ConfigError
from segmed.training import Hardware, train
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
