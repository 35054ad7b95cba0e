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

MIN_BYTES_PER_PIXEL = 3
"""Grey images count as RGB, so that our limit on pixels is never above Pillow's own."""


@dataclass(frozen=True)
class Pixels:
    """Pixels as a file stores them: grey or palette indices (`h w`), or channels last (`h w c`).

    `palette` holds the RGB colour of each index where the file stores indices, else None.
    """

    array: Shaped[np.ndarray, "..."]
    palette: UInt8[np.ndarray, "n 3"] | None = None


def require_moderate_size(path: Path, shape: Sequence[int], dtype: np.dtype) -> None:
    """Raise `DataError` where an array of `shape` and `dtype` is above `MAX_DECODED_BYTES`."""
    size = math.prod(shape) * dtype.itemsize
    if len(shape) >= 2:
        size = max(size, shape[0] * shape[1] * MIN_BYTES_PER_PIXEL)
    if size > MAX_DECODED_BYTES:
        dimensions = " x ".join(str(side) for side in shape)
        raise DataError(
            f"{path}: {dimensions} pixels decode to {size / 2**20:.0f} MiB, more than the limit of "
            f"{MAX_DECODED_BYTES // 2**20} MiB. Check that the file is meant; cut it into tiles if so."
        )
