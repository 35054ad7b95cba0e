import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmed.metrics import counts as m
from segmed.metrics.counts import Counts, count

REFERENCE = np.array([[1, 1, 0], [1, 1, 0]], bool)
PREDICTION = np.array([[0, 1, 1], [0, 1, 1]], bool)
EMPTY = np.zeros((2, 3), bool)


def test_counts_of_a_hand_made_pair():
    assert count(REFERENCE, PREDICTION) == Counts(tp=2, fp=2, fn=2, tn=0)


def test_formulas_of_a_hand_made_pair():
    counts = Counts(tp=2, fp=1, fn=3, tn=6)
    assert m.dice(counts) == pytest.approx(4 / 8)
    assert m.iou(counts) == pytest.approx(2 / 6)
    assert m.sensitivity(counts) == pytest.approx(2 / 5)
    assert m.precision(counts) == pytest.approx(2 / 3)
    assert m.volume_error(counts) == pytest.approx(-2 / 5)


def test_two_empty_masks_have_no_overlap_score():
    both_empty = count(EMPTY, EMPTY)
    assert all(math.isnan(f(both_empty)) for f in (m.dice, m.iou, m.sensitivity, m.precision, m.volume_error))


def test_a_miss_scores_zero_not_nan():
    missed = count(REFERENCE, EMPTY)
    assert m.dice(missed) == m.iou(missed) == m.sensitivity(missed) == 0.0
    assert m.volume_error(missed) == -1.0


def test_false_positives_without_a_reference_score_zero():
    assert m.dice(count(EMPTY, PREDICTION)) == m.precision(count(EMPTY, PREDICTION)) == 0.0


def test_counts_of_slices_add_up_to_those_of_the_volume():
    slices = [count(REFERENCE, PREDICTION), count(EMPTY, PREDICTION), count(REFERENCE, EMPTY)]
    volume = count(np.stack([REFERENCE, EMPTY, REFERENCE]), np.stack([PREDICTION, PREDICTION, EMPTY]))
    assert m.total(slices) == volume


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50))
def test_dice_and_iou_are_one_score_in_two_forms(tp, fp, fn):
    counts = Counts(tp, fp, fn, 0)
    assert m.dice(counts) == pytest.approx(2 * m.iou(counts) / (1 + m.iou(counts)))
