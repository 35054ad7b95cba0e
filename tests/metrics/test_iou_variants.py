import math

import pytest

from segmed.metrics import iou_variants
from segmed.metrics.counts import Counts
from segmed.metrics.iou_variants import IOU_VARIANTS

NOTHING = [Counts(0, 0, 0, 100)] * 2 + [Counts(0, 0, 10, 90)]
SOME = [Counts(0, 0, 0, 100), Counts(0, 5, 0, 95), Counts(6, 2, 2, 90), Counts(0, 0, 10, 90)]


def test_predicting_nothing_scores_the_share_of_empty_slices_per_image():
    assert iou_variants.per_image_empty_one(NOTHING) == pytest.approx(2 / 3)


def test_predicting_nothing_scores_zero_on_foreground():
    assert iou_variants.pooled_foreground(NOTHING) == iou_variants.positives_only(NOTHING) == 0.0


def test_predicting_nothing_scores_near_one_over_one_hot_classes():
    assert iou_variants.two_class_one_hot_micro(NOTHING) == pytest.approx(290 / 310)
    assert iou_variants.two_class_macro(NOTHING) == pytest.approx((290 / 300 + 0) / 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("iou_pooled", 6 / 25),
        ("iou_per_image_empty_one", (1 + 0 + 0.6 + 0) / 4),
        ("iou_positive_slices", (0.6 + 0) / 2),
        ("iou_two_class_macro", (375 / 394 + 6 / 25) / 2),
        ("iou_two_class_macro_per_image", (1 + 0.95 / 2 + (0.6 + 90 / 94) / 2 + 0.9 / 2) / 4),
        ("iou_one_hot_micro", 381 / (381 + 2 * 19)),
        ("iou_batch_4", 6 / 25),
    ],
)
def test_each_reading_of_a_hand_made_example(name, expected):
    assert IOU_VARIANTS[name](SOME) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("iou_pooled", 0.0),
        ("iou_positive_slices", 0.0),
        ("iou_per_image_empty_one", 13 / 20),
        ("iou_two_class_macro", 1930 / 2000 / 2),
        ("iou_two_class_macro_per_image", (13 + 7 * 0.45) / 20),
        ("iou_one_hot_micro", 1930 / 2070),
        ("iou_batch_4", 3 / 5),
        ("iou_batch_32", 0.0),
    ],
)
def test_predicting_nothing_on_twenty_slices_of_which_seven_are_a_tenth_tumour(name, expected):
    slices = [Counts(0, 0, 0, 100)] * 13 + [Counts(0, 0, 10, 90)] * 7
    assert IOU_VARIANTS[name](slices) == pytest.approx(expected)


@pytest.mark.parametrize(("size", "expected"), [(1, 2 / 3), (2, 1 / 2), (3, 0.0)])
def test_predicting_nothing_scores_less_the_larger_the_batch(size, expected):
    assert iou_variants.batch_mean(NOTHING, size) == pytest.approx(expected)


def test_a_batch_is_of_neighbours_in_order_and_the_last_may_be_smaller():
    assert iou_variants.batch_mean(SOME, 2) == pytest.approx((0 + 6 / 20) / 2)
    assert iou_variants.batch_mean(SOME, 3) == pytest.approx((6 / 15 + 0) / 2)
    assert iou_variants.batch_mean(SOME, 1) == pytest.approx(iou_variants.per_image_empty_one(SOME))


def test_foreground_variants_without_any_foreground_are_undefined():
    assert math.isnan(iou_variants.pooled_foreground(NOTHING[:2]))
    assert math.isnan(iou_variants.positives_only(NOTHING[:2]))
