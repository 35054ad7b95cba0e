"""Image and mask files to and from the values of `segmed.core`; the format is told by a file's content."""

from segmed.io.reading import read_image, read_mask
from segmed.io.writing import write_mask

__all__ = ["read_image", "read_mask", "write_mask"]
