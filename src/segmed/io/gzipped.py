"""gzip and its checksum by libdeflate (in imagecodecs), in a third of the time that Python's own modules take."""

import struct

import imagecodecs
import numpy as np
from jaxtyping import UInt8

TRAILER = struct.Struct("<II")
"""What a member of gzip ends with: the checksum and the length of what was packed."""


def unpacked_at_once(packed: bytes, size: int) -> UInt8[np.ndarray, "bytes"] | None:
    """What a gzip file holds, if it is one sound member of exactly `size` bytes, and nothing follows it.

    Args:
        packed: The whole file.
        size: The bytes that are expected.

    Returns:
        The bytes, whose checksum holds; None for any other file, also for one that is sound but has several members:
        whoever streams it by `gzip` reads it, or learns what is wrong.
    """
    if not 0 < size < 2**32 or len(packed) < TRAILER.size or TRAILER.unpack(packed[-TRAILER.size :])[1] != size:
        return None
    found = np.empty(size, np.uint8)
    try:
        decoded = imagecodecs.gzip_decode(packed, out=found.data)
    except (imagecodecs.DeflateError, ValueError):  # a value error is of the header
        return None
    # libdeflate stops behind the first member, which ends with its trailer: there where it first occurs, at the latest
    trailer = TRAILER.pack(crc32(found.data), size)
    if len(decoded) != size or packed.find(trailer) != len(packed) - TRAILER.size:
        return None
    return found


def crc32(data: bytes | memoryview, begun: int = 0) -> int:
    """The checksum of zlib and gzip; `begun` is that of what came before."""
    return int(imagecodecs.deflate_crc32(data, begun))  # type: ignore[arg-type]  # any bytes in one piece will do
