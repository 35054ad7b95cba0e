"""Rows of the user's own: runs trained elsewhere, and folders of masks of any tool, scored on the study's splits."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segmed.core.errors import DataError, SegmedError, SplitError
from segmed.core.files import exclusive_lock, write_json
from segmed.core.reading import read_json
from segmed.evaluation.masks.folders import evaluate_masks
from segmed.evaluation.result import EVALUATION, Evaluation
from segmed.evaluation.run import Plan, evaluate_run, plan_evaluation
from segmed.inference import load
from segmed.inference.loading import config_of, configs_in, parts_of
from segmed.models.checkpoint import found_from, relative_to
from segmed.study.jobs import Protocol
from segmed.study.pool import pool_folds
from segmed.study.run import Study
from segmed.study.settings import safe_name

SOURCE = "source.json"
_Scorer = Callable[[Protocol], list[Evaluation]]


@dataclass(frozen=True)
class ExternalRow:
    """A row of the user's own under one protocol: its scores, and the run that has them, None for masks alone."""

    evaluation: Evaluation
    run: Path | None


@dataclass(frozen=True)
class ExternalRows:
    """The user's rows by protocol; `refused` are (name, why) of what is under a protocol, or all, not there."""

    patient: tuple[ExternalRow, ...] = ()
    reproduction: tuple[ExternalRow, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def external_evaluations(study: Study) -> ExternalRows:
    """The user's rows under every protocol of the study that does not test them on what they saw. Scores are kept.

    A run trained on the study's split by slice is a row of the paper's protocol, one trained on a fold by patient of
    the other; masks are scored under each, since nothing tells how they were made.
    """
    rows: dict[str, _Scorer] = {}
    for name, folders in study.settings.runs:
        rows[name] = partial(_of_runs, study, name, [Path(folder) for folder in folders])
    for name, folder in study.settings.predictions:
        rows[name] = partial(_of_masks, study, name, Path(folder))
    found: dict[Protocol, list[ExternalRow]] = {"patient": [], "reproduction": []}
    refused: list[tuple[str, str]] = []
    for name, scored in rows.items():
        reasons: dict[Protocol, SegmedError] = {}
        for protocol in _protocols(study):
            try:
                folds = scored(protocol)
                row = pool_folds(folds, name=name) if protocol == "patient" else folds[0]
            except SegmedError as error:
                reasons[protocol] = error
                continue
            run = _note(study, name, protocol, 0).get("run")
            found[protocol].append(ExternalRow(row, found_from(study.out, run) if run else None))
        refused += [(name, str(error)) for error in _worth_telling(reasons, _protocols(study))]
    return ExternalRows(tuple(found["patient"]), tuple(found["reproduction"]), tuple(refused))


def _worth_telling(reasons: Mapping[Protocol, SegmedError], protocols: Sequence[Protocol]) -> list[SegmedError]:
    """Not that a run which is a row under one protocol has seen the other's test part: it cannot be otherwise."""
    elsewhere = len(reasons) < len(protocols)
    return [error for error in reasons.values() if not (elsewhere and isinstance(error, SeenError))]


class SeenError(SplitError):
    """No run of a row may be tested on a fold."""


def _protocols(study: Study) -> tuple[Protocol, ...]:
    every: tuple[Protocol, ...] = ("patient", "reproduction")
    return tuple(protocol for protocol in every if protocol in study.splits)


def _of_runs(study: Study, name: str, folders: Sequence[Path], protocol: Protocol) -> list[Evaluation]:
    folds = range(len(study.splits[protocol].folds))
    return [_of_fold(study, name, folders, protocol, fold) for fold in folds]


def _of_fold(study: Study, name: str, folders: Sequence[Path], protocol: Protocol, fold: int) -> Evaluation:
    """The first of the runs that has not seen the fold's test part; `SeenError` where each has."""
    reason: SegmedError | None = None
    sources = [{"run": relative_to(study.out, folder), "digest": _digest_of_run(folder)} for folder in folders]
    if _note(study, name, protocol, fold) in sources:  # no network is loaded for what is known
        return Evaluation.load(_place(study, name, protocol, fold))
    split = study.splits[protocol]
    for folder, source in zip(folders, sources, strict=True):
        try:
            plan = plan_evaluation(folder, config_of(folder), study.data, split=split, fold=fold)
        except (SplitError, DataError) as error:
            reason = error
            continue
        return _kept(study, name, protocol, fold, source, partial(_score, study, folder, plan, name))
    what = f"fold {fold}" if protocol == "patient" else "the split as in the paper"
    raise SeenError(f"no run of {name} may be tested on {what}: {reason} Train one on this fold of the study's split.")


def _score(study: Study, folder: Path, plan: Plan, name: str) -> Evaluation:
    return evaluate_run(load(folder, device=study.device), study.data, plan, name=name)


def _kept(
    study: Study, name: str, protocol: Protocol, fold: int, source: dict[str, str], score: Callable[[], Evaluation]
) -> Evaluation:
    """What was scored before of the same source, else what `score` finds, kept with where it came from.

    One process scores at a time; others wait for it.
    """
    place = _place(study, name, protocol, fold)
    with exclusive_lock(place, wait=True):
        if _note(study, name, protocol, fold) != source:
            found = score()
            (place / SOURCE).unlink(missing_ok=True)  # so that no note is ever beside the scores of something else
            found.save(place)
            write_json(place / SOURCE, source)
        return Evaluation.load(place)


def _note(study: Study, name: str, protocol: Protocol, fold: int) -> dict[str, str]:
    """What the kept scores were made of, its folder from the study's; nothing where there are none."""
    place = _place(study, name, protocol, fold)
    if not ((place / SOURCE).is_file() and (place / EVALUATION).is_file()):
        return {}
    what = "what a row's scores were made of"
    source = read_json(place / SOURCE, dict[str, str], what=what, remedy=f"Delete {place} and run again.")
    named = {
        key: relative_to(study.out, found_from(study.out, source[key]))
        for key in ("run", "predictions")
        if key in source
    }
    return source | named  # earlier versions wrote them in full


def _place(study: Study, name: str, protocol: Protocol, fold: int) -> Path:
    return study.out / "own" / safe_name(name) / (f"fold-{fold}" if protocol == "patient" else protocol)


def _digest_of_run(folder: Path) -> str:
    """Of what decides a run's answers: its configuration, which changes with every training and tuning, or that of
    each of its parts."""
    digest = hashlib.sha256()
    for path in (*configs_in(folder), *parts_of(folder)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _digest_of_files(folder: Path) -> str:
    """Of the names, sizes and times of all files in a folder: what is cheap to read and changes with the masks."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        facts = path.stat()
        digest.update(f"{path.relative_to(folder)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _of_masks(study: Study, name: str, folder: Path, protocol: Protocol) -> list[Evaluation]:
    split = study.splits[protocol]
    source = {"predictions": relative_to(study.out, folder), "digest": _digest_of_files(folder)}
    results = []
    for fold in range(len(split.folds)):
        score = partial(evaluate_masks, folder, study.data, split, fold=fold, name=name)
        results.append(_kept(study, name, protocol, fold, source, score))
    return results
