"""The part of a split that is evaluated: which slices, of which patients, and what is to be said of the split."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, UInt8

from segmed.core.errors import SplitError
from segmed.core.records import Record, by_volume
from segmed.core.split import Partition, PartName, Split
from segmed.core.volume import Triple
from segmed.data.decoded import DecodedDataset
from segmed.data.splits import leak_figures, patients_known
from segmed.evaluation.split_facts import SplitFacts
from segmed.evaluation.volume import PatientVolume

Masks = list[UInt8[np.ndarray, "_h _w"]]
Probabilities = list[Float32[np.ndarray, "_k _h _w"]]
Predict = Callable[[Sequence[Record]], tuple[Masks, Probabilities | None]]
"""Predict the slices of one volume, in order: labels on the original grid, and probabilities where there are any."""


def records_of(decoded: DecodedDataset, slice_ids: Sequence[str]) -> dict[str, list[Record]]:
    """The records of some slices by volume, slices in order. Raises `SplitError` naming a slice that is not there."""
    known = decoded.dataset.by_slice_id()
    lost = [slice_id for slice_id in slice_ids if slice_id not in known]
    if lost:
        raise SplitError(
            f"slice {lost[0]} of the split is not in {decoded.dataset.root}. Use the data it was made for."
        )
    wanted = set(slice_ids)
    groups = by_volume(record for record in decoded.dataset.records if record.slice_id in wanted)
    return {volume: sorted(records, key=lambda record: record.slice_index) for volume, records in groups.items()}


def volumes(
    decoded: DecodedDataset, groups: Mapping[str, Sequence[Record]], predict: Predict
) -> Iterator[PatientVolume]:
    """Predict volume after volume and put each beside its reference."""
    for volume, records in groups.items():
        masks, probabilities = predict(records)
        yield PatientVolume(
            patient=records[0].patient,
            volume=volume,
            spacing=spacing_of(decoded, volume),
            slice_ids=tuple(record.slice_id for record in records),
            reference=[decoded.mask(record.slice_id) for record in records],
            prediction=masks,
            probability=probabilities,
            slice_indices=tuple(record.slice_index for record in records),
        )


def spacing_of(decoded: DecodedDataset, volume: str) -> Triple | None:
    """Millimetres from slice to slice, row to row and column to column of a volume; None where they are not known."""
    grid = decoded.grid(volume)
    return None if grid is None else grid.spacing


def split_facts(decoded: DecodedDataset, split: Split, fold: int, part: PartName) -> SplitFacts:
    """The facts for the report: how the split was made, its sizes, and how far the part is known from training."""
    partition = split.fold(fold)
    slice_ids = partition.part(part)
    leak = leak_figures(decoded.dataset.records, Partition(partition.train, (), slice_ids))
    known = patients_known(split, decoded)
    facts = SplitFacts(
        strategy=split.strategy,
        seed=split.seed,
        fold=fold,
        folds=len(split.folds),
        patients_known=known,
        units=leak.test_patients,
        slices=len(slice_ids),
        train_units=len({split.patient_of[slice_id] for slice_id in partition.train}),
        train_slices=len(partition.train),
    )
    if not known:  # who is in training too cannot be counted
        return facts
    return replace(
        facts,
        patients_also_in_train=leak.patients_also_in_train,
        slices_with_train_neighbour=leak.with_train_neighbour,
        share_with_train_neighbour=leak.share,
    )
