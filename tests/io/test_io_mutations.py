"""Damaged files: some hundred seeded mutations of every kind; benchmarks/robustness.py reads thousands."""

from pathlib import Path

from damage import OUTCOMES
from mutated_images import run


def test_damaged_files_are_refused_or_read_and_checksums_are_believed(tmp_path: Path) -> None:
    tallies = run(tmp_path, 700, seed=1)
    assert {"PNG mask", "TIFF mask", "NPZ image", "JPG image"} <= set(tallies)
    for kind, tally in tallies.items():
        assert not tally.failures, kind
        assert tally.outcomes["refused"] > 5, kind
        assert set(tally.outcomes) <= set(OUTCOMES)
