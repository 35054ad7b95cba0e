"""The masks of any tools for `segmed compare`: named on the command line, scored, and kept as evaluations."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segmed.cli.messages import note, warn
from segmed.cli.progress import progress_bar
from segmed.cli.referee_runs import Predicted, is_run, predict_run
from segmed.core.errors import SegmedError
from segmed.core.pseudonyms import shareable
from segmed.core.wording import plural

if TYPE_CHECKING:
    from segmed.cli.options import OtherGridsName
    from segmed.evaluation.context import Context
    from segmed.evaluation.find import Found
    from segmed.evaluation.mask_cases import References
    from segmed.evaluation.mask_files import CaseTable
    from segmed.evaluation.mask_labels import LabelNumbers
    from segmed.evaluation.mask_pictures import MaskPictures, SliceReferences
    from segmed.evaluation.result import Evaluation

EVALUATIONS = "evaluations"
"""The folder beside the page that keeps what was scored."""
PLAIN = re.compile(r"[^\\/:*?\"<>|\x00-\x1f.][^\\/:*?\"<>|\x00-\x1f]*")
NAMED = 5


@dataclass(frozen=True)
class MaskOptions:
    """How masks are to be scored, as on the command line."""

    references: Path | None
    cases: Path | None
    labels: str | None
    labels_of: tuple[str, ...]
    patient_regex: str | None
    each_case_is_a_patient: bool
    tolerances: str
    other_grids: "OtherGridsName"
    images: Path | None
    seed: int


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
) -> "tuple[Found, References]":
    """Score the masks of each system, and read those that are evaluations already.

    What is scored is kept in `OUT/evaluations/NAME`, so that it can be compared again.
    """
    from segmed.evaluation.find import Found, find_evaluations
    from segmed.evaluation.mask_files import files_by_table
    from segmed.evaluation.masks import score_masks

    named = [(name or path.resolve().name, path) for name, path in systems]
    trained = {name for name, path in named if is_run(path) and options.images is not None}
    stored = {name for name, path in named if _is_evaluated(path)} - trained
    names = [name for name, _ in named if name not in stored]
    columns = [name for name, path in named if name not in stored and not is_run(path)]
    table = None if options.cases is None else files_by_table(options.cases, columns)
    references = _open(options, table)
    labels = _labels_of(options.labels_of, names)
    evaluations: list[Evaluation] = []
    runs: dict[str, Path] = {}
    for name, path in named:
        if name in stored:
            found = find_evaluations([path], part=part)
            first = dataclasses.replace(found.evaluations[0], name=name)
            evaluations += [first, *found.evaluations[1:]]
            runs.update(dict.fromkeys([name] if found.runs else [], next(iter(found.runs.values()), path)))
            continue
        predicted = predict_run(path, references, options.images, name=name, out=out) if is_run(path) else None
        source: Path | Mapping[str, Path] = path if table is None else table.systems.get(name, path)
        with progress_bar(f"scoring {name}"):
            scored = score_masks(
                source if predicted is None else predicted.folder,
                references,
                name=name,
                labels=labels.get(name) if predicted is None else predicted.labels,
                other_grids=options.other_grids,
                context=None if predicted is None else _context(path, predicted),
                seed=options.seed,
            )
        if predicted is not None:
            runs[name] = path
        if scored.missing:
            more = len(scored.missing) - NAMED
            shown = ", ".join(scored.missing[:NAMED]) + (f" and {plural(more, 'other')}" if more > 0 else "")
            warn(f"{name}: no mask of {shown}; scored as empty.")
        scored.save(out / EVALUATIONS / name)
        evaluations.append(scored)
    return Found(tuple(evaluations), runs), references


def volume_pictures(
    evaluations: "Sequence[Evaluation]", images: Path | None, references: "References | None"
) -> "MaskPictures | None":
    """The `references` that were scored against; else those that evaluations name, where they still lie there."""
    from segmed.evaluation.mask_cases import open_references
    from segmed.evaluation.mask_labels import LabelNumbers
    from segmed.evaluation.mask_pictures import MaskPictures, images_of

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


def _context(run: Path, predicted: Predicted) -> "Context":
    """What is known of the masks of a run of ours."""
    from segmed.evaluation.context import Context
    from segmed.evaluation.provenance import Provenance

    return Context(
        kind="run",
        leaking=predicted.leaking,
        training_known=predicted.training_known,
        threshold=predicted.threshold,
        provenance=Provenance(run=shareable(run)),
    )


def slice_references(references: "References | None") -> "SliceReferences | None":
    """The references that were scored against, where they are images of one slice."""
    from segmed.evaluation.mask_pictures import SliceReferences

    return None if references is None or references.space is not None else SliceReferences(references)


def _is_evaluated(path: Path) -> bool:
    return (path / "evaluation.json").is_file() or any(path.glob("evaluation-*/evaluation.json"))


def _open(options: MaskOptions, table: "CaseTable | None") -> "References":
    from segmed.evaluation.mask_cases import open_references
    from segmed.evaluation.mask_labels import parse_label_numbers

    source: Path | Mapping[str, Path] | None = options.references
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


def _labels_of(texts: Sequence[str], names: Sequence[str]) -> "dict[str, LabelNumbers]":
    from segmed.evaluation.mask_labels import parse_label_numbers

    found = {}
    for text in texts:
        name, _, labels = text.partition(":")
        if name not in names or not labels:
            raise SegmedError(f"--labels-of {text!r}: expected NAME:LABELS, where NAME is of {', '.join(names)}.")
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
