"""The chunks of a PNG file, each checked against its CRC, before any decoder sees them (PNG, third edition, sec. 5)."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from segmed.core.errors import DataError

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def checked_chunks(path: Path, data: bytes) -> dict[bytes, bytes]:
    """The contents of a PNG file's chunks by type, the first of each type; image data is left out.

    Decoders of 8-bit images pass over damage and fill what is missing with zeros, which for a mask is background.

    Raises:
        DataError: where a chunk's CRC is wrong, where the file does not begin with its header or end with its end.
    """
    found: dict[bytes, bytes] = {}
    last = b""
    for name, content in _chunks(path, data):
        if not last and name != b"IHDR":
            raise _damaged(path, "no header")
        if name != b"IDAT":
            found.setdefault(name, content)
        last = name
    if last != b"IEND":
        raise _damaged(path, "its end is missing")
    if len(found[b"IHDR"]) != 13:
        raise _damaged(path, "no header")
    return found


def _chunks(path: Path, data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place, size = len(SIGNATURE), len(data)
    while place < size:
        if place + 12 > size:
            raise _damaged(path, "its end is missing")
        length, name = struct.unpack(">I4s", data[place : place + 8])
        end = place + 12 + length
        if end > size:
            raise _damaged(path, "its end is missing")
        (stored,) = struct.unpack(">I", data[end - 4 : end])
        if zlib.crc32(memoryview(data)[place + 4 : end - 4]) != stored:
            raise _damaged(path, f"checksum of chunk {name.decode('latin-1')!r} is wrong")
        yield name, data[place + 8 : end - 4]
        if name == b"IEND":
            return
        place = end


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path}: damaged or truncated PNG ({why}). Copy or export it again.")
