"""Write masks: aside first, then renamed, so that nobody sees half a file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow

from segmed.core.errors import DataError
from segmed.core.files import written_aside
from segmed.core.image import Mask
from segmed.core.labels import LabelMap
from segmed.io.arrays import write_npy, write_npz
from segmed.io.tiff import write_tiff


def write_mask(path: Path, mask: Mask, labels: LabelMap) -> None:
    """Write a mask in the format of `path`'s suffix, with the values or colours that `labels` stores.

    PNG, TIFF (LZW), NPY and NPZ (array `mask`); all are lossless, and `read_mask` gives the same labels back.

    Raises `DataError` for another suffix, for a label that `labels` lacks, and where the file cannot be
    written, such as on a full disk; an older file at `path` then stays as it was.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise DataError(
            f"{path}: masks cannot be written with suffix {path.suffix!r}; "
            f"expected one of {', '.join(WRITERS)}. Choose another name."
        )
    highest = int(mask.array.max(initial=0))
    if highest > len(labels.names):
        raise DataError(
            f"{path}: label {highest} in the mask, but only {len(labels.names)} are named. Use the right label map."
        )
    with written_aside(path) as temporary:
        write(temporary, labels.encode(mask.array))


def _write_png(path: Path, array: UInt8[np.ndarray, "..."]) -> None:
    Pillow.fromarray(array).save(path, format="PNG")


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    ".png": _write_png,
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".npy": write_npy,
    ".npz": write_npz,
}
