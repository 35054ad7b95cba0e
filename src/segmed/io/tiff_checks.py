"""What a TIFF's tags say, held against the file: what disagrees is refused, since decoders fill gaps with zeros.

Reference: TIFF revision 6.0 (Aldus, 1992), sections 3 to 8, 13, 15, 21 and 22. Where we are stricter: tags that decide
what pixels mean must be there, strips and tiles may overlap neither each other nor the tags, and no segment may decode
to another size than its place in the image has.
"""

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC

from segmed.core.errors import DataError
from segmed.io.jpeg_checks import frame_sizes, require_whole_jpeg

REQUIRED = ("ImageWidth", "ImageLength", "PhotometricInterpretation")
"""Tags without which pixels would be guessed. Missing bits per sample mean 1, and the size of strips must agree."""
SCALARS = (
    *REQUIRED, "Compression", "SamplesPerPixel", "PlanarConfiguration", "RowsPerStrip", "TileWidth", "TileLength",
    "Orientation", "Predictor",
)  # fmt: skip
"""Tags of one number."""
LOSSLESS = {
    COMPRESSION.LZW: imagecodecs.lzw_decode,
    COMPRESSION.PACKBITS: imagecodecs.packbits_decode,
    COMPRESSION.LZMA: imagecodecs.lzma_decode,
    COMPRESSION.ZSTD: imagecodecs.zstd_decode,
}
DEFLATE = (COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE)
READABLE = (COMPRESSION.NONE, COMPRESSION.JPEG, *DEFLATE, *LOSSLESS)
COLOURS = {PHOTOMETRIC.MINISWHITE: 1, PHOTOMETRIC.MINISBLACK: 1, PHOTOMETRIC.PALETTE: 1, PHOTOMETRIC.RGB: 3}
"""Channels of a pixel without its extra samples."""
HEADER = 8


@dataclass(frozen=True)
class _Segment:
    """A strip or tile: where it lies in the file, and the size of the part of the image that it is."""

    offset: int
    count: int
    rows: int
    columns: int


def require_sound(path: Path, page: tifffile.TiffPage, data: bytes, *, several: bool = False) -> None:
    """Hold the tags of a page against the whole file `data`.

    Args:
        path: The file, for errors.
        page: One of its pages.
        data: All of its bytes.
        several: Whether pages may follow this one.

    Raises:
        DataError: naming what is missing, unknown or at odds: meaning of pixels, orientation, number, place and size
            of strips and tiles.
    """
    _require_all_tags(path, page, data, several)
    _require_meaning(path, page)
    segments = _segments(path, page)
    _require_apart(path, page, segments, len(data))
    for segment in segments:
        _require_size(path, page, segment, data[segment.offset : segment.offset + segment.count])


def places_of(path: Path, page: tifffile.TiffPage) -> list[tuple[int, int]]:
    """Where the pixels of a page lie in its file: first byte and end of each strip or tile."""
    return [(each.offset, each.offset + each.count) for each in _segments(path, page)]


def _require_all_tags(path: Path, page: tifffile.TiffPage, data: bytes, several: bool) -> None:
    """Every tag of the directory was understood, and none follows it: tifffile leaves out what it cannot read."""
    order = page.parent.byteorder
    count, entry, after = ("Q", 20, "Q") if page.parent.is_bigtiff else ("H", 12, "I")
    (tags,) = struct.unpack_from(order + count, data, page.offset)
    (following,) = struct.unpack_from(order + after, data, page.offset + struct.calcsize(count) + entry * tags)
    if tags != len(page.tags) or (following and not several):
        raise _damaged(path, "its directory of tags is not whole")
    for name in SCALARS:
        if name in page.tags and page.tags[name].count != 1:
            raise _damaged(path, f"tag {name} has {page.tags[name].count} values")


def _require_meaning(path: Path, page: tifffile.TiffPage) -> None:
    missing = [name for name in REQUIRED if name not in page.tags]
    if missing:
        raise _damaged(path, f"tag {missing[0]} is missing")
    if page.compression not in READABLE:
        name = getattr(page.compression, "name", page.compression)
        raise DataError(f"{path}: TIFF of compression {name}, expected none, LZW or deflate. Export it again.")
    if _number(page, "Orientation", 1) != 1:
        raise DataError(
            f"{path}: the pixels are stored turned (tag Orientation), so image and mask could disagree. "
            "Turn them for good, for example with `mogrify -auto-orient`."
        )
    colours = COLOURS.get(page.photometric)
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression == COMPRESSION.JPEG:
        colours = 3
    if colours is None:
        name = getattr(page.photometric, "name", page.photometric)
        raise DataError(f"{path}: TIFF in colour space {name}, expected grey, palette or RGB. Convert it to RGB.")
    extra = page.tags.get("ExtraSamples")
    if page.samplesperpixel - (0 if extra is None else extra.count) != colours:
        raise _damaged(path, f"{page.samplesperpixel} samples a pixel do not fit its colour space")
    depths = page.tags.get("BitsPerSample")
    if page.bitspersample != 1 and (depths is None or depths.count != page.samplesperpixel):
        raise _damaged(path, "tag BitsPerSample is not one number for each sample")
    if page.samplesperpixel > 1 and _number(page, "PlanarConfiguration", 0) not in (1, 2):
        raise _damaged(path, "tag PlanarConfiguration does not say how its samples lie")
    if page.compression == COMPRESSION.JPEG and page.dtype != np.uint8:
        raise _damaged(path, f"a JPEG of {page.bitspersample} bits a sample")
    if _number(page, "Predictor", 1) != 1 and page.compression not in (*LOSSLESS, *DEFLATE):
        raise _damaged(path, "a predictor without a compression")
    _require_palette(path, page)


def _require_palette(path: Path, page: tifffile.TiffPage) -> None:
    is_palette = page.photometric == PHOTOMETRIC.PALETTE
    colours = page.tags.get("ColorMap")
    if is_palette != (colours is not None):
        raise _damaged(path, "a colour map without its colour space, or the reverse")
    bits = page.bitspersample
    whole = page.dtype is not None and page.dtype.kind in "ub" and bits <= 16
    if colours is not None and not (whole and colours.count == 3 << bits):
        raise _damaged(path, "its colour map does not fit its pixels")


def _segments(path: Path, page: tifffile.TiffPage) -> list[_Segment]:
    """All strips or tiles, in order. Raises `DataError` where their number is not that of the image's."""
    kind = "Tile" if "TileWidth" in page.tags else "Strip"
    offsets, counts = (_numbers(path, page, f"{kind}{what}") for what in ("Offsets", "ByteCounts"))
    height, width = page.imagelength, page.imagewidth
    if kind == "Tile":
        rows, columns = page.tilelength, page.tilewidth
        if rows < 1 or columns < 1:
            raise _damaged(path, "tiles of no size")
        sizes = [(rows, columns)] * (math.ceil(height / rows) * math.ceil(width / columns))
    else:
        rows = min(_number(page, "RowsPerStrip", height), height)
        if rows < 1:
            raise _damaged(path, "strips of no rows")
        sizes = [(min(rows, height - first), width) for first in range(0, height, rows)]
    sizes = sizes * _planes(page)
    if not len(offsets) == len(counts) == len(sizes):
        raise _damaged(path, f"{len(offsets)} {kind.lower()}s where its size needs {len(sizes)}")
    return [_Segment(*place, *size) for place, size in zip(zip(offsets, counts, strict=True), sizes, strict=True)]


def _require_apart(path: Path, page: tifffile.TiffPage, segments: list[_Segment], file_size: int) -> None:
    """Pixels lie in the file, and share no byte with each other, the header or the tags."""
    big = page.parent.is_bigtiff
    entry, ends, inline = (
        (20, 16, 8) if big else (12, 6, 4)
    )  # bytes of a tag, of count and next offset, of a value in it
    taken = [(0, HEADER), (page.offset, page.offset + ends + entry * len(page.tags))]
    outside = [tag for tag in page.tags if tag.valuebytecount > inline]
    taken += [(tag.valueoffset, tag.valueoffset + tag.valuebytecount) for tag in outside]
    missing = sum(not 0 < each.count <= file_size - each.offset for each in segments)
    if missing or not segments:
        raise DataError(f"{path}: truncated TIFF ({missing} strips missing). Copy or export it again.")
    pixels = [(each.offset, each.offset + each.count) for each in segments]
    ordered = sorted([*((*each, True) for each in pixels), *((*each, False) for each in taken)])
    pixels_end = contents_end = 0
    for start, end, is_pixels in ordered:
        if start < (contents_end if is_pixels else pixels_end):
            raise _damaged(path, "its pixels lie where other contents do")
        contents_end = max(contents_end, end)
        pixels_end = max(pixels_end, end if is_pixels else 0)


def _require_size(path: Path, page: tifffile.TiffPage, segment: _Segment, stored: bytes) -> None:
    """A segment decodes to as many bytes as its part of the image has; never decodes much more to find out."""
    if page.compression == COMPRESSION.JPEG:
        _require_jpeg_size(path, page, segment, stored)
        return
    samples = 1 if _planes(page) > 1 else page.samplesperpixel
    expected = segment.rows * math.ceil(segment.columns * samples * page.bitspersample / 8)
    if page.compression == COMPRESSION.NONE:
        size = len(stored)
    elif page.compression in DEFLATE:
        size = len(zlib.decompressobj().decompress(stored, expected + 1))
    else:
        size = len(LOSSLESS[page.compression](stored, out=expected + 1))
    if size != expected:
        raise _damaged(path, f"a strip or tile of {size} bytes where its size needs {expected}")


def _require_jpeg_size(path: Path, page: tifffile.TiffPage, segment: _Segment, stored: bytes) -> None:
    require_whole_jpeg(path, stored)
    sizes = list(frame_sizes(stored))
    if sizes != [(segment.rows, segment.columns)]:
        raise _damaged(path, f"a JPEG of {sizes or 'no size'} where its place has {segment.rows} x {segment.columns}")


def _planes(page: tifffile.TiffPage) -> int:
    """How often the image is stored: once for each sample where they lie apart."""
    return int(page.samplesperpixel) if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1


def _number(page: tifffile.TiffPage, name: str, default: int) -> int:
    tag = page.tags.get(name)
    return default if tag is None else int(tag.value)


def _numbers(path: Path, page: tifffile.TiffPage, name: str) -> tuple[int, ...]:
    tag = page.tags.get(name)
    if tag is None:
        raise _damaged(path, f"tag {name} is missing")
    value: Any = tag.value
    return tuple(map(int, value)) if isinstance(value, tuple) else (int(value),)


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path}: damaged or truncated TIFF ({why}). Copy or export it again.")
