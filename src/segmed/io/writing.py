"""Write masks: aside first, then renamed, so that nobody sees half a file."""

from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import written_aside
from segmed.core.image import Mask
from segmed.core.labels import LabelMap
from segmed.io.formats import FORMATS, MASK_SUFFIXES


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
    suffix = path.suffix.lower()
    write = next((row.write_mask for row in FORMATS if suffix in row.suffixes), None)
    if write is None:
        raise DataError(
            f"{path}: masks cannot be written with suffix {path.suffix!r}; "
            f"expected one of {', '.join(MASK_SUFFIXES)}. Choose another name."
        )
    highest = int(mask.array.max(initial=0))
    if highest > len(labels.names):
        raise DataError(
            f"{path}: label {highest} in the mask, but only {len(labels.names)} are named. Use the right label map."
        )
    with written_aside(path) as temporary:
        write(temporary, labels.encode(mask.array))
