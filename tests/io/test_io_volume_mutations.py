"""Damaged volumes of every format are read as they were, or refused in one line that quotes no patient."""

from pathlib import Path

from damage import OUTCOMES
from mutated_volumes import run, truncate


def test_damaged_volumes_are_read_as_they_were_or_refused_in_one_line(tmp_path: Path) -> None:
    tallies = run(tmp_path, 450, seed=1)
    assert [failure for tally in tallies.values() for failure in tally.failures] == []
    assert len(tallies) == 9
    for tally in tallies.values():
        assert sum(tally.outcomes[outcome] for outcome in OUTCOMES) == 50
        assert tally.outcomes["refused"] > 5
        assert tally.slowest < 10


def test_volumes_that_are_cut_off_are_never_read_as_others(tmp_path: Path) -> None:
    tallies = truncate(tmp_path, 600, shape=(5, 17, 19))
    assert [failure for tally in tallies.values() for failure in tally.failures] == []
    assert len(tallies) == 9
    assert all(tally.outcomes["refused"] > 1 for tally in tallies.values())
