"""A run killed for real, at a random moment, ends with the weights of one that was never stopped, bit for bit."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import toy_and_split, train_tiny
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


@pytest.mark.slow
def test_a_run_killed_by_every_signal_and_resumed_ends_with_bit_identical_weights(tmp_path: Path) -> None:
    """One run is stopped three times, each time later, and goes on from its last whole epoch."""
    toy_and_split(tmp_path)
    threads = torch.get_num_threads()
    try:
        train_tiny(tmp_path, tmp_path / "whole")
    finally:
        torch.set_num_threads(threads)
    draw = random.SystemRandom()
    signals = draw.sample([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], 3)
    steps = sorted(draw.sample(range(4, 9), 3))
    killed = tmp_path / "killed"
    process = start(tmp_path, killed)
    for signal_, step in zip(signals, steps, strict=True):
        kill_at_step(process, step, signal_)
        assert not (killed / "config.json").exists(), f"{signal_.name} at step {step} of {steps}, yet finished"
        process = start(tmp_path, killed, "--resume")
    continued = finish(process)
    step = steps[-1]
    assert f"started {step // 3 * 3}" in continued or f"started {(step - 1) // 3 * 3}" in continued, continued
    one, two = (load_file(run / "model.safetensors") for run in (killed, tmp_path / "whole"))
    assert one.keys() == two.keys()
    different = [name for name in one if not one[name].equal(two[name])]
    assert different == [], f"killed by {[each.name for each in signals]} at steps {steps}"
