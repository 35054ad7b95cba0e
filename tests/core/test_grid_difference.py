import math

import numpy as np
import pytest

from segmed.core.grid_difference import Mend, grid_difference, reoriented
from segmed.core.volume import Grid, Volume

SHAPE = (5, 9, 7)


def affine(angle=0.0, shift=(0.0, 0.0, 0.0), spacing=(5.0, 0.8, 1.1)):
    """Slices to the head, rows to the back, columns to the left, turned about the patient's long axis."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    directions = np.array([[0.0, sine, -cosine], [0.0, -cosine, -sine], [1.0, 0.0, 0.0]])
    found = np.eye(4)
    found[:3, :3] = directions * spacing
    found[:3, 3] = np.array([40.0, -30.0, 12.0]) + directions @ np.array(shift)
    return found


REFERENCE = Grid(SHAPE, affine())


def test_equal_grids_and_differences_below_a_thousandth_voxel_are_none():
    assert grid_difference(REFERENCE, Grid(SHAPE, affine())).same
    assert grid_difference(REFERENCE, Grid(SHAPE, affine(shift=(0.004, 0.0, 0.0)))).same
    assert not grid_difference(REFERENCE, Grid(SHAPE, affine(shift=(0.006, 0.0, 0.0)))).same


def test_a_shift_is_told_by_axis_and_millimetres():
    found = grid_difference(REFERENCE, Grid(SHAPE, affine(shift=(0.0, -2.4, 0.0))))
    assert found.findings == ("shifted by -2.4 mm along rows",)
    assert found.mend is Mend.RESAMPLE
    assert found.voxels == pytest.approx(3.0)


def test_an_oblique_grid_is_told_by_its_axes_and_degrees():
    found = grid_difference(REFERENCE, Grid(SHAPE, affine(angle=3.0)))
    assert found.findings == ("rows turned by 3 degrees", "columns turned by 3 degrees")
    assert found.mend is Mend.RESAMPLE


def test_another_spacing_and_another_size_are_told_apart():
    finer = Grid((5, 18, 7), affine(spacing=(5.0, 0.4, 1.1)))
    found = grid_difference(REFERENCE, finer)
    assert found.findings == (
        "5 x 18 x 7 voxels, in the reference 5 x 9 x 7",
        "spacing 0.4 mm along rows, in the reference 0.8 mm",
    )


@pytest.mark.parametrize("oblique", [0.0, 20.0])
def test_turned_and_swapped_axes_are_mended_exactly_without_resampling(oblique):
    grid = Grid(SHAPE, affine(oblique))
    array = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
    from segmed.core.stacking import Stacking

    stored = Stacking((2, 0, 1), (True, False, True)).apply(Volume(array, grid))
    found = grid_difference(grid, stored.grid)
    assert found.mend is Mend.REORIENT
    assert "axes run" in found.findings[0]
    back = reoriented(stored, grid)
    assert back.grid.is_same(grid)
    assert (back.array == array).all()


def test_a_mask_without_geometry_may_only_be_assumed_to_lie_there_and_only_if_its_size_fits():
    assert grid_difference(REFERENCE, Grid(SHAPE)).mend is Mend.ASSUME
    assert grid_difference(REFERENCE, Grid(SHAPE)).findings == ("the mask states no geometry",)
    assert grid_difference(Grid(SHAPE), REFERENCE).findings == ("the reference states no geometry",)
    assert grid_difference(REFERENCE, Grid((5, 9, 8))).mend is Mend.IMPOSSIBLE
    assert grid_difference(Grid(SHAPE), Grid(SHAPE)).same
    spaced = Grid(SHAPE, spacing=(5.0, 1.0, 1.0))
    other = grid_difference(spaced, Grid(SHAPE, spacing=(4.0, 1.0, 1.0)))
    assert other.findings == ("spacing 4 mm along slices, in the reference 5 mm",)
