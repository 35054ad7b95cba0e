"""Boxes, lesions and points are read off a mask as one would by eye."""

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.prompts.masks import (
    correction_point,
    lesions,
    points_beside,
    points_inside,
    tight_boxes,
    whole_mask,
)

SIZE = (23, 31)
CHANCES = np.linspace(0, 1, 400, endpoint=False)[None]


def mask_of(*blocks: tuple[int, int, int, int]) -> np.ndarray:
    """Filled rectangles (x0, y0, x1, y1), half-open."""
    mask = np.zeros(SIZE, bool)
    for x0, y0, x1, y1 in blocks:
        mask[y0:y1, x0:x1] = True
    return mask


def test_the_tight_box_of_a_rectangle_is_the_rectangle():
    assert tight_boxes(mask_of((4, 5, 11, 8))[None]).tolist() == [[4, 5, 11, 8]]


@pytest.mark.parametrize("block", [(0, 0, 1, 1), (30, 22, 31, 23), (0, 0, 31, 23), (7, 0, 8, 23)])
def test_a_box_may_be_a_pixel_or_touch_the_image_edge(block):
    assert tight_boxes(mask_of(block)[None]).tolist() == [list(block)]


def test_an_empty_object_has_no_box():
    with pytest.raises(DataError, match="Object 1 is empty"):
        tight_boxes(np.stack([mask_of((1, 1, 2, 2)), mask_of()]))


def test_no_object_has_no_box():
    assert tight_boxes(whole_mask(mask_of())).shape == (0, 4)


def test_lesions_are_ordered_by_size_then_in_reading_order():
    mask = mask_of((20, 1, 22, 3), (2, 4, 4, 6), (10, 10, 20, 20))
    assert tight_boxes(lesions(mask)).tolist() == [[10, 10, 20, 20], [20, 1, 22, 3], [2, 4, 4, 6]]


def test_lesions_together_are_the_mask():
    mask = np.random.default_rng(0).random(SIZE) < 0.3
    objects = lesions(mask)
    np.testing.assert_array_equal(objects.sum(axis=0), mask)


def test_pixels_that_touch_at_a_corner_are_one_lesion():
    assert len(lesions(mask_of((3, 3, 5, 5), (5, 5, 7, 7)))) == 1
    assert len(lesions(mask_of((3, 3, 5, 5), (6, 5, 7, 7)))) == 2


def test_small_lesions_are_left_out_but_the_largest_stays():
    mask = mask_of((1, 1, 3, 3), (10, 10, 15, 15), (20, 20, 21, 21))
    assert len(lesions(mask, min_pixels=5)) == 1
    assert len(lesions(mask, min_pixels=4)) == 2
    assert tight_boxes(lesions(mask, min_pixels=100)).tolist() == [[10, 10, 15, 15]]


def test_an_empty_mask_has_no_lesion():
    assert lesions(mask_of()).shape == (0, *SIZE)


def test_points_inside_are_pixel_centres_of_their_own_object():
    objects = np.stack([mask_of((2, 2, 9, 9)), mask_of((15, 3, 16, 20))])
    points = points_inside(objects, np.tile(CHANCES, (2, 1)))
    for one, own in zip(objects, points, strict=True):
        columns, rows = np.floor(own).astype(int).T
        assert one[rows, columns].all()
        assert (own % 1 == 0.5).all()


def test_points_far_from_the_border_are_preferred():
    objects = mask_of((5, 5, 14, 14))[None]
    points = points_inside(objects, CHANCES)[0]
    centre = (np.abs(points - 9.5) <= 1.5).all(axis=1).mean()  # of 81 pixels 9 are central
    assert centre > 2 * 9 / 81
    even = points_inside(objects, CHANCES, depth=0.0)[0]
    assert (np.abs(even - 9.5) <= 1.5).all(axis=1).mean() == pytest.approx(9 / 81, abs=0.01)


def test_the_image_edge_counts_as_border():
    points = points_inside(mask_of((0, 0, 31, 9))[None], CHANCES)[0]
    assert (points[:, 1] < 2).mean() < 0.1


def test_the_only_pixel_is_chosen_by_any_chance():
    points = points_inside(mask_of((30, 22, 31, 23))[None], CHANCES)
    assert (points == [30.5, 22.5]).all()


def test_near_misses_lie_off_the_object_and_close_to_it():
    points = points_beside(mask_of((10, 10, 15, 15))[None], CHANCES, near=3.0)[0]
    columns, rows = np.floor(points).astype(int).T
    assert not mask_of((10, 10, 15, 15))[rows, columns].any()
    away = np.maximum(np.maximum(10.5 - points, points - 14.5), 0)  # from the centre of the nearest pixel of it
    assert np.hypot(away[:, 0], away[:, 1]).max() <= 3
    assert len(np.unique(points, axis=0)) > 50


def test_where_there_is_no_room_beside_the_object_there_is_no_near_miss():
    assert np.isnan(points_beside(np.ones((1, *SIZE), bool), CHANCES, near=3.0)).all()


def test_a_correction_is_a_wrong_pixel_with_its_true_label():
    target, prediction = mask_of((2, 2, 5, 5)), mask_of((2, 2, 5, 4), (9, 9, 10, 11))
    for chance in CHANCES[0]:
        point, label = correction_point(target, prediction, float(chance))
        column, row = np.floor(point[0]).astype(int)
        assert target[row, column] != prediction[row, column]
        assert label.tolist() == [int(target[row, column])]


def test_every_wrong_pixel_can_be_corrected():
    target, prediction = mask_of((2, 2, 5, 5)), mask_of((2, 2, 5, 4), (9, 9, 10, 11))
    points = [correction_point(target, prediction, float(chance))[0][0].tolist() for chance in CHANCES[0]]
    assert len({tuple(point) for point in points}) == 3 + 2


def test_a_perfect_prediction_needs_no_correction():
    point, label = correction_point(mask_of((2, 2, 5, 5)), mask_of((2, 2, 5, 5)), 0.5)
    assert point.shape == (0, 2)
    assert label.shape == (0,)
