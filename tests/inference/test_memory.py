"""What a block holds is seen, and what came before or between is not."""

import subprocess
import sys

import pytest

from segmed.inference import memory
from segmed.inference.memory import PeakMemory

HOLDS = """
import runpy, sys
import numpy as np

PeakMemory = runpy.run_path(sys.argv[1])["PeakMemory"]  # the file alone: its package imports torch
MIB = 2**20
before, during = np.ones(400 * MIB, np.uint8), PeakMemory()
del before
with during.measuring():
    pass
smallest = during.mib
between = np.ones(300 * MIB, np.uint8)
del between
with during.measuring():
    held = np.ones(100 * MIB, np.uint8)
    del held
print(during.mib - smallest)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the peak from a chosen moment on")
def test_only_memory_held_within_the_blocks_counts() -> None:
    """In a process of its own: from a large one the system takes memory back whenever it likes, between blocks too."""
    run = subprocess.run([sys.executable, "-c", HOLDS, memory.__file__], capture_output=True, text=True, check=True)
    assert 90 < float(run.stdout) < 150


def test_where_the_peak_cannot_be_reset_it_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "nowhere")
    peak = PeakMemory()
    with peak.measuring():
        pass
    assert peak.mib is None
