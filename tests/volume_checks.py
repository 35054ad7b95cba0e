"""What holds of every format of volumes: it comes back, and what is damaged is refused or read as it was."""

from pathlib import Path

import numpy as np
import pytest

from segmed import read_volume, write_volume
from segmed.core.errors import DataError
from segmed.core.volume import Grid, Volume
from volume_phantoms import volume_of

DTYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def comes_back(path: Path, volume: Volume) -> None:
    """Write it, and read the same numbers on the same grid."""
    write_volume(path, volume)
    back = read_volume(path)
    assert back.array.dtype == volume.array.dtype
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.grid.is_same(volume.grid)


def has_no_geometry_afterwards(path: Path, spacing: tuple[float, float, float] | None) -> np.ndarray:
    """Write numbers without a place in a patient, which they have not got afterwards either."""
    array = np.arange(3 * 5 * 7, dtype=np.uint8).reshape(3, 5, 7)
    write_volume(path, Volume(array, Grid((3, 5, 7), spacing=spacing)))
    grid = read_volume(path).grid
    assert (grid.has_geometry, grid.spacing) == (False, spacing)
    return array


def is_refused_wherever_it_is_cut(path: Path) -> None:
    """Cut it at every seventh byte, and lengthen it."""
    write_volume(path, volume_of(5))
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match=r"a\."):
            read_volume(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(DataError, match="damaged or truncated"):
        read_volume(path)


def refused_of_flips(path: Path, *, grid: bool) -> float:
    """Flip a bit of every byte: the share that is refused; all others are read as they were, with the `grid` or not."""
    volume = volume_of(8, "uint8")
    write_volume(path, volume)
    whole, refused = path.read_bytes(), 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            back = read_volume(path)
        except DataError:
            refused += 1
            continue
        np.testing.assert_array_equal(back.array.ravel(), volume.array.ravel())
        assert not grid or back.grid.is_same(volume.grid)
    return refused / len(whole)
