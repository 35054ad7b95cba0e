"""PNG and JPEG, by Pillow; PNG of 16 bits per channel by imagecodecs, since Pillow would cut it to 8."""

import io
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow

from segmed.core.errors import DataError
from segmed.io.jpeg_checks import require_whole_jpeg
from segmed.io.pixels import MAX_DECODED_BYTES, Pixels, require_moderate_size
from segmed.io.png_chunks import checked_chunks
from segmed.io.refusals import damaged

PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
GREY_STEPS = {2: 85, 4: 17}
"""By which Pillow multiplies greys of fewer than 8 bits, by their bits."""
READABLE_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I")
EXIF_ORIENTATION = 0x0112


def read_png(path: Path) -> Pixels:
    """Decode a PNG of 1 to 16 bits, values as stored: grey, palette or RGB, with or without alpha.

    Raises:
        DataError: for a damaged file, for several frames and for pixels that are stored turned.
    """
    data = path.read_bytes()
    chunks = checked_chunks(path, data)
    width, height, bits, colour_type = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
    require_moderate_size(path, (height, width, PNG_CHANNELS.get(colour_type, 4)), dtype)
    if b"acTL" in chunks:
        raise DataError(f"{path}: several frames, expected one image per file. Save each frame alone.")
    exif = Pillow.Exif()
    if b"eXIf" in chunks:
        exif.load(b"Exif\x00\x00" + chunks[b"eXIf"])
    _require_upright(path, exif)
    if bits == 16:
        return _read_deep_png(path, data)
    pixels = _read_by_pillow(path, "PNG", data)
    step = GREY_STEPS.get(bits, 1) if colour_type == 0 else 1
    return pixels if step == 1 else replace(pixels, array=pixels.array // np.uint8(step), step=step)


def read_jpeg(path: Path) -> Pixels:
    """Decode a grey or RGB JPEG, pixels as stored."""
    data = path.read_bytes()
    require_whole_jpeg(path, data)
    return _read_by_pillow(path, "JPEG", data)


def write_png(path: Path, array: UInt8[np.ndarray, "..."]) -> None:
    """Write grey or RGB pixels of 8 bits."""
    Pillow.fromarray(array).save(path, format="PNG")


def _read_deep_png(path: Path, data: bytes) -> Pixels:
    import imagecodecs

    try:
        return Pixels(np.asarray(imagecodecs.png_decode(data)))
    except Exception as error:  # the decoder has its own exception types
        raise damaged(path, "PNG", error) from error


def _read_by_pillow(path: Path, what: str, data: bytes) -> Pixels:
    try:
        with Pillow.open(io.BytesIO(data), formats=[what]) as picture:
            _require_plain(path, picture)
            require_moderate_size(path, (picture.height, picture.width, len(picture.getbands())), np.dtype(np.uint8))
            palette = _palette(picture)
            return Pixels(np.asarray(picture), palette)
    except DataError:
        raise
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise DataError(
            f"{path}: decodes to more than the limit of {MAX_DECODED_BYTES // 2**20} MiB. "
            "Check that the file is meant; cut it into tiles if so."
        ) from error
    except Exception as error:  # a damaged file makes Pillow raise anything, from OSError to SyntaxError
        raise damaged(path, what, error) from error


def _require_plain(path: Path, picture: Pillow.Image) -> None:
    if picture.mode not in READABLE_MODES:
        raise DataError(f"{path}: colour mode {picture.mode}, expected grey or RGB. Convert it to RGB.")
    if picture.format == "JPEG":
        _require_upright(path, picture.getexif())


def _require_upright(path: Path, exif: Pillow.Exif) -> None:
    if exif.get(EXIF_ORIENTATION, 1) != 1:
        raise DataError(
            f"{path}: the pixels are stored turned (EXIF orientation), so image and mask could disagree. "
            "Turn them for good, for example with `mogrify -auto-orient`."
        )


def _palette(picture: Pillow.Image) -> UInt8[np.ndarray, "n 3"] | None:
    if picture.mode != "P":
        return None
    colours = picture.getpalette("RGB") or []
    return np.asarray(colours, np.uint8).reshape(-1, 3)
