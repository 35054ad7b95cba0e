import math

import numpy as np

from segmed.metrics.counts import Counts
from segmed.metrics.lesions import lesion_counts, lesion_scores

EMPTY = np.zeros((5, 14, 19), bool)


def with_boxes(*corners: tuple[int, int, int], side: int = 3) -> np.ndarray:
    volume = EMPTY.copy()
    for z, y, x in corners:
        volume[z : z + side, y : y + side, x : x + side] = True
    return volume


def test_found_invented_and_missed_lesions_are_counted():
    reference = with_boxes((0, 0, 0), (0, 10, 0))
    prediction = with_boxes((0, 0, 1), (1, 10, 15))
    assert lesion_counts(reference, prediction) == Counts(tp=1, fp=1, fn=1, tn=0)
    scores = lesion_scores(reference, prediction)
    assert (scores.lesions, scores.precision, scores.recall, scores.f1) == (2, 0.5, 0.5, 0.5)


def test_a_lesion_hit_by_less_than_a_tenth_is_missed():
    reference = with_boxes((0, 0, 0))
    assert lesion_counts(reference, with_boxes((2, 2, 1))) == Counts(tp=0, fp=1, fn=1, tn=0)  # IoU 2 / 52


def test_fragments_below_ten_voxels_are_ignored_on_both_sides():
    speck = with_boxes((0, 5, 5), side=2)
    assert lesion_counts(speck, EMPTY) == lesion_counts(EMPTY, speck) == Counts(0, 0, 0, 0)


def test_boxes_touching_at_a_corner_are_one_lesion():
    assert lesion_counts(with_boxes((0, 0, 0), (2, 3, 3)), EMPTY).fn == 1


def test_one_blob_over_two_lesions_finds_only_one():
    reference = with_boxes((0, 0, 0), (0, 0, 5))
    prediction = EMPTY.copy()
    prediction[0:3, 0:3, 0:8] = True
    assert lesion_counts(reference, prediction) == Counts(tp=1, fp=0, fn=1, tn=0)


def test_the_pairing_is_the_best_one_rather_than_the_first_one():
    reference, prediction = EMPTY.copy(), EMPTY.copy()
    reference[0:3, 0:10, 0:10] = True
    reference[0:3, 0:10, 11:14] = True
    prediction[0:3, 0:10, 4:13] = True  # the first in order: IoU 0.46 with the first lesion, 0.20 with the second
    prediction[0:3, 1:10, 0:3] = True  # IoU 0.27 with the first lesion, 0 with the second
    assert lesion_counts(reference, prediction) == Counts(tp=2, fp=0, fn=0, tn=0)


def test_a_missed_patient_has_recall_zero_and_no_precision():
    scores = lesion_scores(with_boxes((0, 0, 0)), EMPTY)
    assert scores.recall == scores.f1 == 0.0
    assert math.isnan(scores.precision)


def test_nothing_to_find_and_nothing_found_has_no_score():
    scores = lesion_scores(EMPTY, EMPTY)
    assert math.isnan(scores.precision)
    assert math.isnan(scores.recall)
    assert math.isnan(scores.f1)
