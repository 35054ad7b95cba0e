"""Find stored evaluations by the folders that a user names: of runs, of parts, under prompts, with their floors."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segmed.core.errors import DataError, SegmedError
from segmed.evaluation.result import Evaluation
from segmed.evaluation.rows import CaseRow
from segmed.inference.automatic_prompts import CASCADE_PROMPTS
from segmed.inference.loading import config_of, configs_in, hashes_of
from segmed.models.checkpoint import CASCADE, RunConfig


@dataclass(frozen=True)
class Found:
    """Evaluations read from disk, and the folder of the run, ensemble or cascade each came from where there is one."""

    evaluations: tuple[Evaluation, ...]
    runs: Mapping[str, Path]


def find_evaluations(paths: Sequence[Path], *, part: str | None = None) -> Found:
    """Read the evaluation in each path: an evaluation folder, or a run folder that holds `evaluation-<part>/`.

    `part` chooses among several in a run folder; without it `test` is taken. Floors saved below an evaluation are
    read with it, equal ones once, and so are evaluations under several kinds of prompts (`prompts/`). Two with the
    same name get the name of their run's folder, or of their own, added.
    Raises `DataError` naming the path.
    """
    evaluations: list[Evaluation] = []
    runs: dict[str, Path] = {}
    floors: list[tuple[Evaluation, str]] = []
    places: set[Path] = set()
    for path in paths:
        folder = _evaluation_folder(path, part)
        if folder.resolve() in places:
            raise DataError(f"{path}: its evaluation is named twice. Name each once.")
        places.add(folder.resolve())
        read = [(Evaluation.load(file.parent), file.parent) for file in _evaluation_files(folder)]
        for evaluation, own in sorted(read, key=lambda one: one[0].oracle):
            files = sorted(own.glob("floors/*/evaluation.json"))
            floors += [(Evaluation.load(file.parent), _run_name(folder)) for file in files]
            if evaluation.prompts is not None and any(_same_answers(evaluation, other) for other in evaluations):
                continue
            evaluations.append(_own_name(evaluation, evaluations, _run_name(folder)))
            if configs_in(folder.parent) and folder.parent not in runs.values():
                runs[evaluations[-1].name] = folder.parent
    return Found(tuple(with_others(evaluations, floors)), runs)


def scored_otherwise(found: Found) -> tuple[str, ...]:
    """A sentence for each run, ensemble or cascade that is no longer what was scored.

    Its weights, or a cascade's settings, are others, as when it was made anew in the same folder; or its threshold,
    test-time augmentation or post-processing, as after `segmed tune`. The latter is not asked of promptable runs, whose
    threshold without a prompt is another, and of cascades.
    """
    sentences = []
    for evaluation in found.evaluations:
        run = found.runs.get(evaluation.name)
        if run is None or evaluation.kind != "run":
            continue
        if evaluation.prompts is not None and evaluation.prompts.drawn == CASCADE_PROMPTS:
            continue  # of a cascade, whose folder is another
        again = f"Repeat them with `segmed evaluate {run}`."
        if evaluation.provenance.hashes and evaluation.provenance.hashes != _hashes_now(run):
            sentences.append(
                f"{evaluation.name}: its scores are of other weights or settings than the folder holds now, as when it "
                f"was made anew. {again}"
            )
        elif _predicts_otherwise(evaluation, run):
            sentences.append(
                f"{evaluation.name}: its scores are of another threshold, test-time augmentation or post-processing "
                f"than the run has now, as after `segmed tune`. {again}"
            )
    return tuple(sentences)


def _hashes_now(run: Path) -> tuple[str, ...]:
    """Those of the folder; none where it can no longer be read, as a cascade whose runs are gone."""
    try:
        return hashes_of(run)
    except SegmedError:
        return ()


def _predicts_otherwise(evaluation: Evaluation, run: Path) -> bool:
    if (run / CASCADE).is_file():
        return False
    config = config_of(run)
    if isinstance(config, RunConfig) and config.model.takes_prompts:
        return False
    scored = evaluation.threshold, evaluation.provenance.prediction or config.prediction
    return scored != (config.threshold, config.prediction)


def with_others(evaluations: Sequence[Evaluation], others: Sequence[tuple[Evaluation, str]]) -> list[Evaluation]:
    """The evaluations, then others, each with the name of its run: equal floors once, the run added to taken names."""
    found, seen = list(evaluations), list(evaluations)
    for each, run in others:
        if each.kind == "floor" and any(_same_result(each, other) for other in seen):
            continue
        seen.append(each)
        found.append(_own_name(each, found, run))
    return found


def _evaluation_files(folder: Path) -> list[Path]:
    """The evaluation of a folder, and those under several kinds of prompts below it."""
    own = folder / "evaluation.json"
    return [*([own] if own.is_file() else []), *sorted(folder.glob("prompts/*/evaluation.json"))]


def _evaluation_folder(path: Path, part: str | None) -> Path:
    if _evaluation_files(path):
        return path
    if not path.is_dir():
        raise DataError(f"{path}: there is no such folder. Check the path.")
    found = {folder.name.removeprefix("evaluation-"): folder for folder in path.glob("*/") if _evaluation_files(folder)}
    wanted = part or ("test" if "test" in found or len(found) != 1 else next(iter(found)))
    if wanted not in found:
        there = f" (it has: {', '.join(sorted(found))})" if found else ""
        raise DataError(f"{path}: holds no evaluation of the {wanted} part{there}. Run `segmed evaluate {path}` first.")
    return found[wanted]


def _run_name(folder: Path) -> str:
    """The name of the run that an evaluation's folder is of, or the folder's own."""
    return (folder.parent if folder.name.startswith("evaluation-") else folder).name


def _own_name(evaluation: Evaluation, others: Sequence[Evaluation], run: str) -> Evaluation:
    taken = {other.name for other in others}
    if evaluation.name not in taken:
        return evaluation
    candidates = (f"{evaluation.name} ({text})" for text in itertools.chain([run], itertools.count(2)))
    return dataclasses.replace(evaluation, name=next(name for name in candidates if name not in taken))


def _same_answers(first: Evaluation, second: Evaluation) -> bool:
    """Whether two are of one run and equal slice by slice, as without prompts and as every model is evaluated."""
    runs = [evaluation.provenance.run for evaluation in (first, second)]
    alike = first.oracle == second.oracle and runs[0] is not None and runs[0] == runs[1]
    return alike and repr(first.slices) == repr(second.slices)


def _same_result(first: Evaluation, second: Evaluation) -> bool:
    """Whether two floors are one: the same name and the same scores, as when runs share a split."""
    if (first.kind, first.name, repr(first.slices)) != (second.kind, second.name, repr(second.slices)):
        return False
    return len(first.cases) == len(second.cases) and all(map(_same_scores, first.cases, second.cases))


def _same_scores(first: CaseRow, second: CaseRow) -> bool:
    """Whether a case has one result in both rows, whichever file its reference was, and whichever axes it had."""
    if _counted(first) != _counted(second) or first.scores.keys() != second.scores.keys():
        return False
    pairs = ((first.scores[name], second.scores[name]) for name in first.scores)
    return all(math.isclose(one, other) or (math.isnan(one) and math.isnan(other)) for one, other in pairs)


def _counted(row: CaseRow) -> tuple[object, ...]:
    return row.case, row.patient, row.label, row.reference_voxels, row.predicted_voxels, row.tp, row.fp, row.fn, row.tn
