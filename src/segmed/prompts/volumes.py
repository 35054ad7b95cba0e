"""One box for each lesion of a volume: on the slice where it is largest, as a reader would draw it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from segmed.core.components import components
from segmed.prompts.masks import tight_boxes
from segmed.prompts.sampling import Prompted
from segmed.prompts.value import Prompts


def largest_slices(masks: Sequence[Bool[np.ndarray, "h w"]], positions: Sequence[int]) -> list[Prompted]:
    """A tight box for each lesion of the volume, on the slice of its largest area (the first among equals).

    A lesion is a 26-connected component; slices whose positions are not neighbours do not touch. Returns one value
    per slice: the boxes on it, each with the lesion's part there as its target, the largest part first, and no prompt
    where no lesion is largest. All masks have one size.
    """
    order = sorted(range(len(masks)), key=lambda index: positions[index])
    parts: list[list[Bool[np.ndarray, "h w"]]] = [[] for _ in masks]
    for run in _runs(order, positions):
        found = components(np.stack([masks[index] for index in run]))
        for number in range(1, len(found) + 1):
            lesion = found.labels == number
            widest = int(lesion.sum(axis=(1, 2)).argmax())
            parts[run[widest]].append(lesion[widest])
    return [_prompted(mask, some) for mask, some in zip(masks, parts, strict=True)]


def _runs(order: Sequence[int], positions: Sequence[int]) -> list[list[int]]:
    """Indices of slices in the order of their positions, cut where these jump."""
    runs: list[list[int]] = []
    for index in order:
        if runs and positions[index] - positions[runs[-1][-1]] == 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _prompted(mask: Bool[np.ndarray, "h w"], parts: Sequence[Bool[np.ndarray, "h w"]]) -> Prompted:
    if not parts:
        return Prompted(Prompts(), mask[None])
    order = np.argsort([-np.count_nonzero(part) for part in parts], kind="stable")
    objects = np.stack([parts[index] for index in order])
    return Prompted(Prompts(boxes=tight_boxes(objects)), objects)
