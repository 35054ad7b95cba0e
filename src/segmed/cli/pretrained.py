"""`segmed pretrained`: published weights of SAM or MedSAM as a run, without any training."""

from pathlib import Path
from typing import Annotated

import typer

from segmed.cli.messages import input_options, next_step, note, say
from segmed.cli.options import LabelsOption, PatientRegexOption, folder_option


def pretrained(
    model: Annotated[
        str, typer.Argument(help="sam-vit-b, -l, -h, medsam, sam2-tiny, -small, -base-plus, -large or medsam2.")
    ],
    out: Annotated[Path, folder_option("Run folder to write.")],
    encoder_weights: Annotated[str, typer.Option(help="hub, hf:owner/name, a folder or a file.")] = "hub",
    data: Annotated[
        Path | None, typer.Option(help="Take channels, label and the scale of intensities from this data set.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A key of model or preprocess: a.b=value.")] = None,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
) -> None:
    """Use published weights as they are, as a run.

    They answer to boxes and points alone. Which patients they were trained on is not known, and said so wherever their
    scores are shown.
    """
    from segmed.cli.inputs import open_decoded
    from segmed.core.errors import ConfigError
    from segmed.training.pretrained import make_pretrained, pretrained_recipe

    if data is None and (labels is not None or patient_regex is not None):
        raise ConfigError("--labels and --patient-regex say how a data set is read. Name it with --data.")
    recipe = pretrained_recipe(model, encoder_weights, set_ or ())
    decoded = None
    if data is not None:
        decoded = open_decoded(data, labels, patient_regex, plane=recipe.preprocess.plane)
    made = make_pretrained(recipe, out, data=decoded)
    for text in made.notes:
        note(text)
    say(out)
    if data is None:
        next_step("segmed", "predict", out, "IMAGE", "--box", "X0,Y0,X1,Y1", "-o", "mask.png")
        return
    scores = ("--prompts", "gt,jitter:5", "-o", out / "evaluation-test")
    inputs = input_options(labels, patient_regex)
    next_step("segmed", "evaluate", out, "--data", data, *inputs, "--split", "split.json", *scores)
