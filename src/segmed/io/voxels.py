"""What all formats of volumes have in common: how many bytes, which dtypes, which scaling."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from segmed.core.errors import DataError
from segmed.core.volume import sides

MAX_VOLUME_BYTES = 2**31
"""The largest volume, decoded, that is read: 2 GiB, such as 1024 slices of 1024 x 1024 in 16 bits."""
WIDENED = {"bool": "uint8", "float16": "float32"}
"""Dtypes that formats lack, and what is written in their place."""


def require_moderate_volume(path: Path, shape: tuple[int, ...], itemsize: int) -> None:
    """Raise `DataError` for a volume that would decode to more than `MAX_VOLUME_BYTES`."""
    if (size := math.prod(shape) * itemsize) > MAX_VOLUME_BYTES:
        raise DataError(
            f"{path}: {sides(shape)} voxels decode to {size / 2**20:.0f} MiB, more than the limit of "
            f"{MAX_VOLUME_BYTES // 2**20} MiB. Check that the file is meant; cut or resample it if so."
        )


def require_finite(path: Path, array: Shaped[np.ndarray, "..."]) -> None:
    """Raise `DataError` where floats are NaN or infinite."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int(np.count_nonzero(~np.isfinite(array)))
        raise DataError(f"{path}: {count} NaN or infinite voxels, expected finite values. Repair the volume.")


def storable(path: Path, array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """The array in a dtype that formats have: bool as uint8, 16-bit floats as 32-bit ones.

    Raises:
        DataError: Complex numbers, colours, text or floats of more than 64 bits.
    """
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise DataError(f"{path}: voxels of type {array.dtype}, expected integers or floats. Convert them.")
    return array.astype(np.dtype(WIDENED.get(array.dtype.name, array.dtype.name)), copy=False)


def scaled(array: Shaped[np.ndarray, "..."], slope: float, intercept: float) -> Shaped[np.ndarray, "..."]:
    """Stored numbers times slope plus intercept: integers by whole numbers stay so, else floats that hold them."""
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 4 and slope == int(slope) and intercept == int(intercept):
        ends = [int(array.min()) * int(slope) + int(intercept), int(array.max()) * int(slope) + int(intercept)]
        for dtype in (np.int16, np.int32):
            if np.iinfo(dtype).min <= min(ends) and max(ends) <= np.iinfo(dtype).max:
                return (array.astype(np.int64) * int(slope) + int(intercept)).astype(dtype)
    wide = np.float32 if array.dtype.itemsize <= 2 else np.float64
    with np.errstate(over="ignore", invalid="ignore"):
        return (array.astype(np.float64) * slope + intercept).astype(wide)
