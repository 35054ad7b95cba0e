"""The gate of the experiment on spectral shifts: filters that know the shift."""

import numpy as np
import pytest
from shift_gate import conditions, restore, verdict

from segmed.core.errors import ConfigError
from segmed.data.degrade import Degradation, degrade_volume


def textured(seed: int) -> np.ndarray:
    down, right = np.mgrid[:64, :49]
    noise = np.random.default_rng(seed).normal(0, 8, (64, 49))
    plane = 70 + 40 * np.sin(right / 5) + 30 * np.cos(down / 7) + noise
    return plane.clip(1, 255).astype(np.uint8)[..., None].repeat(3, axis=-1)


@pytest.mark.parametrize(("kind", "severity", "left"), [("bandgain", 0.75, 0.2), ("ringnoise", 0.2, 0.6)])
def test_a_filter_that_knows_the_shift_takes_most_of_it_back(kind: str, severity: float, left: float) -> None:
    clean = {str(seed): textured(seed) for seed in range(3)}
    shift = Degradation(kind, severity)
    worse = degrade_volume(clean, shift, patient="patient")
    better = restore(worse, clean, shift, patient="patient")

    def error(volume: dict[str, np.ndarray]) -> float:
        return float(np.mean([np.abs(volume[slice_id].astype(float) - clean[slice_id]).mean() for slice_id in clean]))

    assert error(better) < left * error(worse)


def test_a_shift_without_a_filter_is_refused() -> None:
    clean = {"a": textured(0)}
    with pytest.raises(ConfigError, match="no filter of the spectrum"):
        restore(clean, clean, Degradation("bias", 0.4), patient="patient")


def test_the_worst_severities_are_scored_first() -> None:
    names = [name for name, _, _ in conditions()]
    assert names[:5] == ["clean", "bandgain:1.1", "bandgain:1.1 restored", "ringnoise:0.2", "ringnoise:0.2 restored"]


def test_a_kind_is_open_where_the_filter_wins_back_two_hundredths_at_the_worst_severity() -> None:
    scores = {name: {"p": 0.8, "q": 0.9} for name, _, _ in conditions()}
    scores["bandgain:1.1"] = {"p": 0.7, "q": 0.9}
    scores["ringnoise:0.2"] = {"p": 0.78, "q": 0.9}
    lines = verdict(scores).splitlines()
    assert [line.rsplit(", ", 1)[-1] for line in lines if line.startswith(("bandgain:1.1", "ringnoise:0.2"))] == [
        "open",
        "closed",
    ]
