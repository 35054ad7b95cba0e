"""Tell a file's format by its first bytes: a name may lie, the content does not."""

import stat
from pathlib import Path
from typing import Literal

from segmed.core.errors import DataError

Format = Literal["PNG", "JPEG", "TIFF", "NPY", "NPZ"]

SIGNATURES: dict[bytes, Format] = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
    b"\x93NUMPY": "NPY",
    b"PK\x03\x04": "NPZ",
}

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".npy", ".npz")
"""Suffixes, in lower case, of files that a folder listing takes for images."""

MASK_SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".npz")
"""The same for masks; JPEG is missing because its compression changes labels."""


def detect_format(path: Path) -> Format:
    """The format of a file, or `DataError` where it is missing, unreadable, empty or no image."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path}: not a file, expected an image. Check the path.")
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise unreadable(path, error) from error
    if not head:
        raise DataError(f"{path}: the file has zero bytes, expected an image. Copy or export it again.")
    for signature, name in SIGNATURES.items():
        if head.startswith(signature):
            return name
    raise DataError(
        f"{path}: not an image ({_shown(head)}); expected PNG, TIFF, JPEG, NPY or NPZ. "
        "Convert it, or take it out of the data set."
    )


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that the system will not open."""
    reason = error.strerror or str(error)
    return DataError(f"{path}: cannot be read ({reason}). Check that it exists and that you may read it.")


def damaged(path: Path, what: Format, error: Exception) -> DataError:
    """The error for a file that starts like an image but does not decode."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: damaged or truncated {what} ({reason}). Copy or export it again.")


def _shown(head: bytes) -> str:
    return "it starts with " + repr(head[:8])[1:]
