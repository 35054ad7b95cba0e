"""What can be known of a JPEG before it is decoded: its size, its scans, and whether its end is there.

Reference: ITU-T T.81 (1992), annex B. JPEG has no checksums, so a change within the compressed pixels goes unnoticed.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from segmed.core.errors import DataError

SCAN, END = b"\xff\xda", b"\xff\xd9"
"""Markers that compressed pixels cannot contain."""
MAX_SCANS = 100
"""Scans of a progressive JPEG, of which encoders write about ten; each costs as much as the whole image."""
NO_FRAMES = (0xC4, 0xC8, 0xCC)


def require_whole_jpeg(path: Path, jpeg: bytes) -> None:
    """Hold a JPEG's markers against what is sound.

    Raises:
        DataError: where the mark of its end is missing, and for so many scans that decoding would take minutes.
    """
    scans = jpeg.count(SCAN)
    if scans > MAX_SCANS:
        raise DataError(f"{path}: a JPEG of {scans} scans, more than the limit of {MAX_SCANS}. Export it again.")
    if jpeg.rfind(END) < jpeg.rfind(SCAN):
        raise DataError(f"{path}: damaged or truncated JPEG (its end is missing). Copy or export it again.")


def frame_sizes(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """(rows, columns) of the frame headers of a JPEG, up to its first scan."""
    place = 2
    while place + 9 <= len(jpeg) and jpeg[place] == 0xFF and jpeg[place + 1] != SCAN[1]:
        marker, (length,) = jpeg[place + 1], struct.unpack(">H", jpeg[place + 2 : place + 4])
        if 0xC0 <= marker <= 0xCF and marker not in NO_FRAMES:
            yield struct.unpack(">HH", jpeg[place + 5 : place + 9])
        place += 2 + length
