"""Volumes and masks from one format to another, on the grid that they have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import written_aside
from segmed.core.identity import NOBODY
from segmed.core.label_volume import LabelVolume, placed
from segmed.core.volume import Grid, Volume, as_labels
from segmed.io.dicom.headers import is_dicom
from segmed.io.dicom.reading import is_dicom_mask, read_dicom_labels
from segmed.io.dicom.series import Series, choose_series, find_series
from segmed.io.dicom.writing import Algorithm, write_segmentation, write_structures
from segmed.io.volumes import FORMATS, HEAD, read_grid, read_volume, suffix_of, write_volume

DICOM_MASKS: dict[str, Callable[[Path, LabelVolume, Series, Algorithm], None]] = {
    "seg.dcm": write_segmentation,
    "rtstruct.dcm": write_structures,
}
"""By the end of a file's name: masks that refer to a DICOM series."""


@dataclass(frozen=True, eq=False)
class Source:
    """The image that a mask belongs to: its grid, and its series where it is DICOM."""

    grid: Grid
    series: Series | None


def read_source(path: Path, series: int | str | None = None) -> Source:
    """The grid of an image of any format, from headers alone, and its series where it is DICOM."""
    if not is_dicom_path(path):
        return Source(read_grid(path, series=series), None)
    chosen = choose_series(find_series(path), path, series)
    return Source(chosen.stack().grid, chosen)


def read_any(
    path: Path,
    *,
    source: Source | None = None,
    series: int | str | None = None,
    segments: Sequence[str] = (),
    mask: bool = False,
) -> Volume | LabelVolume:
    """A volume, or a mask with its labels.

    Args:
        path: A file of any format of volumes, or a folder with DICOM.
        source: The image of a mask, on whose grid it is put, in any order of its axes.
        series: Of DICOM images, which series.
        segments: Of a DICOM mask, the names or numbers of those to take.
        mask: Whether a volume is a mask: whole numbers, 0 for background.

    Raises:
        DataError: What the readers refuse, segments of what has none, a mask whose voxels are not those of `source`, or
            no whole numbers in a mask.
    """
    if is_dicom_path(path) and series is None and is_dicom_mask(path):
        image = None if source is None else source.series
        return read_dicom_labels(
            path, grid=None if source is None else source.grid, segments=segments,
            frame_of_reference=None if image is None else image.frame_of_reference,
            image=NOBODY if image is None else image.identity,
        )  # fmt: skip
    if segments:
        raise DataError(f"{path}: segments ({', '.join(segments)}) are those of a DICOM mask, which this is not.")
    volume = read_volume(path, series=series)
    if source is not None:
        volume = placed(volume, source.grid, str(path))
    return LabelVolume.of_values(as_labels(volume, str(path))) if mask else volume


def is_dicom_path(path: Path) -> bool:
    """Whether a path is a folder or begins like a DICOM file."""
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(HEAD))
    except OSError:
        return False  # what reads it says so


def require_writable(path: Path, *, has_series: bool) -> None:
    """Raise `DataError` where a name is that of no format that is written, or of one that needs a DICOM series."""
    if _dicom_mask(path) is not None:
        if not has_series:
            raise DataError(
                f"{path}: a mask in DICOM refers to the images that it belongs to. Name their folder, with --source."
            )
    elif suffix_of(path) is None:
        written = {suffix for row in FORMATS for suffix in row.writers}
        formats = sorted(written | {f".{end}" for end in DICOM_MASKS})
        raise DataError(f"{path}: no format of volumes ends so; expected {', '.join(formats)}. Choose another name.")


def write_any(
    path: Path, content: Volume | LabelVolume, source: Source | None = None, algorithm: Algorithm | None = None
) -> None:
    """Write a volume or mask in the format that the name ends in, whole or not at all.

    Raises:
        DataError: An image where the format holds masks, or what the writers refuse.
    """
    kind = _dicom_mask(path)
    if kind is None:
        write_volume(path, content.volume if isinstance(content, LabelVolume) else content)
        return
    if source is None or source.series is None:
        require_writable(path, has_series=False)
        return
    mask = content if isinstance(content, LabelVolume) else LabelVolume.of_values(as_labels(content, str(path)))
    with written_aside(path) as temporary:
        DICOM_MASKS[kind](temporary, mask, source.series, algorithm or Algorithm())


def _dicom_mask(path: Path) -> str | None:
    return next((end for end in DICOM_MASKS if path.name.lower().endswith(end)), None)
