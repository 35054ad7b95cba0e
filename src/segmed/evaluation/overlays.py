"""Pictures of one slice: the image in grey with the contours of reference and prediction.

Numpy and scipy only, so that any part may draw without a plotting library. Two colours of the palette of Okabe
and Ito (2008) are used, which remain distinct under the common forms of colour blindness and in grey print.
"""

import io

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from segmed.core.errors import DataError
from segmed.core.image import shown_channel

Colour = tuple[int, int, int]

REFERENCE_COLOUR: Colour = (86, 180, 233)
"""Sky blue."""
PREDICTION_COLOUR: Colour = (240, 160, 0)
"""Orange."""
_EMPTY_PAPER = 38
"""Grey level on which masks are drawn where there is no image."""
_PREDICTION_FILL: Colour = (98, 72, 24)


def overlay(
    image: Shaped[np.ndarray, "_ _ c"] | None,
    reference: UInt8[np.ndarray, "_ _"] | None,
    prediction: UInt8[np.ndarray, "h w"],
    *,
    channel: int | None = None,
    in_colour: bool = False,
    scale: int = 1,
    thickness: int = 1,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw the contours of a reference and a prediction over one channel of an image, or over its colours.

    `image` is of any integer or float dtype; None gives a plain dark ground on which the prediction is filled.
    Masks hold labels, 0 being background; every label is outlined. The reference's line runs just outside its
    region and the prediction's just inside, so that where both agree the two lines lie side by side and neither
    is hidden.
    `channel` defaults to `shown_channel`; with `in_colour` and no `channel`, an image of three channels is shown in
    colour. The picture has `scale` times the height and width; `thickness` is the width of a line in its pixels.

    Raises `DataError` where sizes differ or the channel does not exist.
    """
    _require_size(image, reference, prediction)
    if image is None:
        planes = [np.full(prediction.shape, _EMPTY_PAPER, np.uint8)] * 3
    elif in_colour and channel is None and image.shape[-1] == 3 and image.dtype == np.uint8:
        planes = [image[..., colour] for colour in range(3)]
    else:
        planes = [grey(image, channel=channel)] * 3
    picture = np.stack([_enlarge(plane, scale) for plane in planes], axis=-1)
    if image is None:
        picture[_repeat(prediction, scale) > 0] = _PREDICTION_FILL
    if reference is not None:
        picture[outline(_repeat(reference, scale), thickness, outside=True)] = REFERENCE_COLOUR
    picture[outline(_repeat(prediction, scale), thickness, outside=False)] = PREDICTION_COLOUR
    return picture


def grey(image: Shaped[np.ndarray, "h w c"], *, channel: int | None = None) -> UInt8[np.ndarray, "h w"]:
    """One channel as 8-bit grey, stretched from its 0.5th to its 99.5th percentile; not finite pixels are black."""
    channels = image.shape[-1]
    chosen = shown_channel(channels) if channel is None else channel
    if not 0 <= chosen < channels:
        raise DataError(
            f"Channel {chosen} does not exist: the image has channels 0 to {channels - 1}. Choose one of these."
        )
    plane = image[..., chosen].astype(np.float64)
    finite = np.isfinite(plane)
    if not finite.any():
        return np.zeros(plane.shape, np.uint8)
    low, high = np.percentile(plane[finite], (0.5, 99.5))
    span = high - low if high > low else 1.0
    plane = np.where(finite, plane, low)
    return np.asarray(np.rint(255 * np.clip((plane - low) / span, 0, 1)), np.uint8)


def outline(labels: UInt8[np.ndarray, "h w"], thickness: int, *, outside: bool) -> Bool[np.ndarray, "h w"]:
    """The pixels of a line around every label's region, drawn just outside or just inside of it.

    A region that touches the border of the picture gets its inside line along that border too.
    """
    from scipy import ndimage

    line = np.zeros(labels.shape, bool)
    for label in np.unique(labels[labels > 0]):
        region = labels == label
        if outside:
            line |= ndimage.binary_dilation(region, iterations=thickness) & ~region
        else:
            line |= region & ~ndimage.binary_erosion(region, iterations=thickness)
    return line


def png_bytes(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The picture as the bytes of a PNG file, with at most 256 colours so that a report stays small."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def crop_box(*masks: UInt8[np.ndarray, "h w"] | None, margin: float = 0.6, minimum: int = 96) -> tuple[slice, slice]:
    """A square window around everything that the masks mark, for a close look; the whole slice if they are empty.

    The window's side is the marked extent plus `margin` of it on each side, at least `minimum` pixels, and
    never leaves the slice (it is narrower where the slice is).
    """
    marked = np.any([mask > 0 for mask in masks if mask is not None], axis=0)
    rows, columns = np.nonzero(marked)
    if rows.size == 0:
        return slice(0, marked.shape[0]), slice(0, marked.shape[1])
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    side = max(int(extent * (1 + 2 * margin)), minimum)
    return _window(rows, side, marked.shape[0]), _window(columns, side, marked.shape[1])


def _window(positions: Shaped[np.ndarray, " n"], side: int, size: int) -> slice:
    side = min(side, size)
    start = (int(positions.min()) + int(positions.max()) + 1 - side) // 2
    start = min(max(start, 0), size - side)
    return slice(start, start + side)


def _enlarge(ground: UInt8[np.ndarray, "h w"], scale: int) -> UInt8[np.ndarray, "H W"]:
    if scale == 1:
        return ground
    from PIL import Image

    height, width = ground.shape
    enlarged = Image.fromarray(ground).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    return np.asarray(enlarged)


def _repeat(labels: UInt8[np.ndarray, "h w"], scale: int) -> UInt8[np.ndarray, "H W"]:
    return labels.repeat(scale, axis=0).repeat(scale, axis=1)


def _require_size(
    image: Shaped[np.ndarray, "_ _ c"] | None,
    reference: Shaped[np.ndarray, "..."] | None,
    prediction: Shaped[np.ndarray, "..."],
) -> None:
    for name, array in (("image", image), ("reference", reference)):
        if array is not None and array.shape[:2] != prediction.shape:
            raise DataError(
                f"The {name} is {array.shape[0]}x{array.shape[1]} but the prediction is "
                f"{prediction.shape[0]}x{prediction.shape[1]}. Bring the prediction back to the image's grid first."
            )
