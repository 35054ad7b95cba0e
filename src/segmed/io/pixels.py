"""What every decoder returns, and the limits that it keeps to before it decodes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from segmed.core.errors import DataError

MAX_DECODED_BYTES = 2**28
"""The largest image, decoded, that is read: 256 MiB, such as 9459 x 9459 pixels of 8-bit RGB.

It is checked against the header, so that a small file that expands to gigabytes is refused and not decoded.
"""

MAX_PIXELS = MAX_DECODED_BYTES // 3
"""The most pixels, however small each is: 9459 x 9459. It is below Pillow's own limit."""


@dataclass(frozen=True)
class Pixels:
    """Pixels as a file stores them: grey or palette indices (`h w`), or channels last (`h w c`).

    `palette` holds the RGB colour of each index where the file stores indices, else None. `white_is_zero` says that
    the file stores bright as small; `array` is turned already. `step` is what 1 is shown as where white is 255: 85
    and 17 of greys of 2 and 4 bits.
    """

    array: Shaped[np.ndarray, "..."]
    palette: UInt8[np.ndarray, "n 3"] | None = None
    white_is_zero: bool = False
    step: int = 1


def require_moderate_size(path: Path, shape: Sequence[int], dtype: np.dtype) -> None:
    """Raise `DataError` where an array of `shape` and `dtype` is above `MAX_DECODED_BYTES` or `MAX_PIXELS`."""
    size, pixels = math.prod(shape) * dtype.itemsize, math.prod(shape[:2]) if len(shape) >= 2 else 0
    if size <= MAX_DECODED_BYTES and pixels <= MAX_PIXELS:
        return
    dimensions = " x ".join(str(side) for side in shape)
    reason = f"decode to {size / 2**20:.0f} MiB, more than the limit of {MAX_DECODED_BYTES // 2**20} MiB"
    if size <= MAX_DECODED_BYTES:
        reason = f"are more than the limit of {MAX_PIXELS / 1e6:.0f} million"
    raise DataError(f"{path}: {dimensions} pixels {reason}. Check that the file is meant; cut it into tiles if so.")
