"""The evaluation of a run on whole volumes once more in three dimensions: distances in mm, sizes in ml."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segmed.core.records import Record
from segmed.core.volume import Volume
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.floors import save_with_floors
from segmed.evaluation.mask_cases import open_references
from segmed.evaluation.mask_labels import LabelNumbers
from segmed.evaluation.masks import score_masks
from segmed.evaluation.part import records_of
from segmed.evaluation.result import Evaluation
from segmed.evaluation.statistics import RESAMPLES
from segmed.io.volumes import write_volume


def save_in_mm(
    folder: Path, result: Evaluation, decoded: DecodedDataset, *, resamples: int = RESAMPLES, seed: int = 0
) -> Evaluation | None:
    """Score the masks of an evaluation as volumes, save that in `folder` and return it.

    Args:
        folder: Where to; an earlier evaluation there is replaced.
        result: The evaluation, of every slice of its volumes.
        decoded: The data that it is of.
        resamples: Bootstrap resamples of patients for the intervals.
        seed: Draws them.

    Returns:
        The scores of volumes; None where the data has no volumes of known spacing, or only some of their slices were
        scored.
    """
    groups = records_of(decoded, list(result.predictions))
    if not groups or not all(_is_whole(decoded, name, records) for name, records in groups.items()):
        return None
    with tempfile.TemporaryDirectory() as scratch:
        references: dict[str, Path] = {}
        predictions: dict[str, Path] = {}
        for number, (name, records) in enumerate(groups.items()):
            grid = decoded.grid(name)
            assert grid is not None
            arrays = {
                "reference": np.stack([decoded.mask(record.case) for record in records]),
                "prediction": np.stack([result.predictions[record.case] for record in records]),
            }
            for (kind, array), files in zip(arrays.items(), (references, predictions), strict=True):
                files[name] = Path(scratch) / f"{number}_{kind}.nii"
                write_volume(files[name], Volume(array, grid))
        names = {label: number for number, label in enumerate(result.labels.names, start=1)}
        numbers = LabelNumbers(names, "the data set")
        patients = {name: records[0].patient for name, records in groups.items()}
        scored = score_masks(
            predictions, open_references(references, labels=numbers, patients=patients), name=result.name,
            labels=numbers, context=result.context, cost=result.cost, references_stay=False, resamples=resamples,
            seed=seed,
        )  # fmt: skip
        save_with_floors(folder, scored, [])
    return Evaluation.load(folder)


def _is_whole(decoded: DecodedDataset, name: str, records: Sequence[Record]) -> bool:
    """Whether all slices of a volume are there, and its spacing is known."""
    grid = decoded.grid(name)
    return grid is not None and grid.spacing is not None and len(records) == grid.shape[0]
