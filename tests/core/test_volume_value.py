"""Volumes and their grids: known answers."""

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.volume import Grid, Volume, as_labels
from volume_phantoms import grid_of

LPS_AXIAL = np.array([[0.9, 0, 0, -100], [0, 0.8, 0, -90], [0, 0, 5, -40], [0, 0, 0, 1.0]])
"""(column, row, slice) of a usual axial series, in DICOM's frame."""


def test_an_axial_series_of_dicom_is_turned_to_ras_and_slices_first() -> None:
    grid = Grid.of_columns_first((3, 5, 7), LPS_AXIAL, "LPS")
    assert grid.affine is not None
    np.testing.assert_array_equal(grid.affine @ (2, 1, 3, 1), (100 - 2.7, 90 - 0.8, -30, 1))
    assert grid.spacing == pytest.approx((5, 0.8, 0.9))
    assert grid.orientation == "SPL"
    assert grid.is_right_handed
    assert str(grid) == "3 x 5 x 7 voxels, 5 x 0.8 x 0.9 mm, SPL"


@pytest.mark.parametrize("frame", ["RAS", "LPS"])
@pytest.mark.parametrize("seed", range(5))
def test_columns_first_and_back_is_the_same_grid(seed: int, frame: str) -> None:
    grid = grid_of(seed)
    affine = grid.columns_first(frame)
    assert affine is not None
    assert Grid.of_columns_first(grid.shape, affine, frame).is_same(grid)


def test_reversing_one_axis_changes_the_hand() -> None:
    mirrored = LPS_AXIAL @ np.diag([1, -1, 1, 1])
    assert Grid.of_columns_first((3, 5, 7), mirrored, "LPS").is_right_handed is False


def test_a_grid_without_geometry_says_so() -> None:
    bare, spaced = Grid((3, 5, 7)), Grid((3, 5, 7), spacing=(5.0, 1.0, 1.0))
    assert (bare.has_geometry, bare.spacing, bare.orientation, bare.is_right_handed) == (False, None, None, None)
    assert "mm" not in str(bare)
    assert str(spaced) == "3 x 5 x 7 voxels, 5 x 1 x 1 mm, orientation unknown"
    assert bare.distance(spaced) == float("inf")
    assert spaced.distance(Grid((3, 5, 7), spacing=(5.0, 1.5, 1.0))) == pytest.approx(2)


def test_the_distance_is_the_furthest_corners_in_voxels() -> None:
    grid = Grid((3, 5, 7), np.diag([5.0, 2, 2, 1]))
    moved = np.diag([5.0, 2, 2, 1])
    moved[0, 3] = 1
    assert grid.distance(Grid((3, 5, 7), moved)) == pytest.approx(0.2)
    assert grid.distance(Grid((3, 5, 7), np.diag([5.0, 2, 3, 1]))) == pytest.approx(3)
    assert not grid.is_same(Grid((3, 5, 7), moved))
    assert grid.is_same(Grid((3, 5, 7), np.diag([5.0, 2, 2.0001, 1])))


def test_shear_is_told() -> None:
    assert grid_of(1).is_orthogonal is True
    assert grid_of(1, sheared=True).is_orthogonal is False


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1.0, 1, 0, 1]),
        np.diag([1.0, 1, np.nan, 1]),
        np.diag([1.0, 1, 1, 2]),
        np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    ],
    ids=["flat", "NaN", "projective", "parallel"],
)
def test_an_affine_that_places_nothing_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(DataError, match="places no volume"):
        Grid((3, 5, 7), affine)


def test_other_oddities_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="3 x 0 x 7 voxels, expected at least one"):
        Grid((3, 0, 7))
    with pytest.raises(DataError, match="expected three positive numbers"):
        Grid((3, 5, 7), spacing=(1.0, -1.0, 1.0))
    with pytest.raises(DataError, match="An array of 7 x 5 x 3 on a grid of 3 x 5 x 7 voxels"):
        Volume(np.zeros((7, 5, 3)), Grid((3, 5, 7)))


def test_labels_that_scaling_moved_are_whole_again() -> None:
    grid = Grid((1, 1, 3))
    labels = as_labels(Volume(np.array([[[0, 2.00007, 300]]]), grid), "a.nii")
    assert labels.array.dtype == np.uint16
    assert labels.array.tolist() == [[[0, 2, 300]]]
    with pytest.raises(DataError, match=r"a.nii: the value 1.5, expected whole numbers"):
        as_labels(Volume(np.array([[[0, 1.5, 3]]]), grid), "a.nii")
    with pytest.raises(DataError, match=r"a.nii: values from -1 to 3, expected labels"):
        as_labels(Volume(np.array([[[0, -1, 3]]]), grid), "a.nii")


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint16, np.uint32, np.float16, np.float32])
def test_labels_of_every_dtype_are_taken_as_they_are(dtype):
    array = np.array([[[0, 1], [1, 0]]], dtype)
    labels = as_labels(Volume(array, Grid((1, 2, 2))), "mask")
    assert labels.array.dtype == np.uint8
    assert labels.array.tolist() == [[[0, 1], [1, 0]]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_labels_that_are_no_numbers_are_refused(value: float) -> None:
    array = np.zeros((2, 3, 4))
    array[1, 1, 1] = value
    with pytest.raises(DataError, match="NaN or infinite"):
        as_labels(Volume(array, Grid(array.shape, np.eye(4))), "mask.nii.gz")
