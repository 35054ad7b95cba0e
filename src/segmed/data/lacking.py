"""Labels that a part of a split does not have: what cannot be learnt, chosen or scored there."""

from collections.abc import Sequence

import numpy as np

from segmed.core.errors import SplitError
from segmed.core.split import PARTS, PartName, Split
from segmed.data.decoded import DecodedDataset

_CONSEQUENCE: dict[PartName, str] = {
    "train": "it cannot be learnt",
    "validation": "epoch and threshold are chosen without it",
    "test": "it has no score there",
}


def lacking(data: DecodedDataset, slice_ids: Sequence[str]) -> tuple[str, ...]:
    """The labels of a data set, in its order, that no mask of these slices has."""
    names = data.dataset.labels.names
    seen = np.zeros(len(names) + 1, bool)
    for slice_id in slice_ids:
        if seen[1:].all():
            break
        seen |= np.bincount(data.mask(slice_id).ravel(), minlength=len(seen))[: len(seen)] > 0
    return tuple(name for name, there in zip(names, seen[1:], strict=True) if not there)


def lacking_warnings(data: DecodedDataset, split: Split, fold: int) -> tuple[str, ...]:
    """A sentence for each part of a fold that lacks labels, with what comes of it."""
    warnings = []
    for part in PARTS:
        slice_ids = split.fold(fold).part(part)
        if absent := lacking(data, slice_ids) if slice_ids else ():
            warnings.append(f"Fold {fold}: no mask of the {part} part has {', '.join(absent)}: {_CONSEQUENCE[part]}.")
    return tuple(warnings)


def require_labels(data: DecodedDataset, split: Split, fold: int, *, learnt: bool = True) -> None:
    """Raise `SplitError` where masks give nothing to choose epoch and threshold by, or, if `learnt`, nothing to learn.

    A label that some parts have and others lack is no error, see `lacking_warnings`; nor is a fold without validation.
    """
    parts: tuple[PartName, ...] = ("train", "validation") if learnt else ("validation",)
    everything = len(data.dataset.labels.names)
    for part in parts:
        slice_ids = split.fold(fold).part(part)
        if slice_ids and len(lacking(data, slice_ids)) == everything:
            why = "there is nothing to learn" if part == "train" else "epoch and threshold cannot be chosen"
            raise SplitError(
                f"Fold {fold}: all masks of the {part} part are empty, so {why}. Check the masks and --labels with "
                "`segmed data check`, or make another split with `segmed data split`."
            )
