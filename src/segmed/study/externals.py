"""Rows of the user's own: runs trained elsewhere, and folders of masks of any tool, scored on the study's folds."""

from collections.abc import Sequence
from pathlib import Path

from segmed.core.errors import DataError, SegmedError, SplitError
from segmed.evaluation.folders import evaluate_masks
from segmed.evaluation.result import Evaluation
from segmed.evaluation.run import Plan, evaluate_run, plan_evaluation
from segmed.inference import VolumePredictor, load
from segmed.study.pool import pool_folds
from segmed.study.run import Study


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
    kept = _place(study, name, fold)
    if (kept / "evaluation.json").is_file():
        return Evaluation.load(kept)
    reason: SegmedError | None = None
    for folder in folders:
        predictor = load(folder)
        try:
            plan = plan_evaluation(folder, predictor.config, study.data, split=study.splits["patient"], fold=fold)
        except (SplitError, DataError) as error:
            reason = error
            continue
        return _scored(study, predictor, plan, name, kept)
    raise SplitError(
        f"no run of {name} may be tested on fold {fold}: {reason} Train one on this fold of the study's split."
    )


def _scored(study: Study, predictor: VolumePredictor, plan: Plan, name: str, kept: Path) -> Evaluation:
    evaluate_run(predictor, study.data, plan, name=name).save(kept)
    return Evaluation.load(kept)


def _of_masks(study: Study, name: str, folder: Path) -> list[Evaluation]:
    split = study.splits["patient"]
    results = []
    for fold in range(len(split.folds)):
        kept = _place(study, name, fold)
        if not (kept / "evaluation.json").is_file():
            evaluate_masks(folder, study.data, split, fold=fold, name=name).save(kept)
        results.append(Evaluation.load(kept))
    return results


def _place(study: Study, name: str, fold: int) -> Path:
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    return study.out / "own" / safe / f"fold-{fold}"
