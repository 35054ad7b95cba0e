"""Rows of the user's own: runs trained elsewhere, and folders of masks of any tool, scored on the study's folds."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from segmed.core.errors import DataError, SegmedError, SplitError
from segmed.core.files import held, read_json, write_json
from segmed.evaluation.folders import evaluate_masks
from segmed.evaluation.result import Evaluation
from segmed.evaluation.run import evaluate_run, plan_evaluation
from segmed.inference import load
from segmed.inference.ensemble import ENSEMBLE
from segmed.models.checkpoint import CONFIG
from segmed.study.pool import pool_folds
from segmed.study.run import Study
from segmed.study.settings import safe_name


def external_evaluations(study: Study) -> tuple[list[Evaluation], dict[str, str]]:
    """The user's rows under the protocol by patient, and why others are not there. Scores are kept."""
    rows: list[Evaluation] = []
    refused: dict[str, str] = {}
    for name, folders in study.settings.runs:
        try:
            rows.append(pool_folds(_of_runs(study, name, [Path(folder) for folder in folders]), name=name))
        except SegmedError as error:
            refused[name] = str(error)
    for name, folder in study.settings.predictions:
        try:
            rows.append(pool_folds(_of_masks(study, name, Path(folder)), name=name))
        except SegmedError as error:
            refused[name] = str(error)
    return rows, refused


def _of_runs(study: Study, name: str, folders: Sequence[Path]) -> list[Evaluation]:
    return [_of_fold(study, name, folders, fold) for fold in range(len(study.splits["patient"].folds))]


def _of_fold(study: Study, name: str, folders: Sequence[Path], fold: int) -> Evaluation:
    """The first of the runs that has not seen the fold's test patients; `SplitError` where each has."""
    reason: SegmedError | None = None
    for folder in folders:
        predictor = load(folder)
        try:
            plan = plan_evaluation(folder, predictor.config, study.data, split=study.splits["patient"], fold=fold)
        except (SplitError, DataError) as error:
            reason = error
            continue
        source = {"run": str(folder.resolve()), "digest": _digest_of_run(folder)}
        return _kept(study, name, fold, source, partial(evaluate_run, predictor, study.data, plan, name=name))
    raise SplitError(
        f"no run of {name} may be tested on fold {fold}: {reason} Train one on this fold of the study's split."
    )


def _kept(study: Study, name: str, fold: int, source: dict[str, str], score: Callable[[], Evaluation]) -> Evaluation:
    """What was scored before of the same source, else what `score` finds, kept with where it came from.

    One process scores at a time; others wait for it.
    """
    place = study.out / "own" / safe_name(name) / f"fold-{fold}"
    with held(place, wait=True):
        note = place / "source.json"
        if (place / "evaluation.json").is_file() and note.is_file() and read_json(note, what="a source") == source:
            return Evaluation.load(place)
        score().save(place)
        write_json(note, source)
        return Evaluation.load(place)


def _digest_of_run(folder: Path) -> str:
    """Of what decides a run's answers: its configuration, which changes with every training, or its members'."""
    from segmed.inference.cascade import CASCADE  # imports transformers

    digest = hashlib.sha256()
    for name in (CONFIG, ENSEMBLE, CASCADE):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _digest_of_files(folder: Path) -> str:
    """Of the names, sizes and times of all files in a folder: what is cheap to read and changes with the masks."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        facts = path.stat()
        digest.update(f"{path.relative_to(folder)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _of_masks(study: Study, name: str, folder: Path) -> list[Evaluation]:
    split = study.splits["patient"]
    source = {"predictions": str(folder.resolve()), "digest": _digest_of_files(folder)}
    results = []
    for fold in range(len(split.folds)):
        score = partial(evaluate_masks, folder, study.data, split, fold=fold, name=name)
        results.append(_kept(study, name, fold, source, score))
    return results
