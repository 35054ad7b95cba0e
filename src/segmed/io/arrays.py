"""NPY and NPZ. Pickled objects are never loaded: they run code."""

import io
import math
import threading
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from segmed.core.errors import DataError
from segmed.core.wording import plural
from segmed.io.fairseg import IMAGE_KEYS, MASK_KEYS, as_labels
from segmed.io.pixels import MAX_DECODED_BYTES, Pixels, require_moderate_size
from segmed.io.refusals import damaged

_one_header_at_a_time = threading.Lock()
"""numpy parses a header by `ast.literal_eval`. Two threads in it at once can raise a SystemError in Python 3.11, where
the parser's depth is one number for all threads: whole files were then called damaged."""


def read_npy(path: Path) -> Pixels:
    """Read an NPY file."""
    try:
        with path.open("rb") as file:
            return Pixels(_read_array(path, file, path.stat().st_size))
    except DataError:
        raise
    except Exception as error:  # numpy raises several types for a damaged header
        raise damaged(path, "NPY", error) from error


def read_npz(path: Path, wanted: str) -> Pixels:
    """Read the array called `wanted` from an NPZ file, or as FairSeg calls it, or its only array whatever the name."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = _choose(path, archive, wanted)
            array = read_member(path, archive, member)
        return Pixels(as_labels(path, array) if member.filename.removesuffix(".npy") in MASK_KEYS else array)
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise damaged(path, "NPZ", error) from error


def read_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array of an open NPZ file.

    Raises:
        DataError: for pickled objects, for one that expands beyond the limit or is packed by another method than
            numpy's, and where the array's own header does not fit its size.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{path}: {member.filename} is packed by method {member.compress_type}, expected stored or deflated. "
            "Save it with numpy.savez_compressed."
        )
    if member.file_size > MAX_DECODED_BYTES:
        raise DataError(
            f"{path}: {member.filename} expands to {member.file_size / 2**20:.0f} MiB, more than the limit "
            f"of {MAX_DECODED_BYTES // 2**20} MiB. Check that the file is meant."
        )
    with archive.open(member) as packed:
        content = packed.read(member.file_size + 1)
    return _read_array(path, io.BytesIO(content), len(content))


def write_npy(path: Path, array: UInt8[np.ndarray, "..."]) -> None:
    """Write an NPY file."""
    with path.open("wb") as file:  # numpy adds .npy to a name that ends in anything else, as in .NPY
        np.save(file, array, allow_pickle=False)


def write_npz(path: Path, array: UInt8[np.ndarray, "..."]) -> None:
    """Write a compressed NPZ file whose only array is called `mask`."""
    with path.open("wb") as file:
        np.savez_compressed(file, mask=array)


def _choose(path: Path, archive: zipfile.ZipFile, wanted: str) -> zipfile.ZipInfo:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    for name in (wanted, *(MASK_KEYS if wanted == "mask" else IMAGE_KEYS)):
        if name in members:
            return members[name]
    if len(members) == 1:
        return next(iter(members.values()))
    raise DataError(
        f"{path}: {plural(len(members), 'array')} and none is called {wanted!r} "
        f"(found: {', '.join(sorted(members)[:5])}). Name the right one {wanted!r}, or keep one array per file."
    )


def _read_array(path: Path, file: io.BufferedReader | io.BytesIO, size: int) -> np.ndarray:
    """The array of an NPY file of `size` bytes, which hold its header and its numbers and nothing else.

    Its numbers are in the byte order of this machine, whatever the file's.
    """
    with _one_header_at_a_time:
        shape, fortran_order, dtype = _read_header(file)
    if dtype.hasobject:
        raise DataError(f"{path}: pickled objects, expected a plain array of numbers. Save it with numpy.save.")
    require_moderate_size(path, shape, dtype)
    expected, found = math.prod(shape) * dtype.itemsize, size - file.tell()
    if found == expected:
        numbers = bytearray(expected)
        found = file.readinto(numbers)
    if found != expected:
        raise DataError(
            f"{path}: damaged or truncated NPY ({found} bytes of numbers where its header says {expected}). "
            "Copy or export it again."
        )
    array: np.ndarray = np.ndarray(shape, dtype, buffer=numbers, order="F" if fortran_order else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(file: io.BufferedReader | io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)
