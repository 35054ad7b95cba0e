"""PNG and JPEG, by Pillow; PNG of 16 bits per channel by imagecodecs, since Pillow would cut it to 8."""

import struct
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow

from segmed.core.errors import DataError
from segmed.io.formats import Format, damaged
from segmed.io.pixels import MAX_DECODED_BYTES, Pixels, require_moderate_size

PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
READABLE_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I")
EXIF_ORIENTATION = 0x0112


def read_png(path: Path) -> Pixels:
    """Decode a PNG of 1 to 16 bits: grey, palette or RGB, with or without alpha."""
    with path.open("rb") as file:
        header = file.read(26)
    if len(header) < 26 or header[12:16] != b"IHDR":
        raise DataError(f"{path}: damaged or truncated PNG (no header). Copy or export it again.")
    width, height, bits, colour_type = struct.unpack(">IIBB", header[16:26])
    dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
    require_moderate_size(path, (height, width, PNG_CHANNELS.get(colour_type, 4)), dtype)
    return _read_deep_png(path) if bits == 16 else _read_by_pillow(path, "PNG")


def read_jpeg(path: Path) -> Pixels:
    """Decode a grey or RGB JPEG, pixels as stored."""
    return _read_by_pillow(path, "JPEG")


def _read_deep_png(path: Path) -> Pixels:
    import imagecodecs

    try:
        return Pixels(np.asarray(imagecodecs.png_decode(path.read_bytes())))
    except Exception as error:  # the decoder has its own exception types
        raise damaged(path, "PNG", error) from error


def _read_by_pillow(path: Path, what: Format) -> Pixels:
    try:
        with Pillow.open(path, formats=[what]) as picture:
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
    frames = getattr(picture, "n_frames", 1)
    if picture.format == "PNG" and frames > 1:
        raise DataError(f"{path}: {frames} frames, expected one image per file. Save each frame alone.")
    if picture.mode not in READABLE_MODES:
        raise DataError(f"{path}: colour mode {picture.mode}, expected grey or RGB. Convert it to RGB.")
    if picture.format != "PNG" and picture.getexif().get(EXIF_ORIENTATION, 1) != 1:
        raise DataError(
            f"{path}: the pixels are stored turned (EXIF orientation), so image and mask could disagree. "
            "Turn them for good, for example with `mogrify -auto-orient`."
        )


def _palette(picture: Pillow.Image) -> UInt8[np.ndarray, "n 3"] | None:
    if picture.mode != "P":
        return None
    colours = picture.getpalette("RGB") or []
    return np.asarray(colours, np.uint8).reshape(-1, 3)
