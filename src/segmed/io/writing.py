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


def write_mask(path: Path | str, mask: Mask, labels: LabelMap) -> None:
    """Write a mask with the values or colours that `labels` stores; `read_mask` gives the same labels back.

    Args:
        path: Where to; the suffix says the format: PNG, TIFF (LZW), NPY or NPZ (array `mask`), all lossless.
        mask: Labels 0 … K.
        labels: The stored value or colour of each label.

    Raises:
        DataError: Another suffix, a label that `labels` lacks, or a file that cannot be written, such as on a full
            disk; an older file at `path` then stays as it was.

    Example:
        >>> mask = segmed.Mask(np.eye(4, dtype=np.uint8), segmed.Geometry((4, 4)))
        >>> segmed.write_mask("out.png", mask, segmed.LabelMap())
        >>> segmed.read_image("out.png").array.max().item()
        255
    """
    path = Path(path)
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
