"""Volumes on another grid: masks by the nearest voxel, images by linear interpolation."""

from typing import Literal

import numpy as np
from jaxtyping import Shaped

from segmed.core.errors import DataError
from segmed.core.volume import Affine, Grid, Shape, Volume

EDGE = 1e-4
"""Voxels by which a place may lie beyond the box of a volume's voxels and still count as inside: rounding."""


def resampled_labels(volume: Volume, grid: Grid) -> Volume:
    """Labels on another grid, each voxel from the nearest one; what lies outside of the mask's voxels is background.

    Args:
        volume: A mask.
        grid: The grid to go to.

    Raises:
        DataError: One of the two has no geometry.

    Example:
        >>> mask = Volume(np.ones((2, 2, 2), np.uint8), Grid((2, 2, 2), np.diag([2.0, 2.0, 2.0, 1.0])))
        >>> finer = np.diag([1.0, 1.0, 1.0, 1.0])
        >>> finer[:3, 3] = -0.5  # the centre of the first voxel of 1 mm in the same box
        >>> resampled_labels(mask, Grid((4, 4, 4), finer)).array.sum().item()
        64
    """
    return Volume(_at_voxels_of(grid, volume, volume.array, order=0), grid)


def resampled(volume: Volume, grid: Grid) -> Volume:
    """An image on another grid, linear between the centres of voxels; 0 outside of its voxels.

    In the outer half of a voxel at the edge the image is as at its centre.

    Args:
        volume: An image; integers stay so, rounded.
        grid: Where values are wanted, in any orientation.

    Raises:
        DataError: One of the grids has no geometry.
    """
    moved = _at_voxels_of(grid, volume, volume.array.astype(np.float64), order=1)
    dtype = volume.array.dtype
    return Volume((moved if dtype.kind == "f" else np.rint(moved)).astype(dtype), grid)


def _at_voxels_of(
    grid: Grid, volume: Volume, array: Shaped[np.ndarray, "d h w"], *, order: Literal[0, 1]
) -> Shaped[np.ndarray, "slices rows columns"]:
    """The array, which lies as `volume` does, at the voxels of a grid.

    SciPy's own fill begins at the centres of the outer voxels, half a voxel too early, and an ulp beyond them.
    """
    from scipy import ndimage  # slow to import, and needed here only

    if volume.grid.affine is None or grid.affine is None:
        raise DataError(
            "A volume without geometry cannot be resampled: both grids have to say where their voxels lie. Write it "
            "with the image's affine."
        )
    index = np.linalg.solve(volume.grid.affine, grid.affine)
    moved = ndimage.affine_transform(
        array, index[:3, :3], index[:3, 3], output_shape=grid.shape, order=order, mode="nearest"
    )
    _empty_outside(moved, volume.grid.shape, index)
    return moved


def _empty_outside(moved: Shaped[np.ndarray, "slices rows columns"], shape: Shape, index: Affine) -> None:
    """Set to 0 what has its centre outside the box of the voxels of `shape`, slice by slice: whole maps are large."""
    rows, columns = np.ogrid[tuple(slice(side) for side in moved.shape[1:])]
    for number, plane in enumerate(moved):
        for side, steps, start in zip(shape, index[:3, :3], index[:3, 3], strict=True):
            along = start + steps[0] * number + (steps[1] * rows + steps[2] * columns)
            plane[(along < -0.5 - EDGE) | (along > side - 0.5 + EDGE)] = 0
