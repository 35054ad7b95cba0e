"""One orientation for the slices of all files, and exactly back."""

from itertools import permutations, product

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.stacking import AS_STORED, Plane, stacking
from segmed.core.volume import Grid, Volume
from volume_phantoms import volume_of

ANATOMY = {"axial": "SPL", "coronal": "PIL", "sagittal": "LIP"}


def head() -> Volume:
    """An axial series whose numbers name their own place in the patient."""
    affine = np.array([[0, 0, -1.0, 50], [0, -1.0, 0, 40], [5.0, 0, 0, -30], [0, 0, 0, 1]])
    return Volume(np.arange(3 * 5 * 7).reshape(3, 5, 7), Grid((3, 5, 7), affine))


def stored_otherwise(volume: Volume, axes: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same anatomy with its axes permuted and reversed; the affine is fitted to where corner voxels lie."""
    index = np.stack(np.meshgrid(*(np.arange(side) for side in volume.array.shape), indexing="ij"), -1)
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    array, places = volume.array.transpose(axes)[steps], index.transpose(*axes, 3)[steps]
    assert volume.grid.affine is not None
    where = places @ volume.grid.affine[:3, :3].T + volume.grid.affine[:3, 3]
    affine = np.eye(4)
    affine[:3, 3] = where[0, 0, 0]
    affine[:3, :3] = np.stack([where[1, 0, 0], where[0, 1, 0], where[0, 0, 1]], 1) - where[0, 0, 0][:, None]
    return Volume(array, Grid((array.shape[0], array.shape[1], array.shape[2]), affine))


@pytest.mark.parametrize("plane", ["acquired", *ANATOMY])
def test_however_a_head_is_stored_its_slices_are_the_same(plane: Plane) -> None:
    volume = head()
    wanted = stacking(volume.grid, plane).apply(volume)
    assert wanted.grid.orientation == ANATOMY.get(plane, "SPL")
    for axes, flips in product(permutations(range(3)), product([False, True], repeat=3)):
        other = stored_otherwise(volume, axes, flips)
        order = stacking(other.grid, plane)
        found = order.apply(other)
        np.testing.assert_array_equal(found.array, wanted.array)
        assert found.grid.is_same(wanted.grid)
        np.testing.assert_array_equal(order.undo(found.array), other.array)


def test_an_axial_series_in_dicoms_order_stays_as_it_is() -> None:
    assert stacking(head().grid) == AS_STORED


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("plane", ["acquired", *ANATOMY])
def test_oblique_and_sheared_volumes_come_back_exactly(seed: int, plane: Plane) -> None:
    volume = volume_of(seed, sheared=seed % 2 == 0)
    order = stacking(volume.grid, plane)
    found = order.apply(volume)
    np.testing.assert_array_equal(order.undo(found.array), volume.array)
    assert sorted(found.grid.spacing or ()) == pytest.approx(sorted(volume.grid.spacing or ()))
    if plane == "acquired":
        assert found.grid.spacing is not None
        assert found.grid.spacing[0] * 1.01 >= max(found.grid.spacing)
    else:
        assert found.grid.orientation == ANATOMY[plane]


def test_equal_spacings_are_cut_axially() -> None:
    coronal = Grid((3, 5, 7), np.array([[0, 0, 1.0, 0], [1.004, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]))
    assert stacking(coronal) == stacking(coronal, "axial")


def test_without_orientation_slices_stay_and_planes_are_refused() -> None:
    assert stacking(Grid((3, 5, 7), spacing=(1.0, 1.0, 5.0))) == AS_STORED
    with pytest.raises(DataError, match="Plane 'axial': the orientation of the volume is not known"):
        stacking(Grid((3, 5, 7)), "axial")
