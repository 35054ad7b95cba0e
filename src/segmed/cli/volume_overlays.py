"""A sheet of a volume's slices with the contours of its mask, for `segmed predict --overlays`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

    from segmed.data.cutting import CutVolume

TILES = 24
"""Slices on a sheet at most."""
ACROSS = 6


def write_volume_overlay(
    path: Path, cut: "CutVolume", masks: "UInt8[np.ndarray, 'slices rows columns']", *, in_colour: bool = False
) -> None:
    """Write up to 24 slices as one PNG, evenly through those that the mask reaches, or through all."""
    import numpy as np

    from segmed.core.files import written_aside
    from segmed.evaluation.overlays import overlay, png_bytes

    shown = slices_shown(masks)
    pictures = [overlay(cut.images[n], None, masks[n], in_colour=in_colour, scale=2, thickness=2) for n in shown]
    across = min(ACROSS, len(pictures))
    height, width = pictures[0].shape[:2]
    sheet = np.zeros((math.ceil(len(pictures) / across) * height, across * width, 3), np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, across)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = picture
    with written_aside(path) as temporary:
        temporary.write_bytes(png_bytes(sheet))


def slices_shown(masks: "UInt8[np.ndarray, 'slices rows columns']") -> list[int]:
    """Evenly spread slices, from the first that has a label to the last; of an empty mask from all."""
    import numpy as np

    reached = np.flatnonzero(masks.any(axis=(1, 2)))
    first, last = (int(reached[0]), int(reached[-1])) if reached.size else (0, len(masks) - 1)
    count = min(TILES, last - first + 1)
    return sorted({round(place) for place in np.linspace(first, last, count).tolist()})
