"""NIfTI by nibabel, headers and geometry; the voxels are taken from the bytes, so that all of them are checked."""

import gzip
import logging
import math
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from segmed.core.errors import DataError
from segmed.core.volume import Affine, Grid, Shape, Volume, sides
from segmed.io.gzipped import unpacked_at_once
from segmed.io.refusals import unreadable
from segmed.io.voxels import MAX_VOLUME_BYTES, require_finite, require_moderate_volume, scaled, storable

FORMS_DIFFER = 0.1
"""Voxels by which sform and qform may disagree without a warning; a quaternion of 32 bits may be 0.06 off."""
MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""By NIfTI's unit code: unknown, which everybody takes for mm, metre, mm, micron."""
HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
AT_ONCE = 2**30
"""Bytes of a packed file above which it is streamed, and not unpacked in one go."""
KINDS = "uif"
GZIP = b"\x1f\x8b"

_quiet = logging.getLogger("segmed.nifti")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True)
class _Layout:
    """What a header says of the voxels: shape, stored dtype, first byte, and the scaling where there is one."""

    shape: Shape
    dtype: np.dtype
    offset: int
    scale: tuple[float, float] | None

    @property
    def end(self) -> int:
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def is_nifti(head: bytes) -> bool:
    """Whether a file's first bytes may be NIfTI's, plain or packed by gzip."""
    sizes = {size.to_bytes(4, order) for size in HEADERS for order in ("little", "big")}
    return head.startswith(GZIP) or head[:4] in sizes


def read_nifti(path: Path) -> Volume:
    """Read NIfTI-1 or NIfTI-2, one file, plain or packed by gzip, whose checksum is checked.

    The sform places the voxels, or the qform where there is no sform. Without either, a spacing in stated units
    is kept. Integers stay integers, also where they are scaled by whole numbers.

    Raises:
        DataError: A file that is damaged, cut off or longer than its header says, 4D, complex or in colours, above
            `MAX_VOLUME_BYTES`, a pair of .hdr and .img, or voxels that are not finite.
    """
    with _opened(path) as (file, size):
        return _read(path, file, size)


def read_nifti_grid(path: Path) -> Grid:
    """The grid that a NIfTI file's header states, as `read_nifti` gives it, without its warnings; no voxel is read.

    Raises:
        DataError: As `read_nifti` does for a header that it refuses.
    """
    with _opened(path) as (file, _):
        header, _ = _read_header(path, file)
        return _grid(path, header, _layout(path, header).shape, warn=False)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedIOBase, int | None]]:
    """The unpacked bytes of a file, and their number where it is known before they are read; faults as `DataError`."""
    try:
        with path.open("rb") as stored:
            packed = stored.read(2) == GZIP
            stored.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=stored) as unpacked:
                    yield unpacked, None
            else:
                yield stored, os.fstat(stored.fileno()).st_size
    except DataError:
        raise
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise unreadable(path, error) from error


def write_nifti(path: Path, volume: Volume, *, packed: bool) -> None:
    """Write NIfTI-1 with a fresh header: sform and, where the axes are perpendicular, qform; no scaling.

    Args:
        path: Where to write; the suffix does not count.
        volume: bool becomes uint8, 16-bit floats become 32-bit ones.
        packed: Whether by gzip, without a time, so that equal volumes give equal files.
    """
    array = storable(path, volume.array)
    if max(array.shape) > 32767:
        raise DataError(f"{path}: {sides(array.shape)} voxels, but NIfTI-1 holds 32767 along an axis. Cut it.")
    grid = volume.grid
    image = nib.Nifti1Image(array.transpose(2, 1, 0), None, dtype=array.dtype)
    header = image.header
    if grid.spacing is not None:
        header.set_zooms(tuple(reversed(grid.spacing)))
        header.set_xyzt_units("mm")
    if (affine := grid.columns_first()) is not None:
        header.set_sform(affine, code="scanner")
        if grid.is_orthogonal:
            header.set_qform(affine, code="scanner")
    with path.open("wb") as stored:
        if not packed:
            image.to_stream(stored)
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=stored, compresslevel=6, mtime=0) as file:
            image.to_stream(file)


def _read(path: Path, file: BufferedIOBase, size: int | None) -> Volume:
    """The volume of an open file; `size` is its length in bytes where that is known before it is read."""
    header, begun = _read_header(path, file)
    layout = _layout(path, header)
    if size is not None and size != layout.end:
        raise _damaged(path, f"{size} bytes where its header says {layout.end}")
    at_once = _at_once(path, layout) if size is None else None
    stored = _streamed(path, file, layout, begun) if at_once is None else at_once
    grid = _grid(path, header, layout.shape)  # warns, so only once the file is known to be sound
    array = np.frombuffer(stored, layout.dtype).reshape(layout.shape)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if layout.scale is not None:
        array = scaled(array, *layout.scale)
    require_finite(path, array)
    return Volume(array, grid)


def _at_once(path: Path, layout: _Layout) -> memoryview | None:
    """The voxels of a packed file, where it is not so large that its bytes had better not be in memory too."""
    if path.stat().st_size > AT_ONCE or layout.offset % layout.dtype.itemsize:
        return None
    found = unpacked_at_once(path.read_bytes(), layout.end)
    return None if found is None else found[layout.offset :].data


def _streamed(path: Path, file: BufferedIOBase, layout: _Layout, begun: int) -> bytearray:
    """The voxels of an open file, of which `begun` bytes were read."""
    _skip(file, layout.offset - begun)
    stored = bytearray(layout.end - layout.offset)
    view, filled = memoryview(stored), 0
    while filled < len(stored) and (count := file.readinto(view[filled : filled + 2**24])):
        filled += count
    if filled < len(stored):
        raise _damaged(path, f"{filled} bytes of voxels where its header says {len(stored)}")
    if file.read(1):  # the end is reached only here, and with it gzip's checksum
        raise _damaged(path, f"more bytes than the {len(stored)} of voxels that its header says")
    return stored


def _read_header(path: Path, file: BufferedIOBase) -> tuple[nib.Nifti1Header, int]:
    start = file.read(4)
    kind = HEADERS.get(int.from_bytes(start, "little")) or HEADERS.get(int.from_bytes(start, "big"))
    if kind is None:
        raise DataError(f"{path}: not a NIfTI file. Check what it is; a NIfTI header begins with 348 or 540.")
    block = start + file.read(kind.sizeof_hdr - 4)
    if len(block) < kind.sizeof_hdr:
        raise _damaged(path, "the header is cut off")
    try:
        header = kind(block, check=False)
        raw = header.copy()
        header.check_fix(logger=_quiet, error_level=40)
    except (HeaderDataError, ValueError, KeyError, OverflowError) as error:
        raise _damaged(path, " ".join(str(error).split())) from error
    magic = bytes(raw["magic"].tobytes())[:3]
    if magic not in (b"n+1", b"n+2"):
        raise DataError(
            f"{path}: a header without its voxels (a pair of .hdr and .img, or Analyze), expected NIfTI in one file. "
            "Save it as .nii.gz."
        )
    return raw, len(block)


def _layout(path: Path, header: nib.Nifti1Header) -> _Layout:
    try:
        stored, dtype = header.get_data_shape(), header.get_data_dtype()
        offset = float(header["vox_offset"])
        slope, intercept = header.get_slope_inter()
    except (HeaderDataError, ValueError, KeyError) as error:
        raise _damaged(path, " ".join(str(error).split())) from error
    if len(stored) > 3 and math.prod(stored[3:]) != 1:
        raise DataError(
            f"{path}: {len(stored)}D of {sides(stored)} voxels, expected one volume. Save each volume as a file of "
            "its own, such as with nibabel.four_to_three."
        )
    columns, rows, slices = (*stored[:3], 1, 1)[:3] if stored else (0, 0, 0)
    shape = (int(slices), int(rows), int(columns))
    if min(shape) < 1:
        raise _damaged(path, f"its header says {sides(shape)} voxels")
    if dtype.kind not in KINDS or dtype.itemsize > 8:
        kind = "colours" if dtype.names else str(dtype)
        raise DataError(f"{path}: voxels of type {kind}, expected integers or floats. Convert them.")
    if int(header["bitpix"]) != 8 * dtype.itemsize:
        raise _damaged(path, f"{int(header['bitpix'])} bits a voxel where its type has {8 * dtype.itemsize}")
    require_moderate_volume(path, shape, dtype.itemsize)
    if not (header.sizeof_hdr <= offset <= MAX_VOLUME_BYTES and offset == int(offset)):
        raise _damaged(path, f"its voxels begin at byte {offset:g}")
    if slope is None or (slope, intercept) == (1, 0):
        return _Layout(shape, dtype, int(offset), None)
    return _Layout(shape, dtype, int(offset), (float(slope), float(intercept or 0)))


def _grid(path: Path, header: nib.Nifti1Header, shape: Shape, *, warn: bool = True) -> Grid:
    """The grid by sform, else qform, else the spacing where its unit is stated."""
    unit = MILLIMETRES.get(int(header["xyzt_units"]) & 7)
    if unit is None:
        raise _damaged(path, f"its unit of length has the code {int(header['xyzt_units']) & 7}")
    codes = int(header["sform_code"]), int(header["qform_code"])
    if not all(0 <= code <= 5 for code in codes):
        raise _damaged(path, f"its sform and qform have the codes {codes[0]} and {codes[1]}")
    try:
        sform = _placed(shape, header.get_sform(), unit) if codes[0] else None
        if codes[1] or not (codes[0] or int(header["xyzt_units"]) & 7 == 0):
            _require_spacing(header)
        qform = _placed(shape, header.get_qform(), unit) if codes[1] else None
    except (ValueError, HeaderDataError) as error:  # a DataError, too: it does not know the file
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error
    if warn and sform is not None and qform is not None and (apart := sform.distance(qform)) > FORMS_DIFFER:
        warnings.warn(
            f"{path}: sform and qform place the volume {apart:.3g} voxels apart (sform: {sform}; qform: {qform}). "
            "The sform is used. Check which is right.",
            stacklevel=5,
        )
    if (placed := sform or qform) is not None:
        return placed
    if int(header["xyzt_units"]) & 7 == 0:
        return Grid(shape)
    columns, rows, slices = (float(step) * unit for step in header["pixdim"][1:4])
    return Grid(shape, spacing=(slices, rows, columns))


def _placed(shape: Shape, affine: Affine, unit: float) -> Grid:
    return Grid.of_columns_first(shape, np.diag([unit, unit, unit, 1.0]) @ affine)


def _require_spacing(header: nib.Nifti1Header) -> None:
    steps = [float(step) for step in header["pixdim"][1:4]]
    if not all(np.isfinite(step) and step > 0 for step in steps):
        raise DataError(f"a voxel size of {steps} in its header, expected three positive numbers. Repair it.")


def _skip(file: BufferedIOBase, count: int) -> None:
    """Read past header extensions."""
    while count > 0 and (read := len(file.read(min(count, 2**20)))):
        count -= read


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: damaged or truncated NIfTI ({reason}). Copy or export it again.")
