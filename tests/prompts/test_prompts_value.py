"""Prompts are checked when they are made, and never change."""

import tracemalloc

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.prompts.value import Prompts

SIZE = (37, 51)


def test_prompts_are_made_from_plain_lists():
    prompts = Prompts(boxes=[(1, 2, 3.5, 4)], points=[[2, 3]], point_labels=[0])
    assert prompts.boxes.tolist() == [[1, 2, 3.5, 4]]
    assert prompts.points.tolist() == [[2, 3]]
    assert prompts.point_labels.tolist() == [0]
    assert prompts.point_objects.tolist() == [0]


def test_a_point_is_on_the_object_where_nothing_else_is_said():
    assert Prompts(points=[[2, 3]]).point_labels.tolist() == [1]


def test_no_prompt_asks_for_no_object():
    prompts = Prompts()
    assert len(prompts) == 0
    assert prompts.boxes.shape == (0, 4)
    assert prompts.points.shape == (0, 2)
    assert prompts.logits is None


@pytest.mark.parametrize(
    ("prompts", "objects"),
    [
        (Prompts(boxes=[[0, 0, 1, 1], [0, 0, 2, 2]]), 2),
        (Prompts(points=[[1, 1], [2, 2], [3, 3]], point_objects=[0, 2, 1]), 3),
        (Prompts(points=[[1, 1], [2, 2]], point_labels=[1, 0]), 1),
        (Prompts(logits=np.zeros((4, 3, 5))), 4),
    ],
)
def test_the_length_is_the_number_of_objects(prompts, objects):
    assert len(prompts) == objects


def test_points_are_kept_in_the_order_of_their_objects():
    prompts = Prompts(points=[[1, 1], [2, 2], [3, 3]], point_labels=[1, 0, 1], point_objects=[1, 0, 0])
    assert prompts.points.tolist() == [[2, 2], [3, 3], [1, 1]]
    assert prompts.point_labels.tolist() == [0, 1, 1]


def test_prompts_cannot_be_changed():
    given = np.array([[1.0, 2.0, 3.0, 4.0]])
    prompts = Prompts(boxes=given)
    given[0, 0] = 0.5
    assert prompts.boxes[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        prompts.boxes[0, 0] = 7


def test_prompts_are_equal_only_where_every_number_is():
    one = Prompts(boxes=[[1, 2, 3, 4]], logits=np.zeros((1, 2, 2)))
    assert one == Prompts(boxes=[[1, 2, 3, 4]], logits=np.zeros((1, 2, 2)))
    assert one != Prompts(boxes=[[1, 2, 3, 4]])
    assert one != Prompts(boxes=[[1, 2, 3, 5]], logits=np.zeros((1, 2, 2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"boxes": [[0, 0, 1, 1], [8, 2, 3, 4]]}, r"Box 1 \(8, 2, 3, 4\) is inverted"),
        ({"boxes": [[1, 9, 3, 4]]}, "inverted"),
        ({"boxes": [[3, 2, 3, 4]]}, "is empty"),
        ({"boxes": [[1, 2, 3, float("nan")]]}, "not finite"),
        ({"boxes": [[1, 2, float("inf"), 4]]}, "not finite"),
        ({"boxes": [1, 2, 3, 4]}, r"Each box is a row \(x0, y0, x1, y1\), got an array of shape \(4,\)"),
        ({"boxes": [[1, 2, 3]]}, "Each box is a row"),
        ({"boxes": [[1, 2, 3, 4], [1, 2]]}, "Each box is a row .* of numbers"),
        ({"boxes": [["a", "b", "c", "d"]]}, "Each box is a row .* of numbers"),
        ({"points": [[1, float("nan")]]}, "Point 0 .* not finite"),
        ({"points": [[1, 2]], "point_labels": [2]}, "label is 1 .* or 0 .*, got 2"),
        ({"points": [[1, 2]], "point_labels": [0.5]}, "whole number"),
        ({"points": [[1, 2]], "point_objects": [1e300]}, "whole number"),
        ({"points": [[1, 2], [3, 4]], "point_labels": [1]}, "2 points have 1 labels"),
        ({"points": [[1, 2], [3, 4]], "point_objects": [0, 2]}, "Object 1 has no prompt"),
        ({"points": [[1, 2]], "point_objects": [-1]}, "names object -1"),
        ({"boxes": [[0, 0, 1, 1]], "points": [[1, 2]], "point_objects": [1]}, "names object 1, but there are 1"),
        ({"boxes": [[0, 0, 1, 1], [0, 0, 2, 2]], "points": [[1, 2]]}, "say with point_objects which one"),
        ({"boxes": [[0, 0, 1, 1]], "logits": np.zeros((2, 3, 3))}, "2 mask prompts for 1 boxes"),
        ({"logits": np.zeros((3, 3))}, "one low-resolution mask per object"),
        ({"logits": np.full((1, 3, 3), np.nan)}, "logits holds NaN"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(arguments, message):
    with pytest.raises(DataError, match=message):
        Prompts(**arguments)


def test_a_large_object_number_is_refused_without_counting_up_to_it():
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="Object 0 has no prompt"):
            Prompts(points=[[1, 2]], point_objects=[2_000_000])
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_prompts_within_the_image_are_returned_as_they_are():
    prompts = Prompts(boxes=[[0, 0, 51, 37]], points=[[51, 37], [0, 0]], point_objects=[0, 0])
    assert prompts.within(SIZE) is prompts


@pytest.mark.parametrize("box", [[-0.5, 0, 5, 5], [0, -1, 5, 5], [0, 0, 51.5, 5], [0, 0, 5, 38]])
def test_a_box_that_leaves_the_image_is_refused(box):
    with pytest.raises(DataError, match=r"Box 0 .* leaves the image of 37x51 .* cut them with clipped_to"):
        Prompts(boxes=[box]).within(SIZE)


def test_height_and_width_are_not_confused():
    Prompts(boxes=[[40, 10, 50, 20]]).within(SIZE)
    with pytest.raises(DataError, match="leaves"):
        Prompts(boxes=[[10, 40, 20, 50]]).within(SIZE)


def test_a_point_outside_the_image_is_refused():
    with pytest.raises(DataError, match=r"Point 0 .* outside the image"):
        Prompts(points=[[20, 38]]).within(SIZE)


def test_boxes_are_cut_to_the_image_where_that_is_asked_for():
    cut = Prompts(boxes=[[-4, 2, 90, 40], [3, 4, 5, 6]]).clipped_to(SIZE)
    assert cut.boxes.tolist() == [[0, 2, 51, 37], [3, 4, 5, 6]]


def test_points_outside_move_to_the_edge_where_that_is_asked_for():
    moved = Prompts(points=[[-3, 40], [5, 6]], point_labels=[1, 0]).clipped_to(SIZE)
    assert moved.points.tolist() == [[0, 37], [5, 6]]
    assert moved.point_labels.tolist() == [1, 0]


@pytest.mark.parametrize("box", [[-9, 0, -1, 5], [-9, 0, 0, 5], [51, 0, 60, 5], [3, 40, 5, 44]])
def test_a_box_wholly_outside_cannot_be_cut(box):
    with pytest.raises(DataError, match="wholly outside"):
        Prompts(boxes=[box]).clipped_to(SIZE)


def test_further_points_follow_the_earlier_ones_of_their_object():
    prompts = Prompts(boxes=[[0, 0, 9, 9], [9, 9, 20, 20]], points=[[1, 1], [10, 10]], point_objects=[0, 1])
    more = prompts.with_points([[2, 2]], [0], [0])
    assert more.points.tolist() == [[1, 1], [2, 2], [10, 10]]
    assert more.point_labels.tolist() == [1, 0, 1]
    assert more.point_objects.tolist() == [0, 0, 1]


def test_a_first_point_may_be_given_for_the_second_of_two_boxes():
    more = Prompts(boxes=[[0, 0, 9, 9], [9, 9, 20, 20]]).with_points([[10, 10]], [1], [1])
    assert more.point_objects.tolist() == [1]


def test_previous_logits_come_and_go():
    prompts = Prompts(boxes=[[0, 0, 9, 9]])
    with_logits = prompts.with_logits(np.ones((1, 4, 6)))
    assert with_logits.logits.shape == (1, 4, 6)
    assert with_logits.with_logits(None) == prompts


def test_mirrored_prompts_ask_for_the_same_place_of_the_mirrored_image():
    logits = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    prompts = Prompts(boxes=[(1, 2, 4, 8)], points=[(1.5, 2.5)], logits=logits)
    across = prompts.mirrored((20, 10), columns=True)
    assert across.boxes.tolist() == [[6, 2, 9, 8]]
    assert across.points.tolist() == [[8.5, 2.5]]
    assert np.array_equal(across.logits, logits[:, :, ::-1])
    both = prompts.mirrored((20, 10), rows=True, columns=True)
    assert both.boxes.tolist() == [[6, 12, 9, 18]]
    assert np.array_equal(both.logits, logits[:, ::-1, ::-1])
    assert both.mirrored((20, 10), rows=True, columns=True) == prompts
    assert prompts.mirrored((20, 10)) == prompts
