"""Volumes on another grid: what lies in their voxels' box is kept to its edges, the rest is 0."""

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.resampling import resampled, resampled_labels
from segmed.core.volume import Grid, Volume

RESAMPLERS = (resampled, resampled_labels)


def grid(shape, spacing, first=(0.0, 0.0, 0.0)):
    """A grid along the axes, with the centre of its first voxel."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = first
    return Grid(shape, affine)


def test_labels_take_the_nearest_voxel_and_background_outside():
    array = np.zeros((5, 9, 7), np.uint8)
    array[2:4, 3:6, 2:5] = 2
    array[:, 0] = 1
    moved = resampled_labels(Volume(array, grid((5, 9, 7), (5, 1, 1), (0, 1, 0))), grid((5, 9, 7), (5, 1, 1)))
    np.testing.assert_array_equal(moved.array[:, 1:], array[:, :-1])
    assert not moved.array[:, 0].any()
    assert moved.array.dtype == np.uint8


@pytest.mark.parametrize("resample", RESAMPLERS)
def test_a_box_of_voxels_is_as_large_in_finer_voxels(resample):
    coarse = Volume(np.ones((2, 4, 4), np.uint8), grid((2, 4, 4), (2, 2, 2)))
    np.testing.assert_array_equal(resample(coarse, grid((4, 8, 8), (1, 1, 1), (-0.5,) * 3)).array, np.ones((4, 8, 8)))


def test_a_voxel_beyond_the_box_is_background_and_one_whose_centre_lies_in_it_is_not():
    mask = Volume(np.ones((1, 1, 3), np.uint8), grid((1, 1, 3), (1, 1, 1)))
    for beyond, expected in ((0.4, [1, 1, 1]), (0.6, [0, 1, 1])):
        moved = resampled_labels(mask, grid((1, 1, 3), (1, 1, 1), (0, 0, -beyond)))
        assert moved.array[0, 0].tolist() == expected


def test_an_image_is_linear_between_centres_and_level_in_the_outer_half_voxel():
    image = Volume(np.array([[[10.0, 20.0]]]), grid((1, 1, 2), (1, 1, 2)))
    moved = resampled(image, grid((1, 1, 6), (1, 1, 1), (0, 0, -1.5)))
    np.testing.assert_allclose(moved.array[0, 0], [0, 10, 12.5, 17.5, 20, 0])


def test_an_image_of_whole_numbers_stays_so_rounded():
    image = Volume(np.array([[[10, 21]]], np.int16), grid((1, 1, 2), (1, 1, 2)))
    moved = resampled(image, grid((1, 1, 2), (1, 1, 1), (0, 0, 0.5)))
    assert moved.array.dtype == np.int16
    assert moved.array[0, 0].tolist() == [13, 18]


@pytest.mark.parametrize("resample", RESAMPLERS)
def test_rounding_on_oblique_grids_empties_no_voxels_at_the_border(resample):
    rng = np.random.default_rng(0)
    for _ in range(20):
        directions, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        coarse, fine = np.eye(4), np.eye(4)
        coarse[:3, :3], fine[:3, :3] = directions * [3, 1, 1], directions * [1.5, 1, 1]
        coarse[:3, 3] = fine[:3, 3] = rng.normal(size=3) * 100
        stored = Volume(np.full((5, 16, 16), 7, np.int16), Grid((5, 16, 16), coarse))
        assert (resample(stored, Grid((9, 16, 16), fine)).array == 7).all()


@pytest.mark.parametrize("resample", RESAMPLERS)
def test_a_volume_without_geometry_is_refused(resample):
    placed = grid((1, 2, 2), (1, 1, 1))
    with pytest.raises(DataError, match="without geometry cannot be resampled"):
        resample(Volume(np.ones((1, 2, 2), np.uint8), Grid((1, 2, 2))), placed)
