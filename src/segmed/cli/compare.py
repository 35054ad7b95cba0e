"""`segmed compare`: evaluations of the same cases, or masks of any tools, in; tables and one page out."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmed.cli.inputs import announce_leak, open_decoded, parse_columns
from segmed.cli.messages import note, say, warn
from segmed.cli.options import GroupsOption, OtherGridsName, PatientRegexOption, ScoredPart, folder_option
from segmed.core.errors import ModelError, SegmedError

if TYPE_CHECKING:
    from segmed.core.stacking import Plane
    from segmed.data.decoded import DecodedDataset
    from segmed.evaluation.compare import Comparison
    from segmed.evaluation.groups import GroupTable
    from segmed.evaluation.result import Evaluation


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Runs or evaluations of the same cases; with --references or --cases also NAME=FOLDER of masks.",
            metavar="[NAME=]FOLDER...",
        ),
    ],
    out: Annotated[Path, folder_option("Folder for report.html, comparison.csv and .md.")],
    data: Annotated[
        Path | None, typer.Option(help="The data set that was scored, for pictures; by default where it then was.")
    ] = None,
    part: Annotated[
        ScoredPart | None, typer.Option(help="Part to take from run folders, or to score masks on.")
    ] = None,
    references: Annotated[Path | None, typer.Option(help="Folder of reference masks, to score masks against.")] = None,
    cases: Annotated[
        Path | None, typer.Option(help="CSV with case, reference, patient and a column of files for each NAME.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Images of the references, for the pictures of volumes.")] = None,
    labels_of: Annotated[
        list[str] | None,
        typer.Option(help="Labels of one system's masks, as NAME:tumour=2,kidney=1 or NAME:dataset.json. Repeatable."),
    ] = None,
    nsd: Annotated[
        str | None, typer.Option(help="Tolerances of NSD in mm (voxels without spacing), 1,2 where not said.")
    ] = None,
    other_grids: Annotated[
        OtherGridsName | None,
        typer.Option(help="Masks on another grid: refuse, as where not said, resample, or ignore their geometry."),
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="Score masks on the test part of this split of --data, beside its floors.")
    ] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Fold of --split, from 0; 0 by default.")] = None,
    each_case_is_a_patient: Annotated[
        bool, typer.Option("--each-case-is-a-patient", help="No two cases of --references are of one patient.")
    ] = False,
    labels: Annotated[
        str | None, typer.Option(help="Mask values, such as background=0,tumour=255; of volumes also a dataset.json.")
    ] = None,
    patient_regex: PatientRegexOption = None,
    channel: Annotated[int | None, typer.Option(min=0, help="Channel to show, from 0; the middle by default.")] = None,
    groups: GroupsOption = None,
    anonymise: Annotated[bool, typer.Option("--anonymise", help="Pseudonyms for ids, and no folders.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of bootstraps and sampled tests.")] = 0,
) -> None:
    """Compare runs and write one self-contained report."""
    from segmed.cli.referee import (
        TOLERANCES,
        MaskOptions,
        ReferenceOptions,
        SplitOptions,
        require_volumes,
        score_systems,
        slice_references,
        systems_of,
        volume_pictures,
    )
    from segmed.evaluation.compare import compare as compared
    from segmed.evaluation.find import find_evaluations, scored_otherwise
    from segmed.evaluation.report import write_comparison
    from segmed.evaluation.report.files import ALWAYS, require_report_place
    from segmed.evaluation.report.headline import headline
    from segmed.evaluation.report.notes import notes

    systems = systems_of(runs)
    require_report_place(out, ALWAYS if groups is None else (*ALWAYS, "groups.csv"))
    scored = None
    if split is not None and (data is None or (references is None and cases is None)):
        raise SegmedError("--split: name the data set with --data, and the references of masks with --references.")
    if fold is not None and split is None:
        raise SegmedError("--fold is that of a split: name it with --split, or leave --fold out.")
    if references is None and cases is None:
        of_masks = {
            "--nsd": nsd,
            "--other-grids": other_grids,
            "--labels-of": labels_of or None,
            "--each-case-is-a-patient": each_case_is_a_patient or None,
            "--labels": labels if data is None else None,
        }
        if given := [option for option, value in of_masks.items() if value is not None]:
            raise SegmedError(
                f"{', '.join(given)}: evaluations are scored already. To score masks name their references with "
                "--references or --cases."
            )
        if named := [(name, path) for name, path in systems if name is not None]:
            name, path = named[0]
            raise SegmedError(
                f"{name}=…: to score masks name their references with --references or --cases. Give a run or "
                f"evaluation without a name: {path}."
            )
        found = find_evaluations([path for _, path in systems], part=part)
        if images is not None:
            require_volumes(found.evaluations[0].space)
    else:
        options = MaskOptions(
            references=ReferenceOptions(references, labels, patient_regex, each_case_is_a_patient, nsd or TOLERANCES),
            cases=cases,
            labels_of=tuple(labels_of or ()),
            other_grids=other_grids or "refuse",
            images=images,
            split=None if split is None or data is None else SplitOptions(data, split, fold or 0, part or "test"),
            seed=seed,
        )
        scored = score_systems(systems, options, out=out, part=part)
        found, labels = scored.found, None
    comparison = compared(found.evaluations, seed=seed)
    for each in scored_otherwise(found):
        warn(each)
    decoded = None if scored is None else scored.decoded
    if decoded is None and data is None:
        decoded = _scored_data(found.evaluations, patient_regex, _plane_of(found.runs))
    elif decoded is None and data is not None:
        first = found.evaluations[0]
        decoded = open_decoded(data, labels, patient_regex, default_labels=first.labels, plane=_plane_of(found.runs))
    page = write_comparison(
        comparison,
        out=out,
        decoded=decoded,
        runs=found.runs,
        anonymise=anonymise,
        channel=channel,
        groups=_group_tables(comparison, decoded, groups, seed),
        volumes=volume_pictures(found.evaluations, images, None if scored is None else scored.references),
        references=slice_references(None if scored is None else scored.references),
    )
    announce_leak(comparison.leaking, patients_known=comparison.patients_known)
    say(headline(comparison).title)
    for each in notes(comparison):
        note(each)
    say(page)


def _group_tables(
    comparison: "Comparison", decoded: "DecodedDataset | None", groups: str | None, seed: int
) -> "list[GroupTable]":
    from segmed.evaluation.groups import group_table

    columns = parse_columns(groups)
    if columns and decoded is None:
        raise SegmedError("--groups: columns come from the data set that was scored. Name it with --data.")
    attributes = decoded.dataset.attributes if decoded is not None else {}
    return [
        group_table(each, column, attributes, patients=comparison.patients, seed=seed)
        for column in columns
        for each in comparison.evaluations
    ]


def _plane_of(runs: "Mapping[str, Path]") -> "Plane":
    """How the volumes were cut that runs were scored on, alike for all; as acquired where there is no run."""
    from segmed.inference.loading import config_of, configs_in

    for run in runs.values():
        with suppress(ModelError):  # a cascade whose runs are gone: another may tell
            if configs_in(run):
                return config_of(run).plane
    return "acquired"


def _scored_data(
    evaluations: "Sequence[Evaluation]", patient_regex: str | None, plane: "Plane"
) -> "DecodedDataset | None":
    """The data set that was scored, if it still lies where it then did and is the same; says which it is."""
    scored = next(
        (each for each in evaluations if each.data_hash is not None and each.provenance.data is not None), None
    )
    if scored is None:
        return None
    folder = Path(str(scored.provenance.data))
    if not folder.exists():
        note(f"pictures without images, since the data that was scored is not at {folder}. Name it with --data.")
        return None
    try:
        decoded = open_decoded(folder, patient_regex=patient_regex, default_labels=scored.labels, plane=plane)
    except SegmedError as error:
        note(f"pictures without images, since {error} Name the data that was scored with --data.")
        return None
    if decoded.data_hash != scored.data_hash:
        note(
            f"pictures without images, since {folder} is not the data that was scored, or not as it was read: name it "
            "with --data, and --patient-regex and --labels where they were given."
        )
        return None
    note(f"images and references for pictures are read from {folder}.")
    return decoded
