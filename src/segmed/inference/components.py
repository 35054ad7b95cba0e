"""Post-processing: components too small to be believed become background."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, UInt8

from segmed.core.components import components
from segmed.core.slice_neighbours import stacked
from segmed.models.prediction import PredictionConfig


def removed(
    masks: Sequence[UInt8[np.ndarray, "_h _w"]], positions: Sequence[int], prediction: PredictionConfig
) -> list[UInt8[np.ndarray, "_h _w"]]:
    """The masks of a patient's slices without the small components that a run's post-processing removes."""
    return remove_small(
        masks,
        positions,
        in_slice=prediction.smallest_in_slice,
        in_volume=prediction.smallest_in_volume,
        share=prediction.smallest_share,
    )


def remove_small(
    masks: Sequence[UInt8[np.ndarray, "_h _w"]],
    positions: Sequence[int],
    *,
    in_slice: int = 0,
    in_volume: int = 0,
    share: float = 0.0,
) -> list[UInt8[np.ndarray, "_h _w"]]:
    """The masks (labels 0 … K) of a patient's slices without components below `in_slice` px, `in_volume` voxels, or
    `share` of the voxels of the label's largest component.

    Each label has components of its own, 8-connected in a slice and 26-connected in the volume; a gap in `positions`
    separates, their order does not matter. In-slice components go first. Slices may differ in size only where nothing
    is removed by volume.
    """
    order = sorted(range(len(masks)), key=lambda index: positions[index])
    kept = [mask.copy() for mask in masks]
    for label in sorted({int(value) for mask in masks for value in np.unique(mask)} - {0}):
        if in_slice > 1:
            for mask in kept:
                mask[small_components(mask == label, in_slice)] = 0
        if in_volume > 1 or share > 0:
            places = [positions[index] for index in order]
            volume = stacked([kept[index] == label for index in order], places)
            small = small_components(volume, in_volume, share)
            for index, where in zip(order, places_in_stack(places), strict=True):
                kept[index][small[where]] = 0
    return kept


def small_components(binary: Bool[np.ndarray, "*grid"], smallest: int, share: float = 0.0) -> Bool[np.ndarray, "*grid"]:
    """Where components (connected also by corners) of fewer than `smallest` pixels, or `share` of the largest, are."""
    found = components(binary)
    return found.where(found.sizes < max(smallest, share * found.sizes.max(initial=0)))


def places_in_stack(positions: Sequence[int]) -> list[int]:
    """Where `core.slice_neighbours.stacked` puts each slice: one further along for every gap before it."""
    places = [0] if positions else []
    for before, after in pairwise(positions):
        places.append(places[-1] + (1 if after - before == 1 else 2))
    return places
