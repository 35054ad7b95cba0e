"""What training begins with: weights by seed or by name, or all of another run's; and what these have seen."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from segmed.core.config import config_to_mapping
from segmed.core.errors import ConfigError, SplitError
from segmed.core.split import PartName, Split
from segmed.data.decoded import DecodedDataset
from segmed.data.keys import known_pseudonyms
from segmed.layers.lora import merged_state
from segmed.models.checkpoint import RunConfig, known_patients, load_config, load_run
from segmed.models.sam.key_mapping import ADDED
from segmed.models.sam.weights import with_positions_of
from segmed.models.seen import ANOTHER_KEY, overlap
from segmed.models.zoo import build_model
from segmed.training.recipe import Recipe

FREE = ("size", "divisor")
"""Keys of the preprocessing that may change between the runs; weights belong to the others."""


def initial_model(recipe: Recipe) -> nn.Module:
    """The recipe's network with the weights that training begins with, the same at every call.

    Raises `ConfigError` where the weights of `start` do not fit, or the recipe prepares images in another way.
    """
    torch.manual_seed(recipe.seed)
    if recipe.start is None:
        return build_model(recipe.model)
    started = load_run(recipe.start)
    read = recipe.preprocess.with_channels(recipe.model.channels // recipe.preprocess.slices)
    before, now = config_to_mapping(started.config.preprocess), config_to_mapping(read)
    free = (*FREE, "intensity_range") if before["intensity_range"] is None else FREE  # converted weights know no data
    other = [key for key in now if key not in free and before[key] != now[key]]
    if other:
        raise ConfigError(
            f"start: {started.folder} was trained with preprocess.{other[0]} {before[other[0]]}, but the recipe has "
            f"{now[other[0]]}. Weights belong to their preprocessing: set the recipe's to the same."
        )
    model = build_model(replace(recipe.model, encoder_weights="none"))
    _copy_weights(model, started.model.state_dict(), started.folder)
    return model


def begun_from(recipe: Recipe, split: Split, fold: int, data: DecodedDataset) -> RunConfig | None:
    """The config of the run that training begins from, with the patients it has seen; None without one.

    Raises `SplitError` where that run has trained on this fold's validation or test patients, or chosen its epoch on
    test patients: the new run's scores would be about patients that its weights know. Also where it does not say, or
    says it of this data with another key. Patients that it has seen in other data go on unknown, and count as such.
    """
    if recipe.start is None:
        return None
    config, folder = load_config(recipe.start)
    config = replace(config, seen=known_patients(folder, config))
    pseudonyms = known_pseudonyms(data.dataset)
    parts: tuple[tuple[PartName, PartName], ...] = (("train", "validation"), ("train", "test"), ("validation", "test"))
    for then, now in parts:
        patients = {split.patient_of[slice_id] for slice_id in split.fold(fold).part(now)}
        found = overlap(config.seen.get(then, ()), patients, pseudonyms)
        if not found.complete and config.data_hash == data.data_hash:
            raise SplitError(f"start: {folder} {ANOTHER_KEY}")
        known = len(found.patients)
        if known and not (split.leaking and config.leaking):
            raise SplitError(
                f"start: {folder} has {known} of this fold's {len(patients)} {now} {split.unit.many} in its {then} "
                f"part, so scores on them would mean nothing. Use the split and fold it was trained on."
            )
    return config


def _copy_weights(model: nn.Module, state: dict[str, Tensor], folder: Path) -> None:
    """Copy the weights of the run in `folder` into `model`, a ViT's positions brought to its size.

    What SegMed adds to SAM keeps its own where the run has none. Low-rank updates begin anew, those of the run merged
    into its weights, unless both have the same.
    """
    own = model.state_dict()
    if _updates(own) != _updates(state):
        state = merged_state(state)
    found = with_positions_of(own, state)
    missing = [name for name in own.keys() - found.keys() if not name.startswith(ADDED) and ".lora_" not in name]
    misfit = [name for name in own.keys() & found.keys() if own[name].shape != found[name].shape]
    problems = sorted({*missing, *(found.keys() - own.keys()), *misfit})
    if problems:
        raise ConfigError(
            f"start: {folder} holds weights of another network ({', '.join(problems[:3])} differ). "
            "Give the run's own model settings; only what SegMed adds to SAM may be new."
        )
    model.load_state_dict(found, strict=False)


def _updates(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: each.shape for name, each in state.items() if ".lora_" in name}
