"""`segmed cascade`: a dense run proposes, a promptable one refines; settings chosen on validation patients."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmed.cli.messages import input_options, next_step, say
from segmed.cli.options import DeviceOption, LabelsOption, PatientRegexOption, folder_option
from segmed.cli.progress import progress_bar

if TYPE_CHECKING:
    from segmed.prompts.proposals import PromptKinds


def cascade(
    dense: Annotated[Path, typer.Argument(help="Run folder of the model that proposes.")],
    promptable: Annotated[Path, typer.Argument(help="Run folder of the model that refines.")],
    data: Annotated[Path, typer.Option(help="The data set both were trained on.")],
    out: Annotated[Path, folder_option("Folder for the cascade.")],
    prompts: Annotated[
        str, typer.Option(help="What the second is given: box, box+point, box+mask, box+point+mask; several to choose.")
    ] = "box",
    copy: Annotated[bool, typer.Option("--copy", help="Copy both runs into the folder, so that it can move.")] = False,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Join a dense and a promptable run, so that no box is needed."""
    from segmed.cli.inputs import announce_leak, open_decoded
    from segmed.core.errors import ConfigError
    from segmed.core.files import require_own_folder
    from segmed.evaluation.run import plan_evaluation
    from segmed.evaluation.tune_cascade import facts_of, tune_cascade
    from segmed.inference import load
    from segmed.inference.cascade import CascadeConfig, join, save_cascade
    from segmed.models.checkpoint import CASCADE, CONFIG, WEIGHTS

    kinds = _kinds(prompts)
    require_own_folder(out, marker=CASCADE, made="a cascade")
    for folder in (dense, promptable):
        if not all((folder / name).is_file() for name in (CONFIG, WEIGHTS)):
            raise ConfigError(
                f"{folder}: is not a run's folder. A cascade joins two runs, and no ensemble or hub model."
            )
    joined = join(load(dense, device=device), load(promptable, device=device), CascadeConfig(), dense)
    decoded = open_decoded(
        data,
        labels,
        patient_regex,
        default_labels=joined.config.labels,
        plane=joined.config.plane,
    )
    plan = plan_evaluation(dense, joined.config, decoded, part="validation")
    announce_leak(plan.leaking, patients_known=plan.patients_known)
    slice_ids = plan.split.fold(plan.fold).validation
    with progress_bar("validation patients") as progress:
        choice = tune_cascade(joined.dense, joined.promptable, decoded, slice_ids, kinds=kinds, progress=progress)
    save_cascade(out, dense, promptable, choice.settings, dict(facts_of(choice)), copy=copy)
    say(f"Mean Dice of {choice.patients} validation {plan.unit.many}, on which it was chosen: {choice.dice:.4f}")
    say(f"  the dense run alone {choice.dense:.4f}, refined wherever it proposes {choice.always:.4f}")
    if choice.settings.gate > 1:
        say("Nothing is refined: no setting was better than the dense run alone.")
    else:
        chosen = choice.settings
        say(
            f"  {chosen.prompts}, margin {chosen.margin:g}, from {chosen.share:g} of the threshold, at least "
            f"{chosen.min_pixels} pixels, gate {chosen.gate:g}"
        )
    say(out)
    next_step("segmed", "evaluate", out, "--data", data, *input_options(labels, patient_regex))


def _kinds(text: str) -> "list[PromptKinds]":
    from segmed.core.errors import ConfigError
    from segmed.prompts.proposals import KINDS

    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {kind: kind for kind in KINDS}
    strange = [name for name in names if name not in known]
    if strange or not names:
        raise ConfigError(f"--prompts {text}: unknown. Choose among: {', '.join(KINDS)}.")
    return [kind for kind in KINDS if kind in names]
