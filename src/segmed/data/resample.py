"""Images on another grid, by linear interpolation; for masks see `core.grid_difference.resampled_labels`."""

import numpy as np
from scipy import ndimage

from segmed.core.errors import DataError
from segmed.core.volume import Grid, Volume


def resampled(volume: Volume, grid: Grid) -> Volume:
    """The volume as it is at the voxels of another grid, linear between voxels; 0 where that one reaches beyond it.

    Args:
        volume: An image; integers stay so, rounded.
        grid: Where values are wanted, in any orientation.

    Raises:
        DataError: One of the grids has no geometry.
    """
    if volume.grid.affine is None or grid.affine is None:
        raise DataError("A volume can be resampled only where both grids say where their voxels lie.")
    index = np.linalg.solve(volume.grid.affine, grid.affine)
    moved = ndimage.affine_transform(
        volume.array.astype(np.float64), index[:3, :3], index[:3, 3], output_shape=grid.shape, order=1
    )
    dtype = volume.array.dtype
    return Volume((moved if dtype.kind == "f" else np.rint(moved)).astype(dtype), grid)
