"""`segmed estimate`: time, memory and disk of a training run, before it starts."""

from pathlib import Path
from typing import Annotated

import typer

from segmed.cli.messages import say
from segmed.cli.options import (
    EmbeddingsOption,
    EncoderOption,
    EncoderWeightsOption,
    EpochsOption,
    FoldOption,
    GaflOption,
    LabelsOption,
    ModelOption,
    PatientRegexOption,
    RecipeArgument,
    SetOption,
    SplitOption,
    StartOption,
    StepSlicesOption,
    UpsamplerOption,
)


def estimate(
    data: Annotated[Path, typer.Option(help="Data set.")],
    split: SplitOption,
    recipe: RecipeArgument = "default",
    fold: FoldOption = 0,
    model: ModelOption = None,
    encoder: EncoderOption = None,
    encoder_weights: EncoderWeightsOption = None,
    upsampler: UpsamplerOption = None,
    epochs: EpochsOption = None,
    batch_size: StepSlicesOption = None,
    gafl: GaflOption = None,
    set_: SetOption = None,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
    embeddings: EmbeddingsOption = None,
    start: StartOption = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a training will take before it starts."""
    import dataclasses
    import json

    from segmed.cli.inputs import open_decoded, open_split
    from segmed.cli.train import chosen_recipe, opened_cache
    from segmed.evaluation.report.numbers import duration
    from segmed.training.estimate import estimate as measure

    chosen = chosen_recipe(
        recipe, set_, model=model, encoder=encoder, encoder_weights=encoder_weights, upsampler=upsampler,
        epochs=epochs, batch_size=batch_size, gafl=gafl, start=start,
    )  # fmt: skip
    cache = opened_cache(embeddings, chosen)
    plan = open_split(split)
    decoded = open_decoded(data, labels, patient_regex, plane=chosen.preprocess.plane)
    found = measure(chosen, data=decoded, split=plan, fold=fold, embeddings=cache)
    if json_:
        say(json.dumps(dataclasses.asdict(found), indent=2))
        return
    say(f"{chosen.model.name} with {chosen.model.encoder}: {found.parameters / 1e6:.1f} M parameters")
    say(f"on {found.device}, {found.precision}")
    say(f"an epoch: {found.steps_per_epoch} steps of {found.seconds_per_step:.2f} s and validation, "
               f"{duration(found.seconds_per_epoch)}")  # fmt: skip
    say(f"the run: {found.epochs} epochs, {duration(found.seconds)}")
    if found.memory_mib is not None:
        say(f"memory: {found.memory_mib:,.0f} MiB at the peak of the measured steps")
    say(f"disk: {found.disk_mib:,.0f} MiB while it runs")
