"""Read images and masks; every refusal names the file, what was expected and what to do."""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from segmed.core.errors import DataError
from segmed.core.image import Geometry, Image, Mask
from segmed.core.labels import LabelMap
from segmed.io.formats import Content, format_of
from segmed.io.pixels import Pixels
from segmed.io.refusals import unreadable

MAX_CHANNELS = 16
"""More last-axis entries than this are no channels: the array is a volume, or has its channels first."""


def read_image(path: Path | str) -> Image:
    """Read a PNG, TIFF, JPEG, NPY or NPZ image as `h w c`, in the dtype that the file stores.

    Args:
        path: The file; its format is told by content.

    Returns:
        Palette images are expanded to RGB, grey ones have one channel, in which white is 255 where a PNG has 1, 2 or 4
        bits, and an NPZ gives its array `image` or its only array. Spacing is None: these formats hold printing
        resolution at most.

    Raises:
        DataError: A missing, unreadable, empty, truncated, damaged or too large file, several pages, or pixels that
            are not finite numbers.

    Example:
        >>> segmed.read_image("slice.tif").array.shape
        (64, 64, 3)
    """
    path = Path(path)
    pixels = _decode(path, "image")
    array = pixels.array if pixels.palette is None else _colours(path, pixels)
    if array.ndim == 2:
        array = array[..., None]
    _require_image_shape(path, array)
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    if pixels.step > 1:
        array = array * np.uint8(pixels.step)
    if array.dtype.kind not in "uif":
        raise DataError(f"{path}: pixels of type {array.dtype}, expected integers or floats. Convert them.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int(np.count_nonzero(~np.isfinite(array)))
        raise DataError(f"{path}: {count} NaN or infinite pixels, expected finite values. Repair the image.")
    return Image(array, Geometry((array.shape[0], array.shape[1])))


def read_mask(path: Path | str, labels: LabelMap) -> Mask:
    """Read a PNG, TIFF, NPY or NPZ mask as labels 0 … K, `h w`, uint8.

    Args:
        path: The file; its format is told by content.
        labels: Which stored grey value or colour is which label. Of a palette file the colours count where `labels` is
            in colours or the palette is grey, else the indices. In a yes/no (1-bit) mask no is 0, and yes is 255, or 1
            where `labels` names that value. In a grey PNG of 2 or 4 bits the stored values count where `labels` names
            all of them, else those that are shown, up to 255.

    Returns:
        The labels. Grey masks saved as RGB and opaque alpha channels are accepted.

    Raises:
        DataError: As in `read_image`; also JPEG, float or colour masks, TIFF masks whose zero is white, and values
            without a label.

    Example:
        >>> mask = segmed.read_mask("mask.tif", segmed.LabelMap())
        >>> int(mask.array.max())
        1
    """
    path = Path(path)
    pixels = _decode(path, "mask")
    stored = _mask_plane(path, pixels, labels)
    if pixels.white_is_zero:
        raise DataError(
            f"{path}: a mask whose zero is white (MinIsWhite), so that its values have two meanings. "
            "Save it with zero as black."
        )
    array = labels.decode(stored, str(path))
    return Mask(array, Geometry((array.shape[0], array.shape[1])))


def _decode(path: Path, wanted: Content) -> Pixels:
    row = format_of(path)
    if wanted == "mask" and row.write_mask is None:
        raise DataError(f"{path}: a {row.name} mask, whose compression changes labels. Export masks as PNG or TIFF.")
    try:
        return row.read(path, wanted)
    except OSError as error:
        raise unreadable(path, error) from error


def _require_image_shape(path: Path, array: Shaped[np.ndarray, "..."]) -> None:
    if array.ndim != 3 or 0 in array.shape or array.shape[2] > MAX_CHANNELS:
        raise DataError(
            f"{path}: array of shape {array.shape}, expected height x width, or height x width x channels "
            f"(at most {MAX_CHANNELS}). Put channels last and save one slice per file."
        )


def _colours(path: Path, pixels: Pixels) -> UInt8[np.ndarray, "h w 3"]:
    assert pixels.palette is not None
    if pixels.array.size and int(pixels.array.max()) >= len(pixels.palette):
        raise DataError(f"{path}: palette index {pixels.array.max()} has no colour. Export the file again.")
    return pixels.palette[pixels.array]


def _mask_plane(path: Path, pixels: Pixels, labels: LabelMap) -> Shaped[np.ndarray, "..."]:
    """Stored values as `LabelMap.decode` wants them: `h w`, or `h w 3` for colours."""
    array, in_colour = pixels.array, labels.is_colour
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(1 if 1 in labels.stored else 255)
    if pixels.step > 1 and not set(np.unique(array).tolist()) <= set(labels.stored):
        array = array * np.uint8(pixels.step)
    if pixels.palette is not None and (in_colour or _is_grey(pixels.palette)):
        array = _colours(path, pixels)
    if array.ndim == 3 and array.shape[2] in (2, 4):
        array = _without_alpha(path, array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] != 3):
        raise DataError(
            f"{path}: mask of shape {array.shape}, expected height x width. Save one mask per file, channels last."
        )
    if array.dtype.kind not in "ui":
        raise DataError(f"{path}: mask of type {array.dtype}, expected integers. Store label values as uint8.")
    return _as_colour(array) if in_colour else _as_grey(path, array)


def _as_colour(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "h w 3"]:
    return array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)


def _as_grey(path: Path, array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "h w"]:
    if array.ndim == 2:
        return array
    if not (array == array[..., :1]).all():
        raise DataError(
            f"{path}: a colour mask, expected grey values. Name its colours with --labels, as in "
            "`background=#000000,tumour=#ff0000`."
        )
    return array[..., 0]


def _without_alpha(path: Path, array: Shaped[np.ndarray, "h w c"]) -> Shaped[np.ndarray, "h w c-1"]:
    opaque = np.iinfo(array.dtype).max if array.dtype.kind in "ui" else 1
    if not (array[..., -1] == opaque).all():
        raise DataError(f"{path}: a partly transparent mask, expected plain values. Export it without alpha.")
    return array[..., :-1]


def _is_grey(palette: UInt8[np.ndarray, "n 3"]) -> bool:
    return bool((palette == palette[:, :1]).all())
