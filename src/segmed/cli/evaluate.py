"""`segmed evaluate`: score a trained run on its test patients, or any masks against references."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmed.cli.opening import TtaOption, open_decoded, parse_columns, parse_tta
from segmed.cli.progress import progress_bar
from segmed.core.errors import ConfigError, SegmedError

if TYPE_CHECKING:
    from segmed.core.split import PartName
    from segmed.data.decoded import DecodedDataset
    from segmed.data.degrade import Degradation
    from segmed.evaluation.groups import GroupColumn
    from segmed.evaluation.result import Evaluation
    from segmed.evaluation.run import Plan
    from segmed.inference.base import VolumePredictor


def evaluate(
    run: Annotated[str | None, typer.Argument(help="Run folder, or a hub id owner/name.")] = None,
    data: Annotated[Path | None, typer.Option(help="The data set.")] = None,
    split: Annotated[Path | None, typer.Option(help="Another split than the run's own, or that of masks.")] = None,
    fold: Annotated[int | None, typer.Option(help="Another fold than the run's own, from 0.")] = None,
    part: Annotated[
        str, typer.Option(help="test, or validation, on which the run was chosen; of masks also train.")
    ] = "test",
    predictions: Annotated[Path | None, typer.Option(help="Folder of masks of any tool, in place of a run.")] = None,
    references: Annotated[Path | None, typer.Option(help="Folder of reference masks, or a data set.")] = None,
    labels: Annotated[str | None, typer.Option(help="Mask values, such as background=0,tumour=255.")] = None,
    patient_regex: Annotated[
        str | None, typer.Option(help="Finds the patient, and a group `slice`, in names of images or references.")
    ] = None,
    degrade: Annotated[
        str | None, typer.Option(help="Make the images worse: lowpass:0.5,ghost:0.2,noise:0.1,bias:0.4, or all.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the result.")] = None,
    name: Annotated[str | None, typer.Option(help="Name in tables; the folder's name by default.")] = None,
    groups: Annotated[
        str | None, typer.Option(help="Score groups by these columns of the data: sex,age:40:60,sex+race.")
    ] = None,
    floors: Annotated[bool, typer.Option("--floors/--no-floors", help="Score baselines that learn nothing.")] = True,
    prompts: Annotated[
        str | None, typer.Option(help="Kinds of prompts of a promptable run, such as gt,jitter:5,loose,none.")
    ] = None,
    cascade: Annotated[Path | None, typer.Option(help="Folder of `segmed cascade`, for prompts `cascade`.")] = None,
    uncertainty: Annotated[int, typer.Option(min=1, help="Also average as many boxes around each drawn one.")] = 1,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of patients.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    tta: TtaOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Slices at a time.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Score a run or a folder of masks, by patient."""
    bootstrap = {"resamples": resamples, "seed": seed}
    columns = parse_columns(groups)
    if degrade is not None and (run is None or prompts is not None or columns):
        raise ConfigError(
            "--degrade makes the images of a run's evaluation worse; name the run, and no --prompts or --groups."
        )
    if columns and prompts is not None:
        raise ConfigError("--groups scores a run as it is; leave out --prompts, or evaluate twice.")
    if predictions is not None:
        strange = {"--cascade": cascade, "--tta": tta, "--uncertainty": None if uncertainty == 1 else uncertainty}
        strange |= {"--split": split, "--fold": fold} if references is not None else {}
        if given := [option for option, value in strange.items() if value is not None]:
            masks_from = "--predictions" if references is None else "--predictions with --references"
            raise ConfigError(f"{', '.join(given)}: does not apply to {masks_from}. Leave it out.")
    if columns and data is None:
        raise ConfigError("--groups: columns come from a data set. Name it with --data.")
    if predictions is not None or references is not None:
        of_run = run is not None or prompts is not None
        if of_run or predictions is None or out is None or (references is None) == (data is None):
            raise ConfigError(
                "Masks are scored with --predictions FOLDER -o OUT and either --references FOLDER, or --data and "
                "--split to be compared with runs; and without a run."
            )
        name = name or predictions.resolve().name
        if references is not None:
            _finish(_from_folders(predictions, references, labels, patient_regex, name, bootstrap), [], out)
        elif data is not None and split is not None:
            masks = _Masks(predictions, data, split, fold or 0, _part(part), labels, patient_regex)
            _finish(*_on_split(masks, name, bootstrap, floors=floors), out)
            if columns:
                _by_group(_load(out), open_decoded(data, labels, patient_regex), columns, bootstrap, out)
        else:
            raise ConfigError("--data says where the references are; name the cases with --split too.")
        return
    if cascade is not None and "cascade" not in (prompts or ""):
        raise ConfigError("--cascade is for the kind of that name: add it, as in --prompts gt,cascade,none.")
    if uncertainty > 1 and prompts is None:
        raise ConfigError("--uncertainty moves boxes: name kinds of prompts with --prompts, such as gt,jitter:5.")
    if run is None or data is None:
        raise ConfigError("Name a run and its data: segmed evaluate RUN --data FOLDER. See segmed evaluate --help.")
    from segmed.core.split import Split
    from segmed.evaluation.run import plan_evaluation
    from segmed.inference import load

    chosen_part, folder = _part_of_run(part), out or _folder_beside(run, part)
    chosen_split = None if split is None else Split.load(split)
    predictor = load(run, device=device, tta=parse_tta(tta))
    decoded = open_decoded(data, labels, patient_regex, default_labels=predictor.config.labels)
    plan = plan_evaluation(predictor.folder, predictor.config, decoded, split=chosen_split, fold=fold, part=chosen_part)
    if out is None and not plan.own:
        raise ConfigError(f"{run}: split, fold or data are not its own. Name a folder for the result with -o.")
    if plan.leaking:
        typer.secho("LEAKING split: slices of one patient are in several parts.", fg="red", err=True)
    if not plan.training_known:
        _note("The run does not say which patients it was trained on, so they may be among these.")
    name = name or predictor.folder.resolve().name
    if degrade is not None:
        from segmed.data.degrade import parse_degradations

        for each in parse_degradations(degrade):
            result = _scored(predictor, decoded, plan, name, batch_size, bootstrap, each)
            _finish(result, [], folder.with_name(f"{folder.name}-{each.label}"))
        return
    if prompts is not None:
        from segmed.cli.evaluate_prompts import PromptOptions, evaluate_kinds

        asked = PromptOptions(prompts, uncertainty, floors, cascade, parse_tta(tta))
        evaluate_kinds(predictor, decoded, plan, asked, folder, name=name, batch_size=batch_size, bootstrap=bootstrap)
        return
    result = _scored(predictor, decoded, plan, name, batch_size, bootstrap)
    _finish(result, _floors(decoded, plan, bootstrap) if floors else [], folder)
    if columns:
        _by_group(result, decoded, columns, bootstrap, folder)


def _by_group(
    result: "Evaluation",
    decoded: "DecodedDataset",
    columns: tuple["GroupColumn", ...],
    bootstrap: dict[str, int],
    folder: Path,
) -> None:
    """Print the groups' scores and write them beside the evaluation."""
    from segmed.cli.evaluation_table import show_groups
    from segmed.evaluation.groups import group_table, write_group_csv

    resamples, seed = bootstrap["resamples"], bootstrap["seed"]
    attributes = decoded.dataset.attributes
    tables = [group_table(result, column, attributes, resamples=resamples, seed=seed) for column in columns]
    write_group_csv(folder / "groups.csv", tables)
    show_groups(tables)


def _load(folder: Path) -> "Evaluation":
    from segmed.evaluation.result import Evaluation

    return Evaluation.load(folder)


def _scored(
    predictor: "VolumePredictor",
    decoded: "DecodedDataset",
    plan: "Plan",
    name: str,
    batch_size: int,
    bootstrap: dict[str, int],
    degradation: "Degradation | None" = None,
) -> "Evaluation":
    from segmed.evaluation.run import evaluate_run

    with progress_bar("evaluating patients" if degradation is None else f"evaluating under {degradation}") as progress:
        return evaluate_run(
            predictor, decoded, plan, name=name, batch_size=batch_size, progress=progress, degradation=degradation,
            **bootstrap,
        )  # fmt: skip


def _floors(decoded: "DecodedDataset", plan: "Plan", bootstrap: dict[str, int]) -> list["Evaluation"]:
    from segmed.evaluation.floors import floor_evaluations

    with progress_bar("floors") as progress:
        return floor_evaluations(decoded, plan.split, plan.fold, plan.part, progress=progress, **bootstrap)


def _from_folders(
    predictions: Path,
    references: Path,
    labels: str | None,
    patient_regex: str | None,
    name: str,
    bootstrap: dict[str, int],
) -> "Evaluation":
    from segmed.core.labels import LabelMap
    from segmed.data.sources import parse_labels
    from segmed.evaluation.folders import evaluate_pairs, pair_folders

    label_map = LabelMap() if labels is None else parse_labels(labels)
    pairs = pair_folders(predictions, references, labels=label_map, patient_regex=patient_regex)
    if not pairs.patients_known:
        _note("Each file counts as one patient; name --patient-regex or a manifest if several are slices of one.")
    if pairs.unused:
        _note(f"{len(pairs.unused)} predictions have no reference and are left out, such as {pairs.unused[0]}.")
    return evaluate_pairs(pairs, label_map, name=name, **bootstrap)


@dataclass(frozen=True)
class _Masks:
    """Masks of another tool, and the part of a split on which they are scored."""

    folder: Path
    data: Path
    split: Path
    fold: int
    part: "PartName"
    labels: str | None
    patient_regex: str | None


def _on_split(
    masks: _Masks, name: str, bootstrap: dict[str, int], *, floors: bool
) -> tuple["Evaluation", list["Evaluation"]]:
    from segmed.core.split import Split
    from segmed.evaluation.folders import evaluate_masks
    from segmed.evaluation.run import Plan

    split = Split.load(masks.split)
    decoded = open_decoded(masks.data, masks.labels, masks.patient_regex)
    result = evaluate_masks(masks.folder, decoded, split, fold=masks.fold, part=masks.part, name=name, **bootstrap)
    plan = Plan(split, masks.fold, masks.part, split.leaking)
    return result, _floors(decoded, plan, bootstrap) if floors else []


def _finish(result: "Evaluation", floors: list["Evaluation"], folder: Path) -> None:
    """Write the folder, with this command in its provenance, and show the table."""
    from dataclasses import replace

    from segmed.cli.evaluation_table import show
    from segmed.evaluation.floors import save_with_floors

    command = " ".join(["segmed", *sys.argv[1:]])
    result = replace(result, provenance={**result.provenance, "command": command})
    (folder / "groups.csv").unlink(missing_ok=True)  # of an earlier evaluation
    save_with_floors(folder, result, floors)
    show(result, floors)
    typer.echo(f"Written: {folder}")
    if result.kind == "run":
        typer.echo(f"Next: segmed compare {folder} --data {result.provenance['data']} --out report")


def _part(name: str) -> "PartName":
    from segmed.core.split import PARTS

    for part in PARTS:
        if name == part:
            return part
    raise ConfigError(f"--part {name}: unknown. Choose one of: {', '.join(PARTS)}.")


def _part_of_run(name: str) -> "PartName":
    if name == "train":
        raise ConfigError("--part train: a run is not scored on what it was trained on. Choose test or validation.")
    return _part(name)


def _folder_beside(run: str, part: str) -> Path:
    if not Path(run).is_dir():
        raise SegmedError(f"{run}: is not a folder here, so name one for the result with -o.")
    return Path(run) / f"evaluation-{part}"


def _note(text: str) -> None:
    typer.secho(f"Note: {text}", err=True)
