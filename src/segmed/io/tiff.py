"""TIFF by tifffile: grey, palette or RGB of 8 to 64 bits, with any compression that imagecodecs knows."""

import logging
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import UInt8

from segmed.core.errors import DataError
from segmed.io.formats import damaged
from segmed.io.pixels import Pixels, require_moderate_size

CHANNELS_LAST = ("YX", "YXS")
CHANNELS_FIRST = "SYX"


def read_tiff(path: Path) -> Pixels:
    """Decode a TIFF of one page. `DataError` for several pages, missing strips and whatever does not decode."""
    try:
        with tifffile.TiffFile(path) as file:
            return _read_only_page(path, file)
    except DataError:
        raise
    except Exception as error:  # a damaged file makes the decoders raise anything
        raise damaged(path, "TIFF", error) from error


def write_tiff(path: Path, array: UInt8[np.ndarray, "..."]) -> None:
    """Write grey or RGB pixels, LZW-compressed, without metadata."""
    tifffile.imwrite(
        path, array, photometric="rgb" if array.ndim == 3 else "minisblack", compression="lzw", metadata=None
    )


def _read_only_page(path: Path, file: tifffile.TiffFile) -> Pixels:
    if len(file.pages) != 1:
        raise DataError(
            f"{path}: {len(file.pages)} pages, expected one image per file. Save each page as a TIFF of its own."
        )
    page = file.pages.first
    if page.dtype is None or page.axes not in (*CHANNELS_LAST, CHANNELS_FIRST):
        raise DataError(f"{path}: TIFF of axes {page.axes!r}, expected one grey or RGB image. Convert it.")
    shape = page.shape if page.axes in CHANNELS_LAST else (*page.shape[1:], page.shape[0])
    require_moderate_size(path, shape, page.dtype)
    _require_whole(path, page, file.filehandle.size)
    array = page.asarray()
    if page.axes == CHANNELS_FIRST:
        array = np.moveaxis(array, 0, -1)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        array = ~array if array.dtype == bool else np.iinfo(array.dtype).max - array
    palette = None if page.colormap is None else (page.colormap.T >> 8).astype(np.uint8)
    return Pixels(array, palette)


def _require_whole(path: Path, page: tifffile.TiffPage, file_size: int) -> None:
    """tifffile fills missing strips with zeros, which for a mask would pass as background."""
    strips = zip(page.dataoffsets, page.databytecounts, strict=True)
    missing = sum(count == 0 or offset + count > file_size for offset, count in strips)
    if missing or not page.dataoffsets:
        raise DataError(f"{path}: truncated TIFF ({missing} strips missing). Copy or export it again.")


logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its complaints become our errors
