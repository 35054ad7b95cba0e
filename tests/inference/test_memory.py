"""What a block holds is seen, and what came before or between is not."""

import sys

import numpy as np
import pytest

from segmed.inference import memory
from segmed.inference.memory import PeakMemory

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the peak from a chosen moment on")
def test_only_memory_held_within_the_blocks_counts():
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
    assert smallest is not None
    assert smallest + 90 < during.mib < smallest + 150


def test_where_the_peak_cannot_be_reset_it_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "nowhere")
    peak = PeakMemory()
    with peak.measuring():
        pass
    assert peak.mib is None
