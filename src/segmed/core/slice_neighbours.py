"""Slices of one patient as a volume: which are neighbours, and which only look like it because slices are missing."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from segmed.core.errors import DataError


def neighbour_indices(positions: Sequence[int], reach: int) -> tuple[tuple[int, ...], ...]:
    """For each slice the indices of itself and its `reach` neighbours on either side, from below to above.

    `positions` are the slices' rising places in the volume. Where the next place is not there, at an end of the volume
    or at a gap, the last slice before it is repeated. Raises `DataError` where positions do not rise.
    """
    if any(after <= before for before, after in pairwise(positions)):
        raise DataError(f"Slices must be in order, each place once, got {list(positions)[:8]}. Sort them by position.")
    return tuple(
        (*reversed(_walk(positions, index, -1, reach)), index, *_walk(positions, index, 1, reach))
        for index in range(len(positions))
    )


def _walk(positions: Sequence[int], start: int, step: int, reach: int) -> list[int]:
    """The next `reach` slices in one direction, staying where the volume ends or has a gap."""
    here, found = start, []
    for _ in range(reach):
        ahead = here + step
        if 0 <= ahead < len(positions) and positions[ahead] - positions[here] == step:
            here = ahead
            found.append(here)
        else:
            found.extend([here] * (reach - len(found)))
            break
    return found


def stacked(slices: Sequence[Bool[np.ndarray, "h w"]], positions: Sequence[int]) -> Bool[np.ndarray, "d h w"]:
    """Stack slices into a volume, with an empty slice wherever positions jump, so that no component crosses.

    Raises `DataError` where slices differ in size.
    """
    sizes = sorted({each.shape for each in slices})
    if len(sizes) > 1:
        shown = " and ".join(f"{height}x{width}" for height, width in sizes[:2])
        raise DataError(f"Slices of one volume differ in size ({shown}), so nothing can be joined across them.")
    gap = np.zeros_like(slices[0])
    volume = [slices[0]]
    for before, after, mask in zip(positions, positions[1:], slices[1:], strict=False):
        volume += [mask] if after - before == 1 else [gap, mask]
    return np.stack(volume)
