"""TIFF by tifffile: grey, palette or RGB of 1 to 64 bits, uncompressed or LZW, deflate, PackBits, LZMA, ZSTD, JPEG."""

import logging
import math
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Shaped, UInt8

from segmed.core.errors import DataError
from segmed.core.wording import plural
from segmed.io.pixels import Pixels, require_moderate_size
from segmed.io.refusals import damaged
from segmed.io.tiff_checks import require_sound

CHANNELS_LAST = ("YX", "YXS")
CHANNELS_FIRST = "SYX"
SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
"""Little and big endian, of 32-bit and of 64-bit offsets (BigTIFF)."""


def is_tiff(head: bytes) -> bool:
    """Whether a file begins like TIFF."""
    return head.startswith(SIGNATURES)


def read_tiff(path: Path) -> Pixels:
    """Decode a TIFF of one page.

    Raises:
        DataError: for several pages or slices, for tags that say what is not honoured here, and where tags and file
            disagree or do not decode.
    """
    try:
        # OME's own tags may name other files, which tifffile would open
        with tifffile.TiffFile(path, is_ome=False) as file:
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
            f"{path}: {plural(len(file.pages), 'page')}, expected one image per file. Save each page as a TIFF of "
            "its own."
        )
    page = file.pages.first
    if page.dtype is None or page.axes not in (*CHANNELS_LAST, CHANNELS_FIRST):
        raise DataError(f"{path}: TIFF of axes {page.axes!r}, expected one grey or RGB image. Convert it.")
    shape = page.shape if page.axes in CHANNELS_LAST else (*page.shape[1:], page.shape[0])
    require_moderate_size(path, shape, page.dtype)
    require_sound(path, page, path.read_bytes())
    _require_one_slice(path, file, page)
    array = page.asarray()
    if page.axes == CHANNELS_FIRST:
        array = np.moveaxis(array, 0, -1)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        return Pixels(_falling(path, array), white_is_zero=True)
    return Pixels(array, None if page.colormap is None else _palette(page.colormap))


def _require_one_slice(path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
    """ImageJ and tifffile itself store a stack behind the directory of its first slice, as their own texts say."""
    images = sum(math.prod(series.shape) for series in file.series) / math.prod(page.shape)
    if images != 1:
        raise DataError(
            f"{path}: {images:g} slices behind one page, expected one image per file. Save each as a TIFF of its own."
        )


def _falling(path: Path, array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Stored values of a file whose zero is white, so that larger is brighter."""
    if array.dtype.kind == "f":
        raise DataError(f"{path}: floats whose zero is white (MinIsWhite), which has no meaning. Export it again.")
    return ~array


def _palette(colormap: Shaped[np.ndarray, "3 n"]) -> UInt8[np.ndarray, "n 3"]:
    """Colours of 8 bits. A map is of 16 bits, but many writers leave 0 to 255 in it, as libtiff's readers know."""
    return (colormap if colormap.max(initial=0) < 256 else colormap >> 8).T.astype(np.uint8)


logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its complaints become our errors
