"""Intervals over patients and seeds hold for another training."""

import math

import numpy as np
import pytest
from scipy import stats

from segmed.evaluation.seeds import interval_over_seeds


def test_one_seed_gives_students_interval_over_patients() -> None:
    values = np.array([0.5, 0.7, 0.9, np.nan])
    found = interval_over_seeds(values[None])
    low, high = stats.t.interval(0.95, 2, loc=0.7, scale=0.2 / math.sqrt(3))
    assert (found.value, found.low, found.high) == pytest.approx((0.7, low, high))


def test_seeds_that_differ_by_a_constant_give_students_interval_over_seeds() -> None:
    seeds = np.array([[0.6], [0.7], [0.8]]) + np.zeros(1000)
    found = interval_over_seeds(seeds)
    low, high = stats.t.interval(0.95, 2, loc=0.7, scale=0.1 / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_patients_are_paired_and_seeds_are_not() -> None:
    patients = np.linspace(0.1, 0.9, 40)
    ours = patients + np.array([[0.10], [0.14]])
    theirs = patients + np.array([[0.00], [0.04]])
    found = interval_over_seeds(ours, theirs)
    low, high = stats.t.interval(0.95, 2, loc=0.1, scale=0.02 * math.sqrt(2))  # patients' differences are all alike
    assert (found.value, found.low, found.high) == pytest.approx((0.1, low, high))


@pytest.mark.parametrize("seeds", [2, 3])
def test_95_percent_of_trainings_lie_inside_where_a_bootstrap_of_seeds_holds_far_fewer(seeds: int) -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        patients = generator.normal(0, 0.15, 30)
        one, other = (generator.normal(0, 0.03, (seeds, 1)) + generator.normal(0, 0.05, (seeds, 30)) for _ in "ab")
        found = interval_over_seeds(patients + one, patients + other)
        held += found.low <= 0 <= found.high
    assert held / 400 > 0.92


def test_what_cannot_be_computed_is_nan() -> None:
    assert math.isnan(interval_over_seeds(np.full((2, 3), np.nan)).value)
    alone = interval_over_seeds(np.array([[0.5], [0.7]]))
    assert alone.value == pytest.approx(0.6)
    assert math.isnan(alone.low)
    equal = interval_over_seeds(np.full((3, 5), 0.5))
    assert (equal.low, equal.high) == (0.5, 0.5)
