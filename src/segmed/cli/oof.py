"""`segmed oof`: out-of-fold maps of a dense model, on which a promptable one learns to refine proposals."""

from pathlib import Path
from typing import Annotated

import typer

from segmed.cli.messages import next_step, say
from segmed.cli.options import (
    AcceleratorOption,
    FoldOption,
    LabelsOption,
    PatientRegexOption,
    SetOption,
    SplitOption,
    folder_option,
)


def oof(
    data: Annotated[Path, typer.Option(help="Data set.")],
    split: SplitOption,
    out: Annotated[Path, folder_option("Folder for the maps and the models behind them.")],
    recipe: Annotated[str, typer.Argument(help="A dense recipe's name or YAML file.")] = "unet-cpu",
    folds: Annotated[int, typer.Option(min=2, help="Models to train, each on all but a share of the patients.")] = 5,
    fold: FoldOption = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of folds, weights, order and augmentation.")] = None,
    set_: SetOption = None,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Predict training patients by models that have not seen them."""
    import math

    import yaml

    from segmed.cli.inputs import open_decoded, open_split
    from segmed.cli.progress import training_display
    from segmed.cli.train import chosen_recipe
    from segmed.training import Hardware
    from segmed.training.oof import out_of_fold

    chosen, plan = chosen_recipe(recipe, set_, seed=seed), open_split(split)
    decoded = open_decoded(data, labels, patient_regex, plane=chosen.preprocess.plane)
    with training_display() as callbacks:
        out_of_fold(
            chosen,
            data=decoded,
            split=plan,
            out=out,
            fold=fold,
            folds=folds,
            callbacks=callbacks,
            hardware=Hardware(accelerator=accelerator),
        )
    say(out)
    in_list = yaml.safe_dump([str(out)], default_flow_style=True, allow_unicode=True, width=math.inf)
    folder = in_list.strip()[1:-1]  # in quotes where YAML would read something else
    next_step("segmed", "train", "sam-tiny-proposals", "--set", f"prompting.proposals.folder={folder}", "...")
