"""The evaluation of a run on whole volumes once more in three dimensions: distances in mm, sizes in ml."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from segmed.core.records import Record
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.floors import floor_folder, save_with_floors
from segmed.evaluation.masks.references import open_references
from segmed.evaluation.masks.score import score_masks
from segmed.evaluation.masks.slice_files import numbers_of, write_slices
from segmed.evaluation.part import records_of
from segmed.evaluation.result import Evaluation
from segmed.evaluation.statistics import RESAMPLES


def save_in_mm(
    folder: Path,
    result: Evaluation,
    decoded: DecodedDataset,
    floors: Sequence[Evaluation] = (),
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Evaluation]:
    """Score the masks of an evaluation and of its floors as volumes, save that in `folder` and return it.

    Args:
        folder: Where to; an earlier evaluation there is replaced.
        result: The evaluation, of every slice of its volumes.
        decoded: The data that it is of.
        floors: Baselines scored on the same slices.
        resamples: Bootstrap resamples of patients for the intervals.
        seed: Draws them.

    Returns:
        The scores of volumes, then those of the floors; nothing where the data has no volumes of known spacing, or
        only some of their slices were scored.
    """
    groups = records_of(decoded, list(result.predictions))
    if not groups or not all(_is_whole(decoded, name, records) for name, records in groups.items()):
        return []
    numbers = numbers_of(decoded)
    patients = {name: records[0].patient for name, records in groups.items()}
    with tempfile.TemporaryDirectory() as scratch:

        def written(kind: str, masks: Mapping[str, UInt8[np.ndarray, "_h _w"]]) -> dict[str, Path]:
            return {
                name: write_slices(Path(scratch) / f"{kind}_{number}", masks, records, decoded)
                for number, (name, records) in enumerate(groups.items())
            }

        truth = {record.slice_id: decoded.mask(record.slice_id) for records in groups.values() for record in records}
        references = open_references(written("reference", truth), labels=numbers, patients=patients)
        scored = [
            score_masks(
                written(f"system_{place}", each.predictions), references, name=each.name, labels=numbers,
                context=each.context, cost=each.cost, references_stay=False, resamples=resamples, seed=seed,
            )
            for place, each in enumerate((result, *floors))
        ]  # fmt: skip
        save_with_floors(folder, scored[0], scored[1:])
    return [Evaluation.load(folder), *(Evaluation.load(floor_folder(folder, each.name)) for each in floors)]


def _is_whole(decoded: DecodedDataset, name: str, records: Sequence[Record]) -> bool:
    """Whether all slices of a volume are there, and its spacing is known."""
    grid = decoded.grid(name)
    return grid is not None and grid.spacing is not None and len(records) == grid.shape[0]
