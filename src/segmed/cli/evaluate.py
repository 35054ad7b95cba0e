"""`segmed evaluate`: score a trained run on its test patients, or any masks against references."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmed.cli.evaluate_options import BATCH_SIZE, EvaluateOptions, refuse_conflicts
from segmed.cli.inputs import announce_leak, open_decoded, open_split, parse_columns
from segmed.cli.messages import input_options, next_step, note, say, this_command
from segmed.cli.options import (
    DeviceOption,
    EachImageOption,
    GroupsOption,
    LabelsOption,
    SlicesAtATimeOption,
    TtaOption,
    folder_option,
)
from segmed.cli.progress import progress_bar
from segmed.core.errors import ConfigError
from segmed.core.split import PartName
from segmed.core.wording import plural

if TYPE_CHECKING:
    from segmed.data.decoded import DecodedDataset
    from segmed.data.degrade import Degradation
    from segmed.evaluation.result import Evaluation
    from segmed.evaluation.run import Plan
    from segmed.inference.base import VolumePredictor


def evaluate(
    run: Annotated[str | None, typer.Argument(help="Run folder, or a hub model hf:owner/name.")] = None,
    data: Annotated[Path | None, typer.Option(help="The data set.")] = None,
    split: Annotated[Path | None, typer.Option(help="Another split than the run's own, or that of masks.")] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Another fold than the run's own, from 0.")] = None,
    part: Annotated[
        PartName, typer.Option(help="The run was chosen on validation; train is for masks alone.")
    ] = "test",
    predictions: Annotated[Path | None, typer.Option(help="Folder of masks of any tool, in place of a run.")] = None,
    references: Annotated[Path | None, typer.Option(help="Folder of reference masks, or a data set.")] = None,
    labels: LabelsOption = None,
    patient_regex: Annotated[
        str | None, typer.Option(help="Finds the patient, and a group `slice`, in names of images or references.")
    ] = None,
    each_image_is_a_patient: EachImageOption = False,
    degrade: Annotated[
        str | None, typer.Option(help="Make the images worse: lowpass:0.25,bandgain:0.75,noise:0.1, or all.")
    ] = None,
    out: Annotated[Path | None, folder_option("Folder for the result.")] = None,
    name: Annotated[str | None, typer.Option(help="Name in tables; the folder's name by default.")] = None,
    groups: GroupsOption = None,
    floors: Annotated[bool, typer.Option("--floors/--no-floors", help="Score baselines that learn nothing.")] = True,
    prompts: Annotated[
        str | None, typer.Option(help="Kinds of prompts of a promptable run, such as gt,jitter:5,loose,none.")
    ] = None,
    cascade: Annotated[Path | None, typer.Option(help="Folder of `segmed cascade`, for prompts `cascade`.")] = None,
    uncertainty: Annotated[int, typer.Option(min=1, help="Also average as many boxes around each drawn one.")] = 1,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of patients.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    tta: TtaOption = None,
    batch_size: SlicesAtATimeOption = BATCH_SIZE,
    device: DeviceOption = "auto",
) -> None:
    """Score a run or a folder of masks, by patient."""
    options = EvaluateOptions(
        run=run, data=data, split=split, fold=fold, part=part, predictions=predictions, references=references,
        labels=labels, patient_regex=patient_regex, each_image_is_a_patient=each_image_is_a_patient, degrade=degrade,
        out=out, name=name, columns=parse_columns(groups), floors=floors, prompts=prompts, cascade=cascade,
        uncertainty=uncertainty, resamples=resamples, seed=seed, tta=tta, batch_size=batch_size, device=device,
    )  # fmt: skip
    refuse_conflicts(options)
    if options.predictions is not None and options.out is not None:
        _of_masks(options, options.predictions, options.out)
    elif options.run is not None and options.data is not None:
        _of_run(options, options.run, options.data)


def _of_masks(options: EvaluateOptions, predictions: Path, out: Path) -> None:
    """Score masks of any tool against a folder of references, or on a part of a split."""
    from segmed.data.layouts.volume_listing import volumes_below

    searched = (predictions, options.references)
    _require_places(options, out, *([] if options.data is None else [_beside(out, "mm")]), searched=searched)
    name = options.name or predictions.resolve().name
    if options.references is not None and volumes_below(options.references):
        _finish(options, _volumes_against_folder(options, predictions, options.references, name), [], out)
    elif options.references is not None:
        _finish(options, _against_folder(options, predictions, options.references, name), [], out)
    elif options.data is not None and options.split is not None:
        _on_split(options, predictions, options.data, options.split, name, out)


def _require_places(options: EvaluateOptions, *folders: Path, searched: Sequence[Path | None] = ()) -> None:
    """Raise `DataError` where the evaluations in some folders would replace files of the user, before hours of work."""
    from segmed.evaluation.places import require_places

    require_places(folders, read=(*searched, options.data), searched=searched)


def _volumes_against_folder(options: EvaluateOptions, predictions: Path, references: Path, name: str) -> "Evaluation":
    """As `segmed compare NAME=FOLDER --references FOLDER`, of one tool."""
    from segmed.cli.referee import ReferenceOptions, open_stated, score_system

    stated = ReferenceOptions(
        references=references,
        labels=options.labels,
        patient_regex=options.patient_regex,
        each_case_is_a_patient=options.each_image_is_a_patient,
    )
    opened = open_stated(stated)
    announce_leak(False, patients_known=opened.patients_known)
    return score_system(name, predictions, opened, resamples=options.resamples, seed=options.seed)


def _against_folder(options: EvaluateOptions, predictions: Path, references: Path, name: str) -> "Evaluation":
    from dataclasses import replace

    from segmed.core.labels import LabelMap
    from segmed.data.patients import require_unlike
    from segmed.data.sources import parse_labels
    from segmed.evaluation.masks.folders import evaluate_pairs, pair_folders

    labels = LabelMap() if options.labels is None else parse_labels(options.labels)
    pairs = pair_folders(predictions, references, labels=labels, patient_regex=options.patient_regex)
    if options.each_image_is_a_patient and pairs.patients_known:
        raise ConfigError(
            f"{references}: patients are known already, so --each-image-is-a-patient says nothing. Leave it out."
        )
    if options.each_image_is_a_patient:
        pairs = replace(pairs, patients_known=True)
    elif not pairs.patients_known:
        require_unlike(references, (record.slice_id for record in pairs.references))
    announce_leak(False, patients_known=pairs.patients_known)
    if pairs.unused:
        unused = plural(
            len(pairs.unused), "prediction has no reference and is", "predictions have no reference and are"
        )
        note(f"{unused} left out, such as {pairs.unused[0]}.")
    return evaluate_pairs(pairs, labels, name=name, **options.bootstrap)


def _on_split(options: EvaluateOptions, predictions: Path, data: Path, split_file: Path, name: str, out: Path) -> None:
    """Score masks on a part of a split, beside its floors, so that they can be compared with runs."""
    from segmed.data.splits import patients_known, require_fit
    from segmed.evaluation.masks.folders import evaluate_masks
    from segmed.evaluation.run import Plan

    split = open_split(split_file)
    decoded = open_decoded(data, options.labels, options.patient_regex)
    split = require_fit(split, decoded)
    known = patients_known(split, decoded)
    plan = Plan(split, options.fold or 0, options.part, split.leaking, patients_known=known)
    _require_groups(options, decoded, plan)
    result = evaluate_masks(predictions, decoded, split, fold=plan.fold, part=plan.part, name=name, **options.bootstrap)
    floors = _floors(options, decoded, plan)
    _finish(options, result, floors, out)
    _by_group(options, result, decoded, out)
    _in_mm(options, result, floors, decoded, out)


@dataclass(frozen=True)
class _Test:
    """A run with the data and the patients it is scored on, its name in tables, and the folder for the result."""

    predictor: "VolumePredictor"
    decoded: "DecodedDataset"
    plan: "Plan"
    name: str
    folder: Path


def _of_run(options: EvaluateOptions, run: str, data: Path) -> None:
    """Score a run as it is, on images made worse, or under prompts."""
    test = _test_of(options, run, data)
    _require_groups(options, test.decoded, test.plan)
    if options.out is None and not test.plan.own:
        raise ConfigError(f"{run}: split, fold or data are not its own. Name a folder for the result with -o.")
    announce_leak(test.plan.leaking, patients_known=test.plan.patients_known)
    if not test.plan.training_known:
        note(
            "TRAINING UNKNOWN: which patients the run was trained on is not said, or with another key than this data "
            "has, so they may be among these."
        )
    if options.degrade is not None:
        _degraded(options, test, options.degrade)
    elif options.prompts is not None:
        _prompted(options, test, options.prompts)
    else:
        _plain(options, test)


def _test_of(options: EvaluateOptions, run: str, data: Path) -> _Test:
    from segmed.core.files import refuse_links
    from segmed.core.split import Split
    from segmed.evaluation.run import plan_evaluation
    from segmed.inference import load

    folder = options.out or _folder_beside(run, options.part)
    refuse_links(folder, itself=True)  # before hours of work, and again before anything is written
    split = None if options.split is None else Split.load(options.split)
    predictor = load(run, device=options.device, tta=options.tta)
    own = predictor.config
    decoded = open_decoded(data, options.labels, options.patient_regex, default_labels=own.labels, plane=own.plane)
    plan = plan_evaluation(
        predictor.folder, predictor.config, decoded, split=split, fold=options.fold, part=options.part
    )
    return _Test(predictor, decoded, plan, options.name or predictor.folder.resolve().name, folder)


def _degraded(options: EvaluateOptions, test: _Test, degradations: str) -> None:
    from segmed.cli.evaluation_table import show_degraded
    from segmed.core.files import refuse_links
    from segmed.data.degrade import parse_degradations

    asked_for = parse_degradations(degradations)
    for each in asked_for:
        refuse_links(_folder_of(test, each), itself=True)
    _require_places(options, *(_folder_of(test, each) for each in asked_for))
    if len(asked_for) == 1:
        _finish(options, _scored(options, test, asked_for[0]), [], _folder_of(test, asked_for[0]))
        return
    results = {}
    for each in asked_for:
        results[each] = _kept(_scored(options, test, each), [], _folder_of(test, each))
        say(_folder_of(test, each))
    show_degraded(results)
    _compare_next(options, test.folder, test.decoded.dataset.path)


def _folder_of(test: _Test, degradation: "Degradation") -> Path:
    """Where the evaluation under a degradation lies: beside that on the images as they are."""
    return _beside(test.folder, degradation.label)


def _beside(folder: Path, ending: str) -> Path:
    """The folder `NAME-ending` beside a folder, which may be called `.` or `..`."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(f"{named.name}-{ending}")


def _prompted(options: EvaluateOptions, test: _Test, prompts: str) -> None:
    from segmed.cli.evaluate_prompts import PromptOptions, evaluate_kinds

    kinds = PromptOptions(prompts, options.uncertainty, options.floors, options.cascade, options.tta)
    evaluate_kinds(
        test.predictor, test.decoded, test.plan, kinds, test.folder,
        name=test.name, batch_size=options.batch_size, bootstrap=options.bootstrap,
    )  # fmt: skip
    _compare_next(options, test.folder, test.decoded.dataset.path)


def _plain(options: EvaluateOptions, test: _Test) -> None:
    _require_places(options, test.folder, _beside(test.folder, "mm"))
    result = _scored(options, test)
    floors = _floors(options, test.decoded, test.plan)
    _finish(options, result, floors, test.folder)
    _by_group(options, result, test.decoded, test.folder)
    _in_mm(options, result, floors, test.decoded, test.folder)


def _in_mm(
    options: EvaluateOptions, result: "Evaluation", floors: list["Evaluation"], decoded: "DecodedDataset", out: Path
) -> None:
    """Score volumes of known spacing, and the floors, in three dimensions too, in a folder beside the other."""
    from segmed.cli.evaluation_table import show
    from segmed.evaluation.in_mm import save_in_mm

    folder = _beside(out, "mm")
    found = save_in_mm(folder, result, decoded, floors, **options.bootstrap)
    if found:
        show(found[0], found[1:])
        say(folder)


def _scored(options: EvaluateOptions, test: _Test, degradation: "Degradation | None" = None) -> "Evaluation":
    from segmed.evaluation.run import evaluate_run

    with progress_bar("evaluating patients" if degradation is None else f"evaluating under {degradation}") as progress:
        return evaluate_run(
            test.predictor, test.decoded, test.plan, name=test.name, batch_size=options.batch_size, progress=progress,
            degradation=degradation, **options.bootstrap,
        )  # fmt: skip


def _floors(options: EvaluateOptions, decoded: "DecodedDataset", plan: "Plan") -> list["Evaluation"]:
    """Baselines that learn nothing, on the same part; none where they are not wanted."""
    from segmed.evaluation.floors import floor_evaluations

    if not options.floors:
        return []
    with progress_bar("floors") as progress:
        return floor_evaluations(decoded, plan.split, plan.fold, plan.part, progress=progress, **options.bootstrap)


def _require_groups(options: EvaluateOptions, decoded: "DecodedDataset", plan: "Plan") -> None:
    """Raise `DataError` for a column that no patient of the part has, before anything is scored."""
    from segmed.evaluation.groups import group_of
    from segmed.evaluation.part import records_of

    if not options.columns:
        return
    volumes = records_of(decoded, plan.split.fold(plan.fold).part(plan.part)).values()
    patients = tuple(dict.fromkeys(records[0].patient for records in volumes))
    for column in options.columns:
        group_of(column, decoded.dataset.attributes, patients)


def _by_group(options: EvaluateOptions, result: "Evaluation", decoded: "DecodedDataset", folder: Path) -> None:
    """Print the scores of the groups that were asked for, and write them beside the evaluation."""
    from segmed.cli.evaluation_table import show_groups
    from segmed.evaluation.groups import group_table, write_group_csv

    if not options.columns:
        return
    tables = [
        group_table(result, column, decoded.dataset.attributes, resamples=options.resamples, seed=options.seed)
        for column in options.columns
    ]
    write_group_csv(folder / "groups.csv", tables)
    show_groups(tables)


def _finish(options: EvaluateOptions, result: "Evaluation", floors: list["Evaluation"], folder: Path) -> None:
    """Write the folder, with this command in its provenance, and show the table."""
    from segmed.cli.evaluation_table import show

    result = _kept(result, floors, folder)
    show(result, floors)
    say(folder)
    if result.kind == "run":
        _compare_next(options, folder, options.data)


def _kept(result: "Evaluation", floors: list["Evaluation"], folder: Path) -> "Evaluation":
    """Write the folder, and return what was written: the result with this command in its provenance."""
    from dataclasses import replace

    from segmed.evaluation.floors import save_with_floors

    result = replace(result, provenance=result.provenance.telling(command=this_command()))
    save_with_floors(folder, result, floors)
    return result


def _compare_next(options: EvaluateOptions, folder: Path, data: object) -> None:
    read = input_options(options.labels, options.patient_regex)
    next_step("segmed", "compare", folder, "--data", data, *read, "--out", "report")


def _folder_beside(run: str, part: str) -> Path:
    from segmed.models.hub import hub_id, require_local

    if hub_id(run) is not None:
        raise ConfigError(f"{run}: is on the hub, so name a folder for the result with -o.")
    require_local(run)
    return Path(run) / f"evaluation-{part}"
