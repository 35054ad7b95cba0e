"""A run killed for real, at a random moment, ends with the weights of one that was never stopped, bit for bit."""

import os
import random
import signal
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch
from runs import start, toy_and_split, train_tiny
from safetensors.torch import load_file


def kill_at_step(process: ForkServerProcess, pipe: Connection, step: int, signal_: signal.Signals) -> None:
    assert process.pid is not None
    try:
        while pipe.recv() != f"step {step}":
            pass
    except EOFError:
        pytest.fail(f"the run ended before step {step}")
    os.kill(process.pid, signal_)
    read_to_the_end(pipe)
    process.join(timeout=300)
    assert process.exitcode not in (0, None)


def read_to_the_end(pipe: Connection) -> list[str]:
    said = []
    try:
        while True:
            said.append(pipe.recv())
    except (EOFError, ConnectionResetError):
        return said


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
    process, pipe = start(tmp_path, killed)
    for signal_, step in zip(signals, steps, strict=True):
        kill_at_step(process, pipe, step, signal_)
        assert not (killed / "config.json").exists(), f"{signal_.name} at step {step} of {steps}, yet finished"
        process, pipe = start(tmp_path, killed, resume=True)
    continued = read_to_the_end(pipe)
    process.join(timeout=300)
    assert process.exitcode == 0, continued
    step = steps[-1]
    assert continued[0] in {f"started {step // 3 * 3}", f"started {(step - 1) // 3 * 3}"}
    one, two = (load_file(run / "model.safetensors") for run in (killed, tmp_path / "whole"))
    assert one.keys() == two.keys()
    different = [name for name in one if not one[name].equal(two[name])]
    assert different == [], f"killed by {[each.name for each in signals]} at steps {steps}"
