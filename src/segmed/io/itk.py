"""NRRD and MetaImage by SimpleITK (extra `itk`): geometry by ITK, voxels from the bytes, so that all are checked."""

import gzip
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from segmed.core.errors import DataError
from segmed.core.optional import optional_import
from segmed.core.volume import Grid, Volume
from segmed.io.itk_headers import HEADER_BYTES, HEADER_READERS, ItkHeader, damaged_itk
from segmed.io.refusals import unreadable
from segmed.io.voxels import require_finite, require_moderate_volume, storable

DROPPED = {
    "NrrdImageIO": (b"space:", b"space directions:", b"space origin:"),
    "MetaImageIO": (b"TransformMatrix", b"Offset", b"CenterOfRotation", b"AnatomicalOrientation"),
}
"""By ITK's name of the format: lines that state a place, left out where the volume has none."""


def read_nrrd(path: Path) -> Volume:
    """Read NRRD (.nrrd, or .nhdr with its file): three axes, raw or gzip; without a patient space, no geometry.

    Raises:
        DataError: Damaged or cut off, several components, other units than mm, or voxels outside of the folder.
        MissingDependencyError: SimpleITK is not installed.
    """
    return _read(path, "NrrdImageIO")


def read_meta(path: Path) -> Volume:
    """Read a MetaImage (.mha, or .mhd with its file); see `read_nrrd`."""
    return _read(path, "MetaImageIO")


def write_nrrd(path: Path, volume: Volume) -> None:
    """Write NRRD, compressed; without geometry no space is stated. `path` may have any suffix."""
    _write(path, volume, "NrrdImageIO", ".nrrd")


def write_meta(path: Path, volume: Volume) -> None:
    """Write a MetaImage in one file, compressed; see `write_nrrd`."""
    _write(path, volume, "MetaImageIO", ".mha")


def read_nrrd_grid(path: Path) -> Grid:
    """The grid that the header of NRRD states; raises as `read_nrrd` does for a header that it refuses."""
    return _grid(path, "NrrdImageIO", _header(path, "NrrdImageIO"))


def read_meta_grid(path: Path) -> Grid:
    """The grid that the header of a MetaImage states; see `read_nrrd_grid`."""
    return _grid(path, "MetaImageIO", _header(path, "MetaImageIO"))


def nrrd_files(path: Path) -> tuple[Path, ...]:
    """The file, and the one with its voxels where the header names another; raises as `read_nrrd_grid` does."""
    return tuple(dict.fromkeys((path, _header(path, "NrrdImageIO").data)))


def meta_files(path: Path) -> tuple[Path, ...]:
    """The same of a MetaImage."""
    return tuple(dict.fromkeys((path, _header(path, "MetaImageIO").data)))


def _read(path: Path, kind: str) -> Volume:
    header = _header(path, kind)
    try:
        stored = _voxels(path, header)
    except OSError as error:
        raise unreadable(path, error) from error
    grid = _grid(path, kind, header)
    array = np.frombuffer(stored, header.dtype).reshape(header.shape)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    require_finite(path, array)
    return Volume(array, grid)


def _header(path: Path, kind: str) -> ItkHeader:
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
        header = HEADER_READERS[kind](path, head)
    except OSError as error:
        raise unreadable(path, error) from error
    require_moderate_volume(path, header.shape, header.dtype.itemsize)
    return header


def _grid(path: Path, kind: str, header: ItkHeader) -> Grid:
    sitk = optional_import("SimpleITK", extra="itk", purpose="Reading NRRD and MetaImage")
    reader = sitk.ImageFileReader()
    reader.SetImageIO(kind)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise damaged_itk(path, str(error).strip().splitlines()[-1].strip()) from error
    if reader.GetSize() != header.shape[::-1] or reader.GetNumberOfComponents() != 1:
        raise damaged_itk(path, "its header can be read in two ways")
    spacing = np.array(reader.GetSpacing())
    try:
        if not header.placed:
            slices, rows, columns = (float(step) for step in spacing[::-1])
            return Grid(header.shape, spacing=(slices, rows, columns) if header.spaced else None)
        affine = np.eye(4)
        affine[:3, :3] = np.array(reader.GetDirection()).reshape(3, 3) * spacing
        affine[:3, 3] = reader.GetOrigin()
        return Grid.of_columns_first(header.shape, affine, "LPS")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _voxels(path: Path, header: ItkHeader) -> bytearray:
    """Exactly the bytes of all voxels; the file ends with them, and the checksum of packed ones holds."""
    with header.data.open("rb") as file:
        file.seek(header.offset)
        try:
            if header.packing == "gzip":
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _exactly(path, unpacked, header.size)
            if header.packing == "zlib":
                return _inflated(path, file, header.size)
            return _exactly(path, file, header.size)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise damaged_itk(path, str(error)) from error


def _exactly(path: Path, file: BufferedIOBase, size: int) -> bytearray:
    stored = bytearray(size)
    view, filled = memoryview(stored), 0
    while filled < size and (count := file.readinto(view[filled : filled + 2**24])):
        filled += count
    if filled < size or file.read(1):  # the end is reached only here, and with it gzip's checksum
        raise damaged_itk(path, f"{'more than ' if filled == size else ''}{filled} bytes of voxels, expected {size}")
    return stored


def _inflated(path: Path, file: BufferedIOBase, size: int) -> bytearray:
    stored, inflate = bytearray(), zlib.decompressobj()
    while not inflate.eof and len(stored) <= size and (chunk := file.read(2**20)):
        stored += inflate.decompress(chunk, size + 1 - len(stored))
        while inflate.unconsumed_tail and len(stored) <= size:
            stored += inflate.decompress(inflate.unconsumed_tail, size + 1 - len(stored))
    if len(stored) != size or not inflate.eof or inflate.unused_data or file.read(1):
        raise damaged_itk(path, f"its packed voxels do not end after {size} bytes")
    return stored


def _write(path: Path, volume: Volume, kind: str, suffix: str) -> None:
    sitk = optional_import("SimpleITK", extra="itk", purpose="Writing NRRD and MetaImage")
    image = sitk.GetImageFromArray(storable(path, volume.array))
    grid = volume.grid
    if (affine := grid.columns_first("LPS")) is not None:
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        image.SetSpacing(lengths.tolist())
        image.SetDirection((affine[:3, :3] / lengths).ravel().tolist())
        image.SetOrigin(affine[:3, 3].tolist())
    elif grid.spacing is not None:
        image.SetSpacing([float(step) for step in grid.spacing[::-1]])
    named = path.with_name(f"{path.name}{suffix}")
    writer = sitk.ImageFileWriter()
    writer.SetImageIO(kind)
    writer.SetFileName(str(named))
    writer.UseCompressionOn()
    try:
        writer.Execute(image)
        stored = named.read_bytes()
    except RuntimeError as error:
        raise DataError(f"{path}: cannot be written ({str(error).strip().splitlines()[-1].strip()}).") from error
    finally:
        named.unlink(missing_ok=True)
    path.write_bytes(stored if affine is not None else _without_place(stored, kind, grid))


def _without_place(stored: bytes, kind: str, grid: Grid) -> bytes:
    """The file without the place that ITK makes up for a volume that has none."""
    begun = HEADER_READERS[kind](Path("volume"), stored).offset
    lines = stored[:begun].split(b"\n")
    spacing = b"" if grid.spacing is None else " ".join(map(repr, map(float, grid.spacing[::-1]))).encode()
    dropped = DROPPED[kind] if spacing else (*DROPPED[kind], b"ElementSpacing")
    kept = [line for line in lines if not line.startswith(dropped)]
    if kind == "NrrdImageIO" and spacing:
        kept.insert(-2, b"spacings: " + spacing)  # before the empty line that ends the header
    return b"\n".join(kept) + stored[begun:]
