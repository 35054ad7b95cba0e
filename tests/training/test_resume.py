"""A run killed for real, at a random moment, ends with the weights of one that was never stopped, bit for bit."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runs import toy_and_split
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("runs.py")


def start(root: Path, out: Path, *flags: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(root), str(out), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def kill_at_step(process: "subprocess.Popen[str]", step: int, signal_: signal.Signals) -> None:
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            if line.strip() == f"step {step}":
                process.send_signal(signal_)
                break
        else:
            pytest.fail(f"the run ended before step {step}")
        output.read()
    assert process.wait() != 0


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy data and the run that nobody stops."""
    root = tmp_path_factory.mktemp("untouched")
    toy_and_split(root)
    finish(start(root, root / "whole"))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_and_resumed_run_ends_with_bit_identical_weights(
    untouched: Path, tmp_path: Path, signal_: signal.Signals
) -> None:
    step = random.SystemRandom().randint(4, 8)
    kill_at_step(start(untouched, tmp_path / "killed"), step, signal_)
    assert not (tmp_path / "killed" / "config.json").exists(), f"killed at step {step}, yet finished"
    continued = finish(start(untouched, tmp_path / "killed", "--resume"))
    assert f"started {step // 3 * 3}" in continued or f"started {(step - 1) // 3 * 3}" in continued, continued
    one, two = (load_file(run / "model.safetensors") for run in (tmp_path / "killed", untouched / "whole"))
    assert one.keys() == two.keys()
    different = [name for name in one if not one[name].equal(two[name])]
    assert different == [], f"killed at step {step}"
