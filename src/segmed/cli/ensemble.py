"""`segmed ensemble`: several runs as one predictor."""

from pathlib import Path
from typing import Annotated

import typer

from segmed.cli.messages import input_options, next_step, say
from segmed.cli.options import (
    AugmentOption,
    ComponentsOption,
    DeviceOption,
    LabelsOption,
    PatientRegexOption,
    TtaName,
    folder_option,
)
from segmed.core.errors import ConfigError


def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Run folders whose probabilities are averaged.")],
    data: Annotated[
        Path, typer.Option(help="The data set of the split; on its validation patients the threshold is chosen.")
    ],
    out: Annotated[Path, folder_option("Folder of the ensemble.")],
    split: Annotated[Path | None, typer.Option(help="Split, where the runs were trained on several folds.")] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Fold of the split, from 0.")] = None,
    augment: AugmentOption = False,
    components: ComponentsOption = False,
    untuned: Annotated[
        bool,
        typer.Option(
            "--untuned",
            help="Take the threshold, augmentation and post-processing that the runs share; choose nothing.",
        ),
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --untuned: this threshold in place of the runs' own.")
    ] = None,
    tta: Annotated[
        TtaName | None, typer.Option(help="With --untuned: this test-time augmentation in place of the runs' own.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Hold copies of the runs, so that the folder can move.")] = False,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Make one predictor of several runs."""
    from segmed.cli.inputs import announce_leak, open_decoded
    from segmed.cli.tune import choose, say_choice, with_choice
    from segmed.core.split import Split
    from segmed.evaluation.ensemble import plan_ensemble, write_ensemble
    from segmed.inference.ensemble import ensemble_of
    from segmed.models.checkpoint import load_run
    from segmed.models.hub import require_local

    if len(runs) < 2:
        raise ConfigError("An ensemble has at least two runs. Name more run folders.")
    if untuned and (augment or components):
        raise ConfigError("--untuned chooses nothing. Leave out --augment and --components, or --untuned.")
    if threshold is not None and not untuned:
        raise ConfigError("--threshold is for an ensemble that chooses none. Say --untuned too.")
    if tta is not None and not untuned:
        raise ConfigError("--tta is for an ensemble that chooses none. Say --untuned too, or --augment to choose one.")
    for run in runs:
        require_local(run)
    first = load_run(runs[0]).config
    decoded = open_decoded(data, labels, patient_regex, default_labels=first.labels, plane=first.preprocess.plane)
    chosen_split = None if split is None else Split.load(split)
    config, plan = plan_ensemble(
        runs, decoded, out, split=chosen_split, fold=fold, tuned=not untuned, threshold=threshold, tta=tta
    )
    announce_leak(plan.leaking, patients_known=plan.patients_known)
    joined = ensemble_of(runs, config, out, device=device)
    joined.require_ttas([config.prediction.tta])
    if not untuned:
        found = choose(joined, decoded, plan, augment=augment, components=components)
        say_choice(found, plan.unit)
        config = with_choice(config, found)
    write_ensemble(out, runs, config, copy=copy)  # only now, so that what is stopped leaves none that nobody tuned
    say(out)
    elsewhere = () if config.split_hash else ("--split", split, "--fold", plan.fold, "-o", out / "evaluation-test")
    next_step("segmed", "evaluate", out, "--data", data, *elsewhere, *input_options(labels, patient_regex))
