"""A volume from whatever DICOM a path leads to."""

from pathlib import Path

from segmed.core.volume import Volume
from segmed.io.dicom.series import choose_series, find_series


def read_dicom(path: Path, *, series: int | str | None = None) -> Volume:
    """Read one series of a folder, of a DICOMDIR or of a single file as a volume.

    Slices are sorted by their position along the normal; values are stored numbers times slope plus intercept.

    Args:
        path: A folder (those in it too), a DICOMDIR, an enhanced image or a single slice.
        series: Which series, by its number or the name of one of its files, where there are several.

    Raises:
        DataError: Damaged files, several series, or slices that make no even stack; see `stack.stacked`.
        MissingDependencyError: pydicom is not installed.
    """
    return choose_series(find_series(path), path, series).read()
