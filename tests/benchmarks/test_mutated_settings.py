"""Damaged settings, tables and weights: some hundred seeded mutations; benchmarks/robustness.py reads thousands."""

from pathlib import Path

from mutated_settings import OUTCOMES, run


def test_damaged_settings_are_a_value_or_one_line_that_names_the_file(tmp_path: Path) -> None:
    tallies = run(tmp_path, 300, seed=1)
    assert len(tallies) == 32
    assert {"split.json", "run: config.json", "recipe.yaml", "embeddings: shard", "FeatUp: .pth"} <= set(tallies)
    for kind, tally in tallies.items():
        assert not tally.failures, kind
        assert set(tally.outcomes) <= set(OUTCOMES)
    assert sum(tally.outcomes["refused"] for tally in tallies.values()) > 200
    assert sum(tally.outcomes["value"] for tally in tallies.values()) > 10
