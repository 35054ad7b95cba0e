"""Volumes from and to files; the format read is told by content, the format written by the suffix."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import written_aside
from segmed.core.volume import Grid, Volume
from segmed.io.dicom.headers import files_of, is_dicom
from segmed.io.dicom.reading import read_dicom, read_dicom_grid
from segmed.io.dicom.series import dicom_files_of
from segmed.io.itk import (
    meta_files,
    nrrd_files,
    read_meta,
    read_meta_grid,
    read_nrrd,
    read_nrrd_grid,
    write_meta,
    write_nrrd,
)
from segmed.io.itk_headers import is_meta, is_nrrd
from segmed.io.nifti import is_nifti, read_nifti, read_nifti_grid, write_nifti
from segmed.io.refusals import unreadable
from segmed.io.tiff import is_tiff
from segmed.io.tiff_stacks import read_tiff_stack, write_tiff_stack

HEAD = 256
"""The first bytes of a file by which its format is told."""


@dataclass(frozen=True)
class VolumeFormat:
    """How files of one format are told, read and written.

    Args:
        name: The field's name of it.
        is_it: Whether a file may be of this format, by its first `HEAD` bytes.
        read: Decodes a file.
        read_grid: Reads the header alone, where the format allows that.
        writers: By suffix in lower case; each writes a whole file at a temporary path of any name.
        files: All files that one is read from, itself first: a header may name others.
    """

    name: str
    is_it: Callable[[bytes], bool]
    read: Callable[[Path], Volume]
    read_grid: Callable[[Path], Grid]
    writers: dict[str, Callable[[Path, Volume], None]]
    files: Callable[[Path], tuple[Path, ...]] = lambda path: (path,)


FORMATS: tuple[VolumeFormat, ...] = (
    # first: the free bytes before a DICOM file are often TIFF's
    VolumeFormat("DICOM", is_dicom, read_dicom, read_dicom_grid, {}, dicom_files_of),
    VolumeFormat(
        "NIfTI",
        is_nifti,
        read_nifti,
        read_nifti_grid,
        {
            ".nii.gz": lambda path, volume: write_nifti(path, volume, packed=True),
            ".nii": lambda path, volume: write_nifti(path, volume, packed=False),
        },
    ),
    VolumeFormat("NRRD", is_nrrd, read_nrrd, read_nrrd_grid, {".nrrd": write_nrrd}, nrrd_files),
    VolumeFormat("MetaImage", is_meta, read_meta, read_meta_grid, {".mha": write_meta}, meta_files),
    VolumeFormat(
        "TIFF",
        is_tiff,
        read_tiff_stack,
        lambda path: read_tiff_stack(path).grid,
        {".ome.tif": write_tiff_stack, ".ome.tiff": write_tiff_stack},
    ),
)
"""The formats of volumes; a new one is a file of its own and a row here."""


def read_volume(path: Path | str, *, series: int | str | None = None, grid: Grid | None = None) -> Volume:
    """Read a volume: `slices rows columns` in the dtype that the file stores, with its place in the patient.

    Args:
        path: A file of any format of `FORMATS`; its name does not count. Or a folder with the files of DICOM series.
        series: Of DICOM, which series: its number, or the name of one of its files. None where there is only one.
        grid: Of a DICOM segmentation or structure set, the grid of its image, on which the mask is put.

    Returns:
        The volume. Its grid has no affine, or no spacing either, where the file does not state them.

    Raises:
        DataError: A file that is missing, of another format, damaged, too large, or holds more than one volume; or
            `series` of what is not DICOM.

    Example:
        >>> volume = segmed.read_volume("patient.nii.gz")
        >>> volume.array.shape, volume.grid.spacing, volume.grid.orientation
        ((8, 64, 64), (5.0, 1.0, 1.0), 'SPL')
    """
    path = Path(path)
    if path.is_dir():
        return read_dicom(path, series=series, grid=grid)
    row = _format_of(path)
    if row.read is read_dicom:
        return read_dicom(path, series=series, grid=grid)
    _require_no_series(path, series)
    return row.read(path)


def read_grid(path: Path, *, series: int | str | None = None) -> Grid:
    """The grid of a volume, from its header alone; arguments and errors are those of `read_volume`."""
    row = None if path.is_dir() else _format_of(path)
    if row is None or row.read is read_dicom:
        return read_dicom_grid(path, series=series)
    _require_no_series(path, series)
    return row.read_grid(path)


def _require_no_series(path: Path, series: int | str | None) -> None:
    if series is not None:
        raise DataError(f"{path}: series {series} is one of DICOM images, which this is not. Leave it out.")


def files_read(path: Path) -> tuple[Path, ...]:
    """All files that a volume is read from: those of a folder with DICOM, and those that a header or DICOMDIR names.

    Raises:
        DataError: No volume, or a header that is damaged or names files outside of its folder.
    """
    return tuple(files_of(path)) if path.is_dir() else _format_of(path).files(path)


def _format_of(path: Path) -> VolumeFormat:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise unreadable(path, error) from error
    for row in FORMATS:
        if row.is_it(head):
            return row
    found = "the file has zero bytes" if not head else f"it starts with {head[:8]!r}"
    raise DataError(f"{path}: not a volume ({found}); expected {', '.join(row.name for row in FORMATS)}. Convert it.")


VOLUME_SUFFIXES = tuple(suffix for row in FORMATS for suffix in row.writers)
"""Suffixes, in lower case, by which a file is taken for a volume."""


def suffix_of(path: Path) -> str | None:
    """The suffix by which a file is taken for a volume, as it is written there; None of any other file."""
    name = path.name
    found = next((suffix for suffix in VOLUME_SUFFIXES if name.lower().endswith(suffix)), None)
    return None if found is None else name[len(name) - len(found) :]


def stem_of(path: Path) -> str:
    """A volume's file name without its suffix, both parts of `.nii.gz`."""
    return path.name.removesuffix(suffix_of(path) or path.suffix)


def write_volume(path: Path | str, volume: Volume) -> None:
    """Write a volume in the format of the suffix, whole or not at all; a file that is there is replaced.

    Args:
        path: Ends in a suffix of `FORMATS`, such as `.nii.gz`.
        volume: Its dtype is kept, and its grid as far as the format holds it.

    Raises:
        DataError: Another suffix, a dtype that the format lacks, or a folder that cannot be written.

    Example:
        >>> grid = segmed.Grid((3, 4, 5), spacing=(5.0, 1.0, 1.0))
        >>> segmed.write_volume("mask.nii.gz", segmed.Volume(np.ones((3, 4, 5), np.uint8), grid))
        >>> segmed.read_volume("mask.nii.gz").array.sum().item()
        60
    """
    path = Path(path)
    writer(path)(path, volume)


def writer(path: Path) -> Callable[[Path, Volume], None]:
    """What writes a volume at a path with this suffix, atomically; raises `DataError` for an unknown one."""
    writers = {suffix: write for row in FORMATS for suffix, write in row.writers.items()}
    for suffix, write in writers.items():
        if path.name.lower().endswith(suffix):
            return lambda target, volume: _write_aside(write, target, volume)
    raise DataError(
        f"{path}: volumes cannot be written with this suffix; expected one of {', '.join(writers)}. Choose another "
        "name."
    )


def _write_aside(write: Callable[[Path, Volume], None], path: Path, volume: Volume) -> None:
    with written_aside(path) as temporary:
        write(temporary, volume)
