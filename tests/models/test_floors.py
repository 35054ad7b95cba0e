import numpy as np
import pytest

from segmed.models import floors
from segmed.models.floors import (
    interpolate_mask,
    nearest,
    predict_nothing,
    resized_mask,
    signed_distance,
    thumbnail,
)

SIZE = (21, 30)


def disc(radius: float, centre: tuple[int, int] = (10, 14), label: int = 1) -> np.ndarray:
    rows, columns = np.indices(SIZE)
    inside = np.hypot(rows - centre[0], columns - centre[1]) <= radius
    return (inside * label).astype(np.uint8)


def test_predicting_nothing_is_an_empty_mask_of_that_size():
    nothing = predict_nothing(SIZE)
    assert nothing.shape == SIZE
    assert not nothing.any()


def test_the_outline_lies_half_way_between_pixels():
    assert signed_distance(np.array([[0, 1, 1, 0]], bool)).tolist() == [[-0.5, 0.5, 0.5, -0.5]]


def test_the_outline_of_a_mask_that_fills_its_slice_is_the_edge():
    assert signed_distance(np.ones((3, 4), bool)).tolist() == [[0.5] * 4, [0.5, 1.5, 1.5, 0.5], [0.5] * 4]
    between = interpolate_mask({1: np.ones(SIZE, np.uint8), 3: disc(3)}, 2, SIZE)
    assert np.all(disc(3) <= between)
    assert 0 < between.mean() < 1


def test_between_two_discs_lies_one_of_mean_radius():
    between = interpolate_mask({1: disc(3), 3: disc(7)}, 2, SIZE)
    assert np.all(disc(4) <= between)
    assert np.all(between <= disc(5.5))


def test_the_nearer_slice_weighs_more():
    near_small = interpolate_mask({1: disc(2), 5: disc(8)}, 2, SIZE).sum()
    near_large = interpolate_mask({1: disc(2), 5: disc(8)}, 4, SIZE).sum()
    assert disc(2).sum() < near_small < near_large < disc(8).sum()


def test_between_equal_masks_lies_the_same_mask():
    np.testing.assert_array_equal(interpolate_mask({1: disc(4), 9: disc(4)}, 3, SIZE), disc(4))


def test_a_label_that_only_one_neighbour_has_is_left_out():
    assert not interpolate_mask({1: disc(4), 3: disc(4) * 0}, 2, SIZE).any()


def test_beyond_the_last_known_slice_its_mask_is_copied():
    np.testing.assert_array_equal(interpolate_mask({4: disc(4), 6: disc(2)}, 9, SIZE), disc(2))
    np.testing.assert_array_equal(interpolate_mask({4: disc(4), 6: disc(2)}, 1, SIZE), disc(4))


def test_without_a_known_slice_nothing_is_predicted():
    assert not interpolate_mask({}, 3, SIZE).any()


def test_two_labels_are_interpolated_side_by_side():
    masks = {z: disc(3, (10, 5)) + disc(3, (10, 20), label=2) for z in (1, 3)}
    np.testing.assert_array_equal(interpolate_mask(masks, 2, SIZE), masks[1])


def test_a_thumbnail_averages_blocks_and_keeps_channels_apart():
    image = np.zeros((4, 4, 2), np.uint8)
    image[:2, :2, 0] = 100
    image[0, 0, 1] = 200
    assert thumbnail(image, side=2).tolist() == [100, 0, 0, 0, 50, 0, 0, 0]


def test_the_nearest_example_is_found_for_each_query():
    examples = np.array([[0, 0], [5, 5], [9, 9]], np.float32)
    queries = np.array([[6, 6], [8, 8], [-4, -4]], np.float32)
    assert nearest(queries, examples).tolist() == [1, 2, 0]


def test_the_nearest_examples_of_many_queries_are_found_a_block_at_a_time(monkeypatch):
    generator = np.random.default_rng(0)
    queries, examples = generator.random((23, 5), np.float32), generator.random((17, 5), np.float32)
    monkeypatch.setattr(floors, "AT_A_TIME", 4)
    distances = ((queries[:, None] - examples[None]) ** 2).sum(axis=2)
    assert nearest(queries, examples).tolist() == distances.argmin(axis=1).tolist()
    assert nearest(queries[:0], examples).shape == (0,)


@pytest.mark.parametrize("size", [SIZE, (42, 60), (7, 11)])
def test_a_copied_mask_takes_the_size_that_is_asked_for(size):
    resized = resized_mask(disc(6), size)
    assert resized.shape == size
    assert resized.mean() == pytest.approx(disc(6).mean(), rel=0.15)
