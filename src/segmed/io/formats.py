"""The formats of images and masks of one slice, one row each. `volumes` has the table of volumes.

A file's format is told by its first bytes: a name may lie, the content does not.
"""

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segmed.core.errors import DataError
from segmed.io.arrays import read_npy, read_npz, write_npy, write_npz
from segmed.io.pixels import Pixels
from segmed.io.raster import read_jpeg, read_png, write_png
from segmed.io.refusals import unreadable
from segmed.io.tiff import is_tiff, read_tiff, write_tiff

Content = Literal["image", "mask"]
"""What a file is read for."""


@dataclass(frozen=True)
class ImageFormat:
    """How files of one format are told, read and written.

    Args:
        name: The field's name of it.
        is_it: Whether a file may be of this format, by its first `HEAD` bytes.
        read: Decodes a file, given what it is read for.
        suffixes: In lower case, by which a folder's listing takes a file for an image.
        write_mask: Writes stored values, `h w` or `h w 3`, at a temporary path of any name. None where compression
            changes labels: no mask is then written or read.
    """

    name: str
    is_it: Callable[[bytes], bool]
    read: Callable[[Path, Content], Pixels]
    suffixes: tuple[str, ...]
    write_mask: Callable[[Path, np.ndarray], None] | None


def _begins(signature: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signature)


FORMATS: tuple[ImageFormat, ...] = (
    ImageFormat("PNG", _begins(b"\x89PNG\r\n\x1a\n"), lambda path, _: read_png(path), (".png",), write_png),
    ImageFormat("TIFF", is_tiff, lambda path, _: read_tiff(path), (".tif", ".tiff"), write_tiff),
    ImageFormat("JPEG", _begins(b"\xff\xd8\xff"), lambda path, _: read_jpeg(path), (".jpg", ".jpeg"), None),
    ImageFormat("NPY", _begins(b"\x93NUMPY"), lambda path, _: read_npy(path), (".npy",), write_npy),
    ImageFormat("NPZ", _begins(b"PK\x03\x04"), read_npz, (".npz",), write_npz),
)
"""The formats of single slices; a new one is a file of its own and a row here."""

HEAD = 16
"""The first bytes of a file by which its format is told."""

IMAGE_SUFFIXES = tuple(suffix for row in FORMATS for suffix in row.suffixes)
"""Suffixes, in lower case, of files that a folder listing takes for images."""

MASK_SUFFIXES = tuple(suffix for row in FORMATS if row.write_mask is not None for suffix in row.suffixes)
"""The same for masks."""

IMAGE_FORMATS = ", ".join(row.name for row in FORMATS[:-1]) + f" or {FORMATS[-1].name}"
"""The names of all formats, for messages."""


def format_of(path: Path) -> ImageFormat:
    """The format of a file, or `DataError` where it is missing, unreadable, empty or no image."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path}: not a file, expected an image. Check the path.")
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise unreadable(path, error) from error
    if not head:
        raise DataError(f"{path}: the file has zero bytes, expected an image. Copy or export it again.")
    for row in FORMATS:
        if row.is_it(head):
            return row
    raise DataError(
        f"{path}: not an image ({_shown(head)}); expected {IMAGE_FORMATS}. Convert it, or take it out of the data set."
    )


def _shown(head: bytes) -> str:
    return "it starts with " + repr(head[:8])[1:]
