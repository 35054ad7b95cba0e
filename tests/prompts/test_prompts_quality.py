"""The IoU of boxes, and what masks make of it."""

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.prompts.quality import box_iou, quality_curve


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 0, 4, 2], [0, 0, 4, 2], 1.0),
        ([0, 0, 4, 2], [2, 0, 6, 2], 4 / 12),
        ([0, 0, 4, 2], [4, 0, 6, 2], 0.0),
        ([0, 0, 4, 2], [9, 9, 10, 10], 0.0),
        ([0, 0, 4, 4], [1, 1, 2, 2], 1 / 16),
    ],
)
def test_box_iou_is_common_over_united_area(first, second, expected):
    first, second = np.array([first], float), np.array([second], float)
    assert box_iou(first, second) == pytest.approx([expected])
    assert box_iou(second, first) == pytest.approx([expected])


def test_box_iou_equals_the_iou_of_filled_pixels():
    from segmed.prompts.grid import fill_boxes

    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 24, (2, 40, 2, 2)), axis=2)
    corners[:, :, 1] += 1
    first, second = corners.reshape(2, 40, 4).astype(float)
    one, other = fill_boxes(first, (25, 25)), fill_boxes(second, (25, 25))
    expected = (one & other).sum(axis=(1, 2)) / (one | other).sum(axis=(1, 2))
    np.testing.assert_allclose(box_iou(first, second), expected)


def test_no_boxes_have_no_iou():
    assert box_iou(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0,)


def test_the_curve_averages_both_ious_in_each_bin():
    curve = quality_curve(np.array([0.1, 0.3, 0.6, 1.0]), np.array([0.2, 0.4, 0.7, 0.9]), bins=2)
    assert curve.edges.tolist() == [0, 0.5, 1]
    assert curve.count.tolist() == [2, 2]
    np.testing.assert_allclose(curve.box_iou, [0.2, 0.8])
    np.testing.assert_allclose(curve.mask_iou, [0.3, 0.8])
    assert curve.left_out == 0


def test_a_value_on_a_border_belongs_above_and_the_last_to_the_last_bin():
    curve = quality_curve(np.array([0.0, 0.5, 1.0]), np.ones(3), bins=[0.0, 0.5, 1.0])
    assert curve.count.tolist() == [1, 2]


def test_an_empty_bin_is_nan():
    curve = quality_curve(np.array([0.9]), np.array([0.8]), bins=3)
    assert curve.count.tolist() == [0, 0, 1]
    assert np.isnan(curve.mask_iou[:2]).all()


def test_undefined_pairs_are_left_out_and_counted():
    curve = quality_curve(np.array([np.nan, 0.5, 0.6]), np.array([0.3, np.nan, 0.7]), bins=1)
    assert curve.left_out == 2
    assert curve.count.tolist() == [1]
    assert curve.mask_iou.tolist() == [0.7]


@pytest.mark.parametrize(
    ("boxes", "masks", "bins", "message"),
    [
        ([0.5], [0.5, 0.6], 2, "1 boxes and 2 masks"),
        ([1.2], [0.5], 2, "IoU 1.2 lies outside 0 to 1"),
        ([0.5], [-0.1], 2, "IoU -0.1 lies outside 0 to 1"),
        ([0.1], [0.5], [0.2, 0.8], "IoU 0.1 lies outside 0.2 to 0.8"),
        ([0.5], [0.5], 0, "at least one bin"),
        ([0.5], [0.5], [0.5, 0.2], "must rise"),
        ([0.5], [0.5], [0.5], "at least two"),
    ],
)
def test_what_makes_no_curve_is_refused(boxes, masks, bins, message):
    with pytest.raises(DataError, match=message):
        quality_curve(np.array(boxes), np.array(masks), bins)
