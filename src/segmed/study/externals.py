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

SOURCE = "source.json"


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
    sources = [{"run": str(folder.resolve()), "digest": _digest_of_run(folder)} for folder in folders]
    if _note(study, name, fold) in sources:  # no network is loaded for what is known
        return Evaluation.load(_place(study, name, fold))
    for folder, source in zip(folders, sources, strict=True):
        predictor = load(folder)
        try:
            plan = plan_evaluation(folder, predictor.config, study.data, split=study.splits["patient"], fold=fold)
        except (SplitError, DataError) as error:
            reason = error
            continue
        return _kept(study, name, fold, source, partial(evaluate_run, predictor, study.data, plan, name=name))
    raise SplitError(
        f"no run of {name} may be tested on fold {fold}: {reason} Train one on this fold of the study's split."
    )


def _kept(study: Study, name: str, fold: int, source: dict[str, str], score: Callable[[], Evaluation]) -> Evaluation:
    """What was scored before of the same source, else what `score` finds, kept with where it came from.

    One process scores at a time; others wait for it.
    """
    place = _place(study, name, fold)
    with held(place, wait=True):
        if _note(study, name, fold) != source:
            found = score()
            (place / SOURCE).unlink(missing_ok=True)  # so that no note is ever beside the scores of something else
            found.save(place)
            write_json(place / SOURCE, source)
        return Evaluation.load(place)


def _note(study: Study, name: str, fold: int) -> dict[str, str]:
    """What the kept scores were made of; nothing where there are none."""
    place = _place(study, name, fold)
    if not ((place / SOURCE).is_file() and (place / "evaluation.json").is_file()):
        return {}
    return dict(read_json(place / SOURCE, what="what a row's scores were made of"))


def _place(study: Study, name: str, fold: int) -> Path:
    return study.out / "own" / safe_name(name) / f"fold-{fold}"


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
