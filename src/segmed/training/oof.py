"""Out-of-fold predictions: probability maps of the training patients, each from a model that has not seen its patient.

A dense model predicts the patients that it was trained on better than it will predict others, so that a decoder trained
on its proposals there would learn to trust them too much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from segmed.core.errors import ConfigError
from segmed.core.files import refuse_links, sha256_of
from segmed.core.progress import Progress, tracked
from segmed.core.records import Record, by_volume
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.data.oof_maps import MapFile, made_by, to_bytes, write_index, write_maps
from segmed.data.splits import require_fit, split_within
from segmed.inference import VolumePredictor, load
from segmed.inference.from_data import patient_slices
from segmed.models.checkpoint import WEIGHTS
from segmed.training.callbacks import Callbacks
from segmed.training.engine import Hardware, train
from segmed.training.recipe import Recipe


def out_of_fold(
    recipe: Recipe,
    *,
    data: DecodedDataset,
    split: Split,
    out: Path,
    fold: int = 0,
    folds: int = 5,
    callbacks: Callbacks | None = None,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train `folds` dense models within the training patients of a fold of `split`, and write all maps to `out`.

    Each training patient is predicted by the one model that has not seen that patient; each validation patient of
    `split` by the mean of all, none of which was trained or chosen on any. Test patients are left alone. What is
    finished is skipped, an interrupted training goes on. Raises `ConfigError` for a recipe that is not dense and of
    one label, or where `out` holds the folds of something else; `SplitError` as `split_within` does.
    """
    if recipe.model.takes_prompts or len(data.dataset.labels.names) != 1:
        raise ConfigError("Proposals come from dense models of one label. Choose another recipe, such as unet-cpu.")
    refuse_links(out)
    split = require_fit(split, data)
    inner = split_within(data, split, fold, folds=folds, seed=recipe.seed)
    device = _device(hardware)
    runs: dict[int, Path] = {}
    files = []
    for number, partition in enumerate(inner.folds):
        runs[number] = out / f"fold-{number}"
        train(
            recipe, data=data, split=inner, out=runs[number], fold=number, resume=True, callbacks=callbacks,
            hardware=hardware,
        )  # fmt: skip
        file = out / f"fold-{number}.safetensors"
        files.append(_predicted(file, {number: runs[number]}, data, partition.test, device, progress))
    validation = split.fold(fold).validation
    if validation:
        file = out / "validation.safetensors"
        files.append(_predicted(file, runs, data, validation, device, progress))
    write_index(out, [_described(each, inner) for each in files], data_hash=data.data_hash)
    return out


@dataclass(frozen=True)
class _Predicted:
    """A file of maps, the SHA-256 of the weights behind it by their fold, and whose maps it holds."""

    path: Path
    weights: Mapping[int, str]
    predicted: tuple[str, ...]


def _predicted(
    path: Path,
    runs: Mapping[int, Path],
    data: DecodedDataset,
    slice_ids: Sequence[str],
    device: str,
    progress: Progress | None,
) -> _Predicted:
    """Write the mean maps of `runs`, by fold, for `slice_ids`, unless the file is there and from the same weights."""
    weights = {fold: sha256_of(run / WEIGHTS) for fold, run in runs.items()}
    wanted = set(slice_ids)
    groups = by_volume(record for record in data.dataset.records if record.slice_id in wanted)
    if made_by(path) != tuple(weights.values()):
        predictors = [load(run, device=device) for run in runs.values()]
        maps: dict[str, UInt8[np.ndarray, "_h _w"]] = {}
        for records in tracked(groups.values(), progress):
            found = _of_patient(predictors, data, records)
            maps |= {slice_id: to_bytes(each) for slice_id, each in found.items()}
        write_maps(path, maps, list(weights.values()))
    patients = dict.fromkeys(records[0].patient for records in groups.values())
    return _Predicted(path, weights, tuple(patients))


def _of_patient(
    predictors: Sequence[VolumePredictor], data: DecodedDataset, records: Sequence[Record]
) -> dict[str, Float32[np.ndarray, "_h _w"]]:
    slices = patient_slices(data, records)
    found = [predictor.probabilities(slices) for predictor in predictors]
    return {record.slice_id: np.mean([one[index][0] for one in found], axis=0) for index, record in enumerate(records)}


def _described(made: _Predicted, inner: Split) -> MapFile:
    """What the index says of a file, from the folds behind it."""
    parts = [inner.fold(number) for number in made.weights]

    def patients(slice_ids: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(sorted({inner.patient_of[slice_id] for some in slice_ids for slice_id in some}))

    return MapFile(
        file=made.path.name,
        sha256=sha256_of(made.path),
        weights=tuple(made.weights.values()),
        trained_on=patients([part.train for part in parts]),
        chosen_on=patients([part.validation for part in parts]),
        predicted=made.predicted,
    )


def _device(hardware: Hardware | None) -> str:
    chosen = "auto" if hardware is None else hardware.accelerator
    return {"gpu": "cuda"}.get(chosen, chosen)
