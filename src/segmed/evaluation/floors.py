"""Evaluations of the baselines that learn nothing, on the same part of the same split as the models beside them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from segmed.core.progress import Progress, tracked
from segmed.core.pseudonyms import shareable
from segmed.core.records import Record
from segmed.core.replacing import replaced
from segmed.core.split import PartName, Split
from segmed.data.decoded import DecodedDataset
from segmed.data.splits import patients_known, require_fit
from segmed.evaluation.context import Context
from segmed.evaluation.evaluate import evaluate
from segmed.evaluation.part import Masks, records_of, split_facts, volumes
from segmed.evaluation.provenance import Provenance
from segmed.evaluation.result import EVALUATION, Evaluation, files_of
from segmed.evaluation.statistics import RESAMPLES
from segmed.models import floors

KnownMasks = Mapping[str, Mapping[int, UInt8[np.ndarray, "_h _w"]]]
"""Training masks by volume and position in it."""


def floor_evaluations(
    decoded: DecodedDataset,
    split: Split,
    fold: int = 0,
    part: PartName = "test",
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Predict nothing, interpolate the same patient's training masks, copy the most similar training slice's mask.

    `progress(done, total)` counts floors. `provenance.remark` says what each does, and where interpolation has
    nothing to go by, as under a split by patient.
    """
    split = require_fit(split, decoded)
    groups = records_of(decoded, split.fold(fold).part(part))
    facts = split_facts(decoded, split, fold, part)
    evaluations = []
    for floor in tracked(floors_of(decoded, split, fold, part), progress):
        patients = volumes(decoded, groups, floor.masks_alone)
        context = Context(
            kind="floor",
            part=part,
            leaking=split.leaking,
            patients_known=patients_known(split, decoded),
            data_hash=decoded.data_hash,
            split=facts,
            provenance=floor.provenance(decoded),
        )
        labels = decoded.dataset.labels
        evaluations.append(evaluate(patients, labels, name=floor.name, context=context, resamples=resamples, seed=seed))
    return evaluations


@dataclass(frozen=True)
class Floor:
    """A baseline that learns nothing: it predicts the slices of one volume, in order. `remark` says what it does."""

    name: str
    predict: Callable[[Sequence[Record]], Masks]
    remark: str

    def masks_alone(self, records: Sequence[Record]) -> tuple[Masks, None]:
        """The masks, and that there are no probabilities."""
        return self.predict(records), None

    def provenance(self, decoded: DecodedDataset) -> Provenance:
        """What is told of its evaluation."""
        return Provenance(remark=self.remark, data=shareable(decoded.dataset.path))


def floors_of(decoded: DecodedDataset, split: Split, fold: int, part: PartName) -> list[Floor]:
    """The floors of a part of a split, which must fit the data."""
    partition = split.fold(fold)
    train = [record for records in records_of(decoded, partition.train).values() for record in records]
    groups = records_of(decoded, partition.part(part))
    known = _known_masks(decoded, train)
    return [
        Floor("predict nothing", partial(_nothing, decoded), "An empty mask for every slice."),
        Floor("neighbour interpolation", partial(_interpolated, decoded, known), _remark(groups, known)),
        Floor(
            "nearest-slice copy",
            partial(_copied, decoded, _most_similar(decoded, train, groups)),
            f"The mask of the training slice with the nearest {floors.THUMBNAIL} x {floors.THUMBNAIL} thumbnail.",
        ),
    ]


def folder_name(name: str) -> str:
    """A name as that of a folder: `jitter:20@1024` is `jitter-20-1024`."""
    return re.sub(r"[^\w.]+", "-", name.replace("'", "")).strip("-")


def floor_folder(folder: Path, name: str) -> Path:
    """Where the floor of a name lies below an evaluation's folder."""
    return folder / "floors" / folder_name(name)


def save_with_floors(folder: Path, result: Evaluation, evaluations: Sequence[Evaluation]) -> None:
    """Write an evaluation, and its floors below it under `floors/<name>/`, in place of an earlier one as a whole.

    Raises `DataError` where the folder cannot be written, or symbolic links lie in it.
    """
    with replaced(folder, marker=EVALUATION, listed=_with_floors) as fresh:
        for floor in evaluations:
            floor.write(floor_folder(fresh, floor.name))
        result.write(fresh)


def _with_floors(folder: Path) -> list[Path]:
    """The files of the evaluation in a folder and of its floors."""
    floors = [file.parent for file in folder.glob(f"floors/*/{EVALUATION}")]
    return [path for place in (folder, *floors) for path in files_of(place)]


def _known_masks(decoded: DecodedDataset, train: Sequence[Record]) -> KnownMasks:
    known: dict[str, dict[int, UInt8[np.ndarray, "_h _w"]]] = {}
    for record in train:
        known.setdefault(record.volume, {})[record.slice_index] = decoded.mask(record.slice_id)
    return known


def _remark(groups: Mapping[str, Sequence[Record]], known: KnownMasks) -> str:
    shared = sum(patient in known for patient in groups)
    remark = "Signed-distance interpolation of the same patient's training masks; the image is not looked at."
    if shared:
        return f"{remark} {shared} of {len(groups)} patients have training slices."
    return f"{remark} No patient has training slices here, so it predicts nothing."


def _nothing(decoded: DecodedDataset, records: Sequence[Record]) -> Masks:
    return [floors.predict_nothing(decoded.shape(record.slice_id)[:2]) for record in records]


def _interpolated(decoded: DecodedDataset, known: KnownMasks, records: Sequence[Record]) -> Masks:
    return [
        floors.interpolate_mask(known.get(record.volume, {}), record.slice_index, decoded.shape(record.slice_id)[:2])
        for record in records
    ]


def _most_similar(
    decoded: DecodedDataset, train: Sequence[Record], groups: Mapping[str, Sequence[Record]]
) -> dict[str, Record]:
    """For each slice of the part the training slice with the nearest thumbnail."""
    scored = [record for records in groups.values() for record in records]
    chosen = floors.nearest(_thumbnails(decoded, scored), _thumbnails(decoded, train))
    return {record.slice_id: train[index] for record, index in zip(scored, chosen, strict=True)}


def _thumbnails(decoded: DecodedDataset, records: Sequence[Record]) -> Float32[np.ndarray, "r n"]:
    return np.stack([floors.thumbnail(decoded.image(record.slice_id)) for record in records])


def _copied(decoded: DecodedDataset, similar: Mapping[str, Record], records: Sequence[Record]) -> Masks:
    return [
        floors.resized_mask(decoded.mask(similar[record.slice_id].slice_id), decoded.shape(record.slice_id)[:2])
        for record in records
    ]
