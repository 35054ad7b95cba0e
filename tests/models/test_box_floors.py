"""Floors of promptable models: what the prompt alone is worth."""

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.models.box_floors import BOX_FLOORS, filled_box, inscribed_ellipse, previous_slice, whole_image
from segmed.prompts.value import Prompts

SIZE = (21, 30)


def disc(radius: float, centre: tuple[float, float]) -> np.ndarray:
    """A disc around (y, x) in continuous coordinates."""
    rows, columns = np.indices(SIZE) + 0.5
    return (np.hypot(rows - centre[0], columns - centre[1]) <= radius).astype(np.uint8)


def boxed(*boxes: list[float]) -> Prompts:
    return Prompts(boxes=list(boxes))


def test_a_filled_box_is_half_open():
    mask = filled_box(boxed([3, 2, 6, 4]), SIZE)
    assert mask.dtype == np.uint8
    assert mask.sum() == 6
    assert mask[2:4, 3:6].all()


@pytest.mark.parametrize(("radius", "centre"), [(7, (10, 14)), (6.5, (10.5, 14.5)), (10, (10, 10)), (0.5, (4.5, 7.5))])
def test_the_ellipse_in_the_box_of_a_disc_is_the_disc(radius: float, centre: tuple[float, float]):
    y, x = centre
    box = [x - radius, y - radius, x + radius, y + radius]
    np.testing.assert_array_equal(inscribed_ellipse(boxed(box), SIZE), disc(radius, centre))


def test_the_ellipse_keeps_the_area_of_a_long_box():
    mask = inscribed_ellipse(boxed([1, 3, 29, 17]), SIZE)
    assert mask.sum() == pytest.approx(np.pi / 4 * 28 * 14, rel=0.02)
    np.testing.assert_array_equal(mask, mask[:, ::-1])


@pytest.mark.parametrize("floor", [filled_box, inscribed_ellipse])
def test_the_box_of_one_pixel_gives_that_pixel(floor):
    mask = floor(boxed([29, 20, 30, 21]), SIZE)
    assert mask.sum() == 1
    assert mask[20, 29] == 1


@pytest.mark.parametrize("floor", [filled_box, inscribed_ellipse])
def test_several_boxes_are_united(floor):
    one, other = boxed([1, 1, 9, 8]), boxed([6, 5, 20, 20])
    both = floor(boxed([1, 1, 9, 8], [6, 5, 20, 20]), SIZE)
    np.testing.assert_array_equal(both, floor(one, SIZE) | floor(other, SIZE))


@pytest.mark.parametrize("floor", [filled_box, inscribed_ellipse])
@pytest.mark.parametrize("prompts", [Prompts(), Prompts(points=[[3, 4]])])
def test_without_a_box_nothing_is_predicted(floor, prompts):
    mask = floor(prompts, SIZE)
    assert mask.shape == SIZE
    assert not mask.any()


@pytest.mark.parametrize("floor", [filled_box, inscribed_ellipse])
def test_a_box_outside_the_image_is_refused(floor):
    with pytest.raises(DataError, match="leaves the image of 21x30"):
        floor(boxed([0, 0, 30, 22]), SIZE)


def test_the_whole_image_is_predicted_whatever_is_asked():
    assert whole_image(Prompts(), SIZE).sum() == 21 * 30


def test_the_previous_slices_mask_is_copied():
    masks = {4: disc(3, (10, 14)), 6: disc(5, (10, 14))}
    np.testing.assert_array_equal(previous_slice(masks, 5, SIZE), masks[4])
    np.testing.assert_array_equal(previous_slice(masks, 7, SIZE), masks[6])


def test_the_first_slice_has_no_previous_one():
    mask = previous_slice({6: disc(5, (10, 14))}, 6, SIZE)
    assert mask.shape == SIZE
    assert not mask.any()


def test_every_floor_answers_with_a_mask_of_the_image():
    for floor in BOX_FLOORS.values():
        mask = floor(boxed([3, 2, 6, 4]), SIZE)
        assert mask.shape == SIZE
        assert set(np.unique(mask)) <= {0, 1}
