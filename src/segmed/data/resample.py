"""Volumes on another grid: linear for images, nearest voxel for masks."""

import numpy as np
from scipy import ndimage

from segmed.core.errors import DataError
from segmed.core.volume import Grid, Volume


def resampled(volume: Volume, grid: Grid, *, labels: bool = False) -> Volume:
    """The volume as it is at the voxels of another grid; 0 where that one reaches beyond it.

    Args:
        volume: Any voxels; integers stay so, rounded.
        grid: Where values are wanted, in any orientation.
        labels: Take the nearest voxel, so that no value appears that was not there; else interpolate linearly.

    Raises:
        DataError: One of the grids has no geometry.
    """
    if volume.grid.affine is None or grid.affine is None:
        raise DataError("A volume can be resampled only where both grids say where their voxels lie.")
    index = np.linalg.solve(volume.grid.affine, grid.affine)
    dtype = volume.array.dtype
    moved = ndimage.affine_transform(
        volume.array if labels else volume.array.astype(np.float64),
        index[:3, :3],
        index[:3, 3],
        output_shape=grid.shape,
        order=0 if labels else 1,
        mode="grid-constant" if labels else "constant",
        cval=0,
    )
    return Volume((moved if labels or dtype.kind == "f" else np.rint(moved)).astype(dtype), grid)
