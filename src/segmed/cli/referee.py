"""The masks of any tools for `segmed compare`: named on the command line, scored, and kept as evaluations."""

import dataclasses
import math
import re
import tempfile
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segmed.cli.inputs import open_decoded, open_split
from segmed.cli.messages import note, warn
from segmed.cli.progress import progress_bar
from segmed.cli.referee_runs import Naming, Predicted, is_run, masks_of, predict_run, require_own_masks
from segmed.core.errors import SegmedError
from segmed.core.pseudonyms import shareable
from segmed.core.wording import plural

if TYPE_CHECKING:
    from segmed.cli.options import OtherGridsName
    from segmed.core.split import PartName
    from segmed.data.decoded import DecodedDataset
    from segmed.evaluation.context import Context
    from segmed.evaluation.find import Found
    from segmed.evaluation.masks.files import CaseTable
    from segmed.evaluation.masks.labels import LabelNumbers
    from segmed.evaluation.masks.pictures import MaskPictures, SliceReferences
    from segmed.evaluation.masks.references import References
    from segmed.evaluation.masks.split import ScoredPart
    from segmed.evaluation.result import Evaluation
    from segmed.evaluation.volume_metrics import Space

EVALUATIONS = "evaluations"
"""The folder beside the page that keeps what was scored."""
PLAIN = re.compile(r"[^\\/:*?\"<>|\x00-\x1f.][^\\/:*?\"<>|\x00-\x1f]*")
NAMED = 5
TOLERANCES = "1,2"
"""Of NSD, where nothing else is said."""


@dataclass(frozen=True)
class ReferenceOptions:
    """What masks are scored against, as on the command line."""

    references: Path | None
    labels: str | None
    patient_regex: str | None
    each_case_is_a_patient: bool
    tolerances: str = TOLERANCES


@dataclass(frozen=True)
class SplitOptions:
    """The part of a split whose cases are scored, and the data set that it is of."""

    data: Path
    split: Path
    fold: int
    part: "PartName"


@dataclass(frozen=True)
class MaskOptions:
    """How masks are to be scored, as on the command line."""

    references: ReferenceOptions
    cases: Path | None
    labels_of: tuple[str, ...]
    other_grids: "OtherGridsName"
    images: Path | None
    split: SplitOptions | None
    seed: int


@dataclass(frozen=True)
class Scored:
    """What is compared, the references that it was scored against, and the data set of the split where one is given."""

    found: "Found"
    references: "References"
    decoded: "DecodedDataset | None"


def systems_of(arguments: Sequence[str]) -> list[tuple[str | None, Path]]:
    """What was named: `NAME=FOLDER`, or a folder alone.

    Raises:
        SegmedError: A name twice, or one that no folder can have.
    """
    found: list[tuple[str | None, Path]] = []
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        own = bool(equals) and not Path(argument).exists()
        found.append((name, Path(folder)) if own else (None, Path(argument)))
    names = [name for name, _ in found if name is not None]
    for name in names:
        if not PLAIN.fullmatch(name):
            raise SegmedError(f"{name!r}: no name for a system. Use letters, digits and spaces.")
        if [each.casefold() for each in names].count(name.casefold()) > 1:
            raise SegmedError(f"Two systems are called {name!r}. Give each its own name.")
    return found


def score_systems(
    systems: Sequence[tuple[str | None, Path]], options: MaskOptions, *, out: Path, part: str | None
) -> Scored:
    """Score the masks of each system, and read those that are evaluations already.

    What is scored is kept in `OUT/evaluations/NAME`, so that it can be compared again, with the floors where a split
    is given.
    """
    from segmed.evaluation.find import Found, find_evaluations, with_others
    from segmed.evaluation.floors import save_with_floors
    from segmed.evaluation.masks.files import files_by_table
    from segmed.evaluation.places import require_places

    named = [(name or path.resolve().name, path) for name, path in systems]
    _require_names(named)
    if options.cases is not None:
        _require_no_folders(systems)
    trained = {name for name, path in named if is_run(path) and options.images is not None}
    stored = {name: path for name, path in named if _is_evaluated(path) and name not in trained}
    if part is not None and options.split is None and not stored:
        raise SegmedError("--part is that of a split: name it with --split, or leave --part out.")
    names = [name for name, _ in named if name not in stored]
    columns = [name for name, path in named if name not in stored and not is_run(path)]
    table = None if options.cases is None else files_by_table(options.cases, columns)
    references = open_stated(options.references, table)
    if options.images is not None:
        require_volumes(references.space)
    scored_part = None if options.split is None else _part(options.split, options.references, references)
    references = references if scored_part is None else scored_part.references
    searched = [] if table is not None else [path for name, path in named if name in columns]
    searched += [] if options.references.references is None else [references.files.folder]
    read = [*_read(options, table, references), *searched, *stored.values()]
    masks = [masks_of(out, name) for name in names if name in trained]
    require_places([out / EVALUATIONS / name for name in names], read=read, searched=searched, more=masks)
    for place in masks:
        require_own_masks(place)
    naming = _naming(options.references, table, references, scored_part)
    labels = _labels_of(options.labels_of, names, trained)
    found = {name: find_evaluations([_in_space(path, references, part)], part=part) for name, path in stored.items()}
    evaluations: list[Evaluation] = []
    others: list[tuple[Evaluation, str]] = []
    runs: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as scratch:
        floors = _floors(scored_part, Path(scratch), options.seed)
        for name, path in named:
            if name in stored:
                evaluations.append(dataclasses.replace(found[name].evaluations[0], name=name))
                others += [(each, name) for each in found[name].evaluations[1:]]
                if found[name].runs or is_run(path):
                    runs[name] = next(iter(found[name].runs.values()), path)
                continue
            predicted = None
            if is_run(path):
                predicted = predict_run(path, references, options.images, naming, name=name, out=out)
            source: Path | Mapping[str, Path] = path if table is None else table.systems.get(name, path)
            if not isinstance(source, Path):  # a table names cases as the references are called
                case_of = {called: case for case, called in references.files.called.items()}
                source = {case_of.get(case, case): file for case, file in source.items()}
            scored = score_system(
                name, source if predicted is None else predicted.masks, references,
                labels=labels.get(name) if predicted is None else predicted.labels, other_grids=options.other_grids,
                context=_context(path, predicted, scored_part), seed=options.seed,
            )  # fmt: skip
            if predicted is not None:
                runs[name] = path
            save_with_floors(out / EVALUATIONS / name, scored, floors)
            evaluations.append(scored)
    if scored_here := [name for name, _ in named if name not in stored]:
        others += [(each, scored_here[0]) for each in _saved_floors(floors, out / EVALUATIONS / scored_here[0])]
    evaluations = with_others(evaluations, others)
    return Scored(Found(tuple(evaluations), runs), references, None if scored_part is None else scored_part.decoded)


def _naming(
    options: ReferenceOptions, table: "CaseTable | None", references: "References", part: "ScoredPart | None"
) -> Naming:
    """How patients were named: those of a split as its data names them."""
    from segmed.data.splits import patients_known

    by_data = part is not None and patients_known(part.split, part.decoded)
    by_table = table is not None and bool(table.patients)
    apart = by_table or options.each_case_is_a_patient or not references.patients_known
    return Naming(options.patient_regex, apart and not by_data)


def _read(options: MaskOptions, table: "CaseTable | None", references: "References") -> "list[Path | None]":
    """All that is read beside the systems' own folders."""
    listed = [] if table is None else [file for files in table.systems.values() for file in files.values()]
    data = None if options.split is None else options.split.data
    return [*listed, *references.files.files.values(), options.cases, options.images, data]


def score_system(
    name: str,
    source: Path | Mapping[str, Path],
    references: "References",
    *,
    labels: "LabelNumbers | None" = None,
    other_grids: "OtherGridsName" = "refuse",
    context: "Context | None" = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> "Evaluation":
    """Score the masks of one tool, and name the cases of which it has none."""
    from segmed.evaluation.masks.score import score_masks

    with progress_bar(f"scoring {name}"):
        scored = score_masks(
            source, references, name=name, labels=labels, other_grids=other_grids, context=context,
            resamples=resamples, seed=seed,
        )  # fmt: skip
    if scored.missing:
        more = len(scored.missing) - NAMED
        shown = ", ".join(scored.missing[:NAMED]) + (f" and {plural(more, 'other')}" if more > 0 else "")
        warn(f"{name}: no mask of {shown}; scored as empty.")
    return scored


def open_stated(options: ReferenceOptions, table: "CaseTable | None" = None) -> "References":
    """The references that the command line names, or the table of cases."""
    from segmed.evaluation.masks.labels import parse_label_numbers
    from segmed.evaluation.masks.references import open_references

    source: Path | Mapping[str, Path] | None = options.references
    if source is not None and table is not None and table.references:
        raise SegmedError(
            f"--references {source}: the table of cases has a column 'reference' too. Leave out --references, or take "
            "the column out of the table."
        )
    if source is None:
        source = table.references if table is not None else {}
    return open_references(
        source,
        labels=None if options.labels is None else parse_label_numbers(options.labels),
        patients=(table.patients or None) if table is not None else None,
        patient_regex=options.patient_regex,
        each_case_is_a_patient=options.each_case_is_a_patient,
        tolerances=_tolerances(options.tolerances),
    )


def _part(options: SplitOptions, stated: ReferenceOptions, references: "References") -> "ScoredPart":
    """The part of the split whose cases are scored; says which references are of no case of it."""
    from segmed.core.labels import LabelMap
    from segmed.evaluation.masks.split import part_of

    split = open_split(options.split)
    numbers = references.labels
    labels = LabelMap(numbers.names, (0, *numbers.numbers.values()))
    decoded = open_decoded(options.data, None, stated.patient_regex, default_labels=labels)
    found = part_of(references, decoded, split, fold=options.fold, part=options.part)
    if found.left_out:
        note(_said_of_left_out(found, options))
    return found


def _said_of_left_out(found: "ScoredPart", options: SplitOptions) -> str:
    """Which references are not scored, and why: a file of each part, and one that is of no case of the data."""
    files: dict[str | None, list[Path]] = {}
    for each in found.left_out:
        files.setdefault(each.part, []).append(each.file)
    said = [
        f"{len(some)} of the {part} part, such as {some[0]}"
        if part
        else f"{len(some)} of no case of {options.data} by "
        f"name, such as {some[0]}; rename them, or name the file of each case in a table (--cases)"
        for part, some in files.items()
    ]
    what = plural(len(found.left_out), "reference is", "references are")
    return f"{what} not of the {options.part} part and not scored: {'; '.join(said)}."


def _floors(part: "ScoredPart | None", scratch: Path, seed: int) -> "list[Evaluation]":
    from segmed.evaluation.masks.split import score_floors

    if part is None:
        return []
    with progress_bar("floors") as progress:
        return score_floors(part, scratch, seed=seed, progress=progress)


def _saved_floors(floors: "Sequence[Evaluation]", folder: Path) -> "list[Evaluation]":
    """The floors as they were saved with an evaluation: the masks that they were scored from are gone."""
    from segmed.evaluation.floors import floor_folder
    from segmed.evaluation.result import Evaluation

    return [Evaluation.load(floor_folder(folder, floor.name)) for floor in floors]


def _in_space(path: Path, references: "References", part: str | None) -> Path:
    """Of a run the evaluation of volumes, where the references are volumes and it has one; else the folder itself."""
    in_mm = path / f"evaluation-{part or 'test'}-mm"
    return in_mm if references.space is not None and in_mm.is_dir() else path


def volume_pictures(
    evaluations: "Sequence[Evaluation]", images: Path | None, references: "References | None"
) -> "MaskPictures | None":
    """The `references` that were scored against; else those that evaluations name, where they still lie there."""
    from segmed.evaluation.masks.labels import LabelNumbers
    from segmed.evaluation.masks.pictures import MaskPictures, images_of
    from segmed.evaluation.masks.references import open_references

    first = evaluations[0]
    told = first.provenance.references
    if first.space is None or told is None:
        return None
    source = {row.case: Path(told.folder) / row.reference for row in first.cases}
    try:
        if references is not None:
            return MaskPictures(references, {} if images is None else images_of(images, references))
        labels = LabelNumbers(told.numbers)
        references = open_references(source, labels=labels, each_case_is_a_patient=True)
        return MaskPictures(references, {} if images is None else images_of(images, references))
    except SegmedError as error:
        note(f"volumes without references and images, since {error}")
        return None


def _context(run: Path, predicted: Predicted | None, part: "ScoredPart | None") -> "Context | None":
    """What is known of the masks of a tool, or of a run of ours, and of the part that they are scored on."""
    from segmed.evaluation.context import Context
    from segmed.evaluation.provenance import Provenance

    on_part = None if part is None else part.context
    if predicted is None:
        return on_part
    own = on_part or Context()
    return dataclasses.replace(
        own,
        kind="run",
        leaking=own.leaking or predicted.leaking,
        training_known=predicted.training_known,
        threshold=predicted.threshold,
        provenance=Provenance(run=shareable(run)),
    )


def slice_references(references: "References | None") -> "SliceReferences | None":
    """The references that were scored against, where they are images of one slice."""
    from segmed.evaluation.masks.pictures import SliceReferences

    return None if references is None or references.space is not None else SliceReferences(references)


def require_volumes(space: "Space | None") -> None:
    """Raise `SegmedError` where `--images` would show nothing, as what is scored are slices, and no volumes."""
    if space is None:
        raise SegmedError("--images: is for volumes. The images of slices are those of the data set: use --data.")


def _require_names(named: Sequence[tuple[str, Path]]) -> None:
    """Raise `SegmedError` where two systems would be kept in one folder."""
    first: dict[str, Path] = {}
    for name, path in named:
        if (other := first.setdefault(name.casefold(), path)) is not path:
            raise SegmedError(f"{other} and {path} are both called {name!r}. Name them, as in a={other} b={path}.")


def _require_no_folders(systems: Sequence[tuple[str | None, Path]]) -> None:
    """Raise `SegmedError` for masks that have a folder, where a table of cases says which files are whose."""
    for name, path in systems:
        if name is not None and path != Path() and not is_run(path) and not _is_evaluated(path):
            raise SegmedError(f"{name}={path}: with --cases the masks of {name} are in its column. Write {name}=.")


def _is_evaluated(path: Path) -> bool:
    return (path / "evaluation.json").is_file() or any(path.glob("evaluation-*/evaluation.json"))


def _labels_of(texts: Sequence[str], names: Sequence[str], runs: Set[str]) -> "dict[str, LabelNumbers]":
    from segmed.evaluation.masks.labels import parse_label_numbers

    found = {}
    for text in texts:
        name, _, labels = text.partition(":")
        if name not in names or not labels:
            raise SegmedError(f"--labels-of {text!r}: expected NAME:LABELS, where NAME is of {', '.join(names)}.")
        if name in runs:
            raise SegmedError(f"--labels-of {text!r}: {name} is a run, which says its labels itself. Leave it out.")
        found[name] = parse_label_numbers(labels)
    return found


def _tolerances(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = (math.nan,)
    if not all(math.isfinite(limit) and limit > 0 for limit in found):
        raise SegmedError(f"--nsd {text!r}: expected positive numbers, such as 1,2.")
    return found
