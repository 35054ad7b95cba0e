"""Overlays: contours on known squares, at odd and non-square sizes."""

import io

import numpy as np
import pytest
from PIL import Image as PillowImage

from segmed.core.errors import DataError
from segmed.core.image import shown_channel
from segmed.evaluation.overlays import (
    PREDICTION_COLOUR,
    REFERENCE_COLOUR,
    crop_box,
    grey,
    outline,
    overlay,
    png_bytes,
)


def square(top: int, left: int, side: int, shape: tuple[int, int] = (21, 17), label: int = 1) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[top : top + side, left : left + side] = label
    return mask


def marked(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(axis=-1)


def test_the_prediction_line_lies_inside_and_the_reference_line_outside_so_that_equal_masks_show_both():
    mask = square(5, 6, 5)
    picture = overlay(np.zeros((21, 17, 3), np.uint8), mask, mask)
    assert marked(picture, PREDICTION_COLOUR).sum() == 16  # the rim of a 5x5 square
    assert marked(picture, REFERENCE_COLOUR).sum() == 20  # its 4-connected neighbours
    assert not (marked(picture, REFERENCE_COLOUR) & (mask > 0)).any()


def test_every_label_is_outlined_even_where_two_labels_touch():
    mask = square(3, 3, 4) + square(3, 7, 4, label=2)
    line = outline(mask, 1, outside=False)
    assert line.sum() == 12 + 12


def test_an_empty_prediction_draws_no_prediction_line():
    picture = overlay(np.zeros((21, 17, 1), np.int16), square(5, 6, 5), np.zeros((21, 17), np.uint8))
    assert not marked(picture, PREDICTION_COLOUR).any()
    assert marked(picture, REFERENCE_COLOUR).any()


def test_without_reference_and_image_only_the_prediction_is_drawn():
    picture = overlay(None, None, square(5, 6, 5))
    assert not marked(picture, REFERENCE_COLOUR).any()
    assert marked(picture, PREDICTION_COLOUR).sum() == 16


def test_scale_enlarges_the_picture_and_thickness_the_line():
    picture = overlay(np.zeros((21, 17, 3), np.float32), None, square(5, 6, 5), scale=3, thickness=2)
    assert picture.shape == (63, 51, 3)
    assert marked(picture, PREDICTION_COLOUR).sum() == 15**2 - 11**2


def test_grey_takes_the_middle_channel_by_default_and_stretches_it():
    image = np.zeros((3, 5, 3), np.uint16)
    image[0, :, 1] = 4000
    image[1, :, 2] = 9
    assert grey(image).tolist() == [[255] * 5, [0] * 5, [0] * 5]
    assert grey(image, channel=2).tolist() == [[0] * 5, [255] * 5, [0] * 5]


def test_grey_shows_not_finite_pixels_as_black():
    image = np.array([[[np.nan], [1.0], [2.0]]], np.float32)
    assert grey(image)[0].tolist() == [0, 0, 255]
    assert grey(np.full((2, 3, 1), np.inf, np.float32)).max() == 0


def test_a_channel_that_does_not_exist_is_named():
    with pytest.raises(DataError, match="Channel 3 does not exist: the image has channels 0 to 2"):
        overlay(np.zeros((21, 17, 3), np.uint8), None, square(5, 6, 5), channel=3)


def test_a_prediction_on_another_grid_is_refused():
    with pytest.raises(DataError, match="reference is 21x17 but the prediction is 17x21"):
        overlay(None, square(5, 6, 5), np.zeros((17, 21), np.uint8))


def test_png_bytes_keep_size_and_contour_colours():
    picture = overlay(np.zeros((21, 17, 3), np.uint8), square(5, 6, 5), square(6, 6, 5))
    read = np.asarray(PillowImage.open(io.BytesIO(png_bytes(picture))).convert("RGB"))
    assert np.array_equal(read, picture)


def test_the_crop_holds_all_marks_and_stays_in_the_slice():
    reference, prediction = square(0, 0, 8, (200, 120)), square(60, 30, 20, (200, 120))
    rows, columns = crop_box(reference, prediction)
    assert (rows.start, columns.start) == (0, 0)
    assert rows.stop >= 80
    assert columns.stop == 120


def test_the_crop_of_empty_masks_is_the_whole_slice():
    assert crop_box(None, np.zeros((20, 30), np.uint8)) == (slice(0, 20), slice(0, 30))


def test_a_prediction_without_image_is_filled():
    inside = overlay(None, None, square(5, 6, 5))[7, 8]
    outside = overlay(None, None, square(5, 6, 5))[0, 0]
    assert inside.tolist() != outside.tolist()


@pytest.mark.parametrize(("channels", "expected"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_the_middle_channel_stands_for_an_image(channels, expected):
    assert shown_channel(channels) == expected


def test_a_picture_in_colour_is_shown_in_colour_unless_a_channel_is_chosen():
    image = np.zeros((9, 7, 3), np.uint8)
    image[:] = (200, 30, 90)
    empty = np.zeros((9, 7), np.uint8)
    assert (overlay(image, None, empty, in_colour=True, scale=2) == (200, 30, 90)).all()
    one = overlay(image, None, empty, in_colour=True, channel=0)
    assert (one == one[..., :1]).all()


def test_what_are_no_three_8_bit_channels_is_shown_in_grey():
    empty = np.zeros((9, 7), np.uint8)
    for image in (np.full((9, 7, 1), 5, np.uint8), np.full((9, 7, 3), 0.5, np.float32)):
        picture = overlay(image, None, empty, in_colour=True)
        assert (picture == picture[..., :1]).all()
