"""`segmed embed`: run a frozen image encoder once over a data set, and keep what it says."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmed.cli.messages import next_step, say
from segmed.cli.options import (
    DATA_HELP,
    LabelsOption,
    PatientRegexOption,
    PrecisionName,
    SetOption,
    folder_option,
)
from segmed.cli.progress import progress_bar
from segmed.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from segmed.data.decoded import DecodedDataset
    from segmed.inference.embedding import EmbeddingCost
    from segmed.models.checkpoint import TrainedModel
    from segmed.preprocess import PreprocessConfig
    from segmed.training.recipe import Recipe


def embed(
    source: Annotated[str, typer.Argument(help="A recipe's name or YAML file, or a run folder.")],
    data: Annotated[Path, typer.Option(help=DATA_HELP)],
    out: Annotated[Path, folder_option("Folder of the cache; a stopped one goes on.")],
    split: Annotated[Path | None, typer.Option(help="Embed only what a fold trains and validates on.")] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Fold of --split, from 0; 0 by default.")] = None,
    views: Annotated[str, typer.Option(help="none, flips, rot90, all, or a list such as identity,hflip.")] = "none",
    max_gib: Annotated[float | None, typer.Option(min=0, help="Refuse a cache larger than this.")] = None,
    precision: Annotated[PrecisionName, typer.Option(help="Arithmetic of the encoder.")] = "auto",
    batch_size: Annotated[int | None, typer.Option(min=1, help="Slices encoded together.")] = None,
    set_: SetOption = None,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
) -> None:
    """Run a frozen image encoder once and keep what it says."""
    import torch

    from segmed.cli.inputs import open_decoded, open_split
    from segmed.data.splits import require_fit
    from segmed.data.views import parse_views
    from segmed.inference.embedding import embed as run
    from segmed.inference.embedding import entries_of
    from segmed.training.precision import choose_precision

    if fold is not None and split is None:
        raise ConfigError("--fold is that of a split, and all slices are embedded without one. Name it with --split.")
    shown = parse_views(views)
    plan = open_split(split) if split else None
    chosen = _source(source, set_)
    own = None if chosen.run is None else chosen.run.config.labels
    decoded = open_decoded(data, labels, patient_regex, default_labels=own, plane=chosen.preprocess.plane)
    if plan is not None:
        plan = require_fit(plan, decoded)
    model, preprocess = _fitted(chosen, decoded)
    with progress_bar("embedding") as progress:
        cache = run(
            model,
            preprocess,
            data=decoded,
            entries=entries_of(decoded, shown, plan, fold or 0),
            out=out,
            precision=choose_precision(precision).name,
            device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
            batch=batch_size,
            max_gib=max_gib,
            announce=_announce,
            progress=progress,
        )
    say(cache.folder)
    next_step("segmed", "train", "...", "--embeddings", cache.folder, "--set", "augment=none")


@dataclass(frozen=True)
class _Source:
    """What is embedded with: a run, or a recipe, and its preprocessing."""

    run: "TrainedModel | None"
    recipe: "Recipe | None"
    preprocess: "PreprocessConfig"


def _source(source: str, overrides: list[str] | None) -> _Source:
    """A run folder, or a recipe by name."""
    from segmed.cli.train import chosen_recipe
    from segmed.models.checkpoint import load_run
    from segmed.models.hub import hub_id

    if hub_id(source) is not None or Path(source).is_dir():
        if overrides:
            raise ConfigError(f"{source}: is a run, which has its own settings. Leave out --set.")
        trained = load_run(source)
        return _Source(trained, None, trained.config.preprocess)
    recipe = chosen_recipe(source, overrides)
    return _Source(None, recipe, recipe.preprocess)


def _fitted(chosen: _Source, decoded: "DecodedDataset") -> "tuple[nn.Module, PreprocessConfig]":
    """The network and preprocessing of a run, or those that a recipe's training would begin with."""
    from segmed.data.intensities import fit_intensities
    from segmed.training.build import fit_recipe
    from segmed.training.cached import require_frozen
    from segmed.training.warm_start import initial_model

    if chosen.run is not None:
        return chosen.run.model, fit_intensities(chosen.preprocess, decoded)
    assert chosen.recipe is not None
    recipe = fit_recipe(chosen.recipe, decoded)
    require_frozen(recipe)
    return initial_model(recipe), recipe.preprocess


def _announce(cost: "EmbeddingCost") -> None:
    from segmed.evaluation.report.numbers import duration

    for line in cost.damaged:
        say(line, colour="red", err=True)
    size = f"{cost.entries} embeddings of {cost.entry_bytes / 2**10:,.0f} KiB, {cost.bytes / 2**30:.2f} GiB in all"
    if not cost.missing:
        say(f"{size}: complete, every checksum is right", err=True)
        return
    say(f"{size}; {cost.missing} to make at {cost.seconds_each:.2f} s each, about {duration(cost.seconds)}", err=True)
