"""A volume, or a mask with the names of its labels, from whatever DICOM a path leads to."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.identity import NOBODY, Identity
from segmed.core.label_volume import LabelVolume
from segmed.core.volume import Grid, Volume
from segmed.io.dicom.headers import SEGMENTATIONS, Dataset, privately, read_header, sop_class
from segmed.io.dicom.label_names import said_of_withheld, withheld_numbers
from segmed.io.dicom.segmentation import read_segmentation
from segmed.io.dicom.series import Found, choose_series, find_series
from segmed.io.dicom.structures import read_structures


def read_dicom(path: Path, *, series: int | str | None = None, grid: Grid | None = None) -> Volume:
    """Read one series of a folder, of a DICOMDIR or of a single file as a volume; or a mask, see `read_dicom_labels`.

    Slices are sorted by their position along the normal; values are stored numbers times slope plus intercept.

    Args:
        path: A folder (those in it too), a DICOMDIR, an enhanced image, a single slice, a segmentation or a structure
            set. A folder's masks are not looked at where it has images.
        series: Which series, by its number or the name of one of its files, where there are several.
        grid: Of a mask, the grid of its image.

    Raises:
        DataError: Damaged files, several series, or slices that make no even stack; see `stack.stacked`.
        MissingDependencyError: pydicom is not installed.
    """
    found = find_series(path)
    if (mask := _only_mask(found, path, series)) is not None:
        return read_dicom_labels(mask, grid=grid).volume
    return choose_series(found, path, series).read()


def read_dicom_grid(path: Path, *, series: int | str | None = None) -> Grid:
    """The grid of what `read_dicom` would read, from headers alone but for masks."""
    found = find_series(path)
    if (mask := _only_mask(found, path, series)) is not None:
        return read_dicom_labels(mask).volume.grid
    return choose_series(found, path, series).stack().grid


def read_dicom_labels(
    path: Path,
    *,
    grid: Grid | None = None,
    frame_of_reference: str | None = None,
    segments: Sequence[str] = (),
    image: Identity = NOBODY,
) -> LabelVolume:
    """Read a segmentation or structure set as a mask.

    Args:
        path: The file, or a folder with this one file.
        grid: The grid of its image; a structure set needs it.
        frame_of_reference: The image's, by UID, with which a structure set is compared.
        segments: Names or numbers of those to take, where not all.
        image: What its image says of people: names of labels that hold such are withheld.

    Raises:
        DataError: Another kind of object, or what `read_segmentation` and `read_structures` refuse.
    """
    mask = _only_mask(find_series(path), path, None)
    if mask is None:
        raise DataError(f"{path}: images, expected a DICOM segmentation or structure set.")
    kind, withheld = privately(mask, lambda: _told(read_header(mask), image))
    if withheld:
        warnings.warn(f"{mask}: {said_of_withheld(withheld)}", stacklevel=2)
    if kind in SEGMENTATIONS:
        return read_segmentation(mask, grid=grid, segments=segments, image=image)
    return read_structures(mask, grid=grid, frame_of_reference=frame_of_reference, segments=segments, image=image)


def _told(header: Dataset, image: Identity) -> tuple[str, tuple[int, ...]]:
    return sop_class(header), withheld_numbers(header, image)


def is_dicom_mask(path: Path) -> bool:
    """Whether a path with DICOM holds one segmentation or structure set and no images."""
    found = find_series(path)
    return not found.series and len(found.masks) == 1


def _only_mask(found: Found, path: Path, series: int | str | None) -> Path | None:
    """The mask where there are masks only, and one of them; None where there are images."""
    if series is not None or found.series or not found.masks:
        return None
    if len(found.masks) > 1:
        names = ", ".join(mask.name for mask in found.masks[:4])
        raise DataError(f"{path}: {len(found.masks)} segmentations or structure sets ({names}), expected one. Name it.")
    return found.masks[0]
