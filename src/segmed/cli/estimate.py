"""`segmed estimate`: time, memory and disk of a training run, before it starts."""

from pathlib import Path
from typing import Annotated

import typer

from segmed.cli.opening import PatientRegex


def estimate(
    data: Annotated[Path, typer.Option(help="Data set.")],
    split: Annotated[Path, typer.Option(help="Split made by `segmed data split`.")],
    recipe: Annotated[str, typer.Argument(help="A recipe's name or YAML file.")] = "default",
    fold: Annotated[int, typer.Option(help="Fold of the split, from 0.")] = 0,
    model: Annotated[str | None, typer.Option(help="Model.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Encoder.")] = None,
    encoder_weights: Annotated[str | None, typer.Option(help="As for `segmed train`.")] = None,
    upsampler: Annotated[str | None, typer.Option(help="interpolate or jbu.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Slices per step and device.")] = None,
    gafl: Annotated[
        str | None, typer.Option(help="A learned filter on the input: radial, free, lowrank, or none.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any recipe key: a.b=value. Repeatable.")] = None,
    labels: Annotated[str | None, typer.Option(help="Mask values, such as background=0,tumour=255.")] = None,
    patient_regex: PatientRegex = None,
    embeddings: Annotated[Path | None, typer.Option(help="Cache made by `segmed embed`.")] = None,
    start: Annotated[str | None, typer.Option(help="Run whose weights training begins with.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a training will take before it starts."""
    import dataclasses
    import json

    from segmed.cli.opening import open_decoded, open_split
    from segmed.cli.train import chosen_recipe, opened_cache
    from segmed.evaluation.report.numbers import duration
    from segmed.training.estimate import estimate as measure

    chosen = chosen_recipe(
        recipe, set_, model=model, encoder=encoder, encoder_weights=encoder_weights, upsampler=upsampler,
        epochs=epochs, batch_size=batch_size, gafl=gafl, start=start,
    )  # fmt: skip
    cache = opened_cache(embeddings, chosen)
    plan = open_split(split)
    decoded = open_decoded(data, labels, patient_regex)
    found = measure(chosen, data=decoded, split=plan, fold=fold, embeddings=cache)
    if json_:
        typer.echo(json.dumps(dataclasses.asdict(found), indent=2))
        return
    typer.echo(f"{chosen.model.name} with {chosen.model.encoder}: {found.parameters / 1e6:.1f} M parameters")
    typer.echo(f"on {found.device}, {found.precision}")
    typer.echo(f"an epoch: {found.steps_per_epoch} steps of {found.seconds_per_step:.2f} s and validation, "
               f"{duration(found.seconds_per_epoch)}")  # fmt: skip
    typer.echo(f"the run: {found.epochs} epochs, {duration(found.seconds)}")
    typer.echo(f"memory: {found.memory_mib:,.0f} MiB at the peak of the measured steps")
    typer.echo(f"disk: {found.disk_mib:,.0f} MiB while it runs")
