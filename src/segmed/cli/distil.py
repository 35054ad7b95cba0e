"""`segmed distil`: a promptable run in; the same model, encoding a smaller image, out."""

from pathlib import Path
from typing import Annotated

import typer

from segmed.cli.messages import say
from segmed.cli.options import (
    AcceleratorOption,
    DevicesOption,
    EpochsOption,
    FoldOption,
    GuidedName,
    LabelsOption,
    PatientRegexOption,
    ResumeOption,
    RunOutOption,
    SeedOption,
)


def distil(
    run: Annotated[str, typer.Argument(help="Promptable run whose features are the target.")],
    data: Annotated[Path, typer.Option(help="Data set.")],
    split: Annotated[Path, typer.Option(help="The split that the run was trained on.")],
    out: RunOutOption,
    encode_at: Annotated[int, typer.Option(min=1, help="Side in pixels that the image encoder is to read.")],
    recipe: Annotated[
        str, typer.Option(help="featup-encoder (adapts the encoder too), featup, featup-multiview, or a YAML file.")
    ] = "featup-encoder",
    upsampler: Annotated[GuidedName, typer.Option(help="FeatUp's jbu, or one of its controls.")] = "jbu",
    fold: FoldOption = 0,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A key of how it trains: a.b=value. Repeatable.")
    ] = None,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
    resume: ResumeOption = False,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = 1,
) -> None:
    """Teach a promptable run to read smaller images, by FeatUp.

    The image encoder reads the image at --encode-at, FeatUp upsamples its features to the decoder's grid, and
    both learn to give what the run's own encoder gives at full size. Decoder and prompts stay as they are. Go on with
    `segmed train --start OUT` to fine-tune on masks.
    """
    from segmed.cli.inputs import open_decoded, open_split
    from segmed.cli.progress import training_display
    from segmed.cli.train import chosen_recipe
    from segmed.core.errors import ConfigError
    from segmed.models.checkpoint import load_config
    from segmed.training import Hardware, train
    from segmed.training.engine import is_first_process
    from segmed.training.featup import FROM_THE_RUN, distil_recipe

    taken = [each for each in set_ or () if each.partition("=")[0].partition(".")[0] in FROM_THE_RUN]
    if taken:
        raise ConfigError(
            f"--set {taken[0]}: {', '.join(FROM_THE_RUN)} are the run's own. Leave it out; --encode-at and --upsampler "
            "say what changes."
        )
    base = chosen_recipe(recipe, set_, epochs=epochs)
    if base.objective == "masks":
        raise ConfigError(f"{recipe}: learns masks. Choose featup-encoder, featup or featup-multiview.")
    chosen = distil_recipe(base, run, encode_at=encode_at, upsampler=upsampler, seed=seed)
    plan = open_split(split)
    own = load_config(run)[0].labels
    decoded = open_decoded(data, labels, patient_regex, default_labels=own, plane=chosen.preprocess.plane)
    with training_display() as callbacks:
        train(
            chosen,
            data=decoded,
            split=plan,
            out=out,
            fold=fold,
            resume=resume,
            callbacks=callbacks,
            hardware=Hardware(accelerator=accelerator, devices=devices),
        )
    if is_first_process():
        say(out)
