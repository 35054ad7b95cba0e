"""What training begins with: weights by seed or by name, or all of another run's; and what these have seen."""

from dataclasses import replace

import torch
from torch import nn

from segmed.core.config import config_to_mapping
from segmed.core.errors import ConfigError, SplitError
from segmed.core.split import PartName, Split
from segmed.models.checkpoint import WEIGHTS, RunConfig, load_weights, patient_digest, read_run
from segmed.models.zoo import build_model
from segmed.training.recipe import Recipe

CONTRACT = ("channels", "normalisation", "clip_percentiles")
"""Keys of the preprocessing that a network's weights are made for; the size may change."""


def starting_model(recipe: Recipe) -> nn.Module:
    """The recipe's network with the weights that training begins with, the same at every call.

    Raises `ModelError` where the weights of `start_from` do not fit, listing what is missing or unexpected, and
    `ConfigError` where the recipe prepares images in another way.
    """
    torch.manual_seed(recipe.seed)
    if recipe.start_from is None:
        return build_model(recipe.model)
    config, folder = read_run(recipe.start_from)
    before, now = config_to_mapping(config.preprocess), config_to_mapping(recipe.preprocess)
    for key in CONTRACT:
        if before[key] != now[key]:
            raise ConfigError(
                f"{folder}: was trained with preprocess.{key} {before[key]}, but the recipe has {now[key]}. "
                "Weights belong to their preprocessing: set the recipe's to the same."
            )
    model = build_model(replace(recipe.model, encoder_weights="none"))
    load_weights(folder / WEIGHTS, model)
    return model


def begun_from(recipe: Recipe, split: Split, fold: int) -> RunConfig | None:
    """The config of the run that training begins from; None without one.

    Raises `SplitError` where that run has trained on this fold's validation or test patients, or chosen its epoch on
    test patients: the new run's scores would be about patients that its weights know.
    """
    if recipe.start_from is None:
        return None
    config, folder = read_run(recipe.start_from)
    parts: tuple[tuple[PartName, PartName], ...] = (("train", "validation"), ("train", "test"), ("validation", "test"))
    for then, now in parts:
        patients = {patient_digest(split.patient_of[case]) for case in split.fold(fold).part(now)}
        known = len(patients & set(config.seen.get(then, ())))
        if known and not (split.leaking and config.leaking):
            raise SplitError(
                f"{folder}: its {then} part has {known} of this fold's {len(patients)} {now} patients, so scores on "
                f"them would mean nothing. Train with that run's own split and fold ({folder / 'split.json'})."
            )
    return config


def seen_in_all(seen: dict[str, list[str]], start: RunConfig | None) -> dict[str, list[str]]:
    """`RunConfig.seen` of a run that saw these patients itself and began from `start`."""
    before = start.seen if start is not None else {}
    return {part: sorted({*digests, *before.get(part, ())}) for part, digests in seen.items()}
