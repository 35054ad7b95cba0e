"""`segmed study`: all systems under the same splits, in one command that can be killed and continued."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmed.cli.messages import note, say
from segmed.cli.options import (
    AcceleratorOption,
    BudgetName,
    EachImageOption,
    LabelsOption,
    PatientRegexOption,
    PlaneName,
    ProtocolName,
    folder_option,
)
from segmed.cli.progress import training_display
from segmed.core.errors import ConfigError

if TYPE_CHECKING:
    from segmed.cli.progress import TrainingDisplay


def study(
    data: Annotated[Path, typer.Argument(help="Data set.")],
    out: Annotated[Path, folder_option("Folder of the study.")],
    protocol: Annotated[ProtocolName | None, typer.Option(help="reproduction is by slice, LEAKING.")] = None,
    budget: Annotated[
        BudgetName | None, typer.Option(help="smoke takes minutes, cpu (the default) hours, full a GPU.")
    ] = None,
    systems: Annotated[str | None, typer.Option(help="Only these rows, such as unet,pan; all: the budget's.")] = None,
    folds: Annotated[int, typer.Option(min=0, help="Folds by patient; 0 is the budget's.")] = 0,
    seeds: Annotated[int, typer.Option(min=0, help="Seeds by patient; 0 is the budget's.")] = 0,
    run: Annotated[list[str] | None, typer.Option("--run", help="A row of your own: NAME=RUN[,RUN…].")] = None,
    predictions: Annotated[
        list[str] | None, typer.Option("--predictions", help="A row of masks of any tool: NAME=FOLDER.")
    ] = None,
    groups: Annotated[str, typer.Option(help="Score groups by these columns: sex,age:40:60,sex+race.")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A recipe key in all rows, a.b=value, or in one, ROW:a.b=value.")
    ] = None,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
    each_image_is_a_patient: EachImageOption = False,
    plane: Annotated[PlaneName | None, typer.Option(help="How volumes are cut, for all rows.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue, with the study's own settings where none are given.")
    ] = False,
    split: Annotated[str | None, typer.Option("--split", "--from", hidden=True)] = None,
    part: Annotated[str, typer.Option(help="Do part I/N of the trainings, for several machines or GPUs.")] = "1/1",
    pictures: Annotated[
        bool | None, typer.Option("--pictures/--no-pictures", help="Show slices of patients (the default).")
    ] = None,
    anonymise: Annotated[
        bool | None,
        typer.Option("--anonymise/--no-anonymise", help="Pseudonyms for ids, and no folders."),
    ] = None,
    channel: Annotated[int | None, typer.Option(min=0, help="Channel to show, from 0.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate/--no-estimate", help="Measure the cost first.")] = True,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Train, score and explain all systems under the same splits.

    Ends with exit code 2 where a training failed or a row of your own was refused; the others are on the page.

    With --resume, --systems and --protocol say what is trained now; the page has all that was ever asked for.
    """
    from segmed.cli.inputs import announce_leak, open_decoded
    from segmed.data.splits import patients_known
    from segmed.study import StudySettings, run_study
    from segmed.study.external_rows import external_evaluations
    from segmed.study.page import NothingYetError, write_page
    from segmed.study.run import as_it_stands
    from segmed.study.settings import is_study, load_settings
    from segmed.training import Hardware

    if split is not None:
        raise ConfigError(
            f"A study deals folds of its own, so it cannot take the split {split}. Train with `segmed train --split`, "
            "evaluate, and set the runs side by side with `segmed compare`."
        )
    before = load_settings(out) if resume and is_study(out) else StudySettings(protocol="both", budget="cpu")
    chosen = tuple(name.strip() for name in systems.split(",")) if systems else before.systems
    if chosen == ("all",):
        chosen = replace(before, budget=budget or before.budget).plan.systems
    settings = replace(
        before,
        protocol=protocol or before.protocol,
        budget=budget or before.budget,
        systems=chosen,
        folds=folds or before.folds,
        seeds=seeds or before.seeds,
        changes=tuple(set_ or before.changes),
        groups=groups or before.groups,
        runs=tuple((name, tuple(value.split(","))) for name, value in map(_named, run)) if run else before.runs,
        predictions=tuple(_named(text) for text in predictions) if predictions else before.predictions,
        labels=labels or before.labels,
        patient_regex=patient_regex or before.patient_regex,
        each_image_is_a_patient=each_image_is_a_patient or before.each_image_is_a_patient,
        plane=plane or before.plane,
        pictures=before.pictures if pictures is None else pictures,
        anonymise=before.anonymise if anonymise is None else anonymise,
        channel=before.channel if channel is None else channel,
    )
    decoded = open_decoded(
        data,
        settings.labels or None,
        settings.patient_regex or None,
        each_image_is_a_patient=settings.each_image_is_a_patient,
        plane=settings.plane,
    )
    with training_display() as display:
        done = run_study(
            decoded,
            settings,
            out,
            resume=resume,
            part=part,
            hardware=Hardware(accelerator=accelerator),
            teller=_Teller(display),
            measure=estimate,
        )
    done = as_it_stands(done)
    known = all(patients_known(split, decoded) for split in done.splits.values())
    announce_leak(done.settings.has("reproduction"), patients_known=known)
    if done.pending:
        note(f"{len(done.pending)} of {len(done.jobs)} trainings and tests are not done. Continue with --resume.")
    try:
        say(write_page(done))
    except NothingYetError as error:
        note(str(error))
    refused = external_evaluations(done).refused
    for name, reason in refused:
        note(f"the row {name} was refused: {reason}")
    if done.failures or refused:
        raise typer.Exit(2)


class _Teller:
    """Lines on stderr, and the display of a training."""

    def __init__(self, display: "TrainingDisplay") -> None:
        self._display = display

    def say(self, text: str) -> None:
        say(text, err=True)

    def callbacks(self) -> "TrainingDisplay":
        return self._display


def _named(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ConfigError(f"{text}: expected NAME=FOLDER, such as nnunet=masks.")
    return name, value
