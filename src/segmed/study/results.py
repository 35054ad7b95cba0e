"""What a study has found so far, read from its folder: rows that are whole, and what is not there and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segmed.data.degrade import Degradation, parse_degradations
from segmed.evaluation.box_floors import DRAWN
from segmed.evaluation.report.history import Points, read_history
from segmed.evaluation.result import EVALUATION, Evaluation
from segmed.evaluation.statistics import RESAMPLES
from segmed.reproduction.rows import ReproductionRow
from segmed.study.external_rows import ExternalRow, external_evaluations
from segmed.study.jobs import Job
from segmed.study.pool import nest_seeds, pool_folds
from segmed.study.run import Study, range_of_floors
from segmed.study.systems import BOXES

Usable = frozenset[Path]
"""The evaluations that are whole and of runs of the study's own settings."""


@dataclass(frozen=True)
class Absent:
    """A row that is not in the tables, and why."""

    title: str
    reason: str


@dataclass(frozen=True)
class Results:
    """All that the page shows.

    `ranked` are pooled out-of-fold rows scored from the image alone (the user's own among them), `given_boxes` those
    that got the reference's boxes, `box_floors` what such boxes are worth alone, `floors` learn nothing. `degraded` has
    the scores of some ranked rows on images made worse, by name. `runs` has a run folder for each row, for its curves.
    `institutions` are (system, institution, scores by a network that never saw it). `reproduction_boxes` are rows of
    the paper's protocol that got boxes of the reference, `reproduction_box_floors` what these are worth alone.
    `unchecked` are names of rows of the user's own of which there are masks alone.
    """

    ranked: tuple[Evaluation, ...]
    given_boxes: tuple[Evaluation, ...]
    box_floors: tuple[Evaluation, ...]
    degraded: Mapping[str, Mapping[Degradation, Evaluation]]
    floors: tuple[Evaluation, ...]
    runs: Mapping[str, Path]
    reproduction: tuple[ReproductionRow, ...]
    reproduction_floors: tuple[Evaluation, ...]
    reproduction_boxes: tuple[ReproductionRow, ...]
    reproduction_box_floors: tuple[Evaluation, ...]
    institutions: tuple[tuple[str, str, Evaluation], ...]
    absent: tuple[Absent, ...]
    unchecked: tuple[str, ...] = ()


def collect(study: Study, *, resamples: int = RESAMPLES) -> Results:
    """Read everything that is done."""
    absent: list[Absent] = []
    usable = _usable(study)
    ranked, boxes, runs = _patient_rows(study, usable, absent, resamples)
    reproduction, reproduction_boxes, reproduction_box_floors = _reproduction_rows(study, usable, absent)
    own = external_evaluations(study)
    absent += [Absent(name, reason) for name, reason in own.refused]
    floors = _patient_floors(study, resamples)
    taken = [each.name for each in (*ranked, *floors)]
    mine = [_told_fairly(_own_title(row.evaluation, taken)) for row in own.patient]
    return Results(
        ranked=(*ranked, *mine),
        given_boxes=tuple(boxes),
        box_floors=_box_floors(study, usable, boxes, resamples),
        degraded=_degraded_rows(study, usable, [each.name for each in ranked], absent, resamples),
        floors=floors,
        runs=runs,
        reproduction=(
            *reproduction,
            *(_own_reproduction_row(row, [each.title for each in reproduction]) for row in own.reproduction),
        ),
        reproduction_floors=tuple(_floors_of(study.floors("reproduction", 0)))
        if "reproduction" in study.splits
        else (),
        reproduction_boxes=reproduction_boxes,
        reproduction_box_floors=reproduction_box_floors,
        institutions=_institutions(study, usable, absent),
        absent=(*absent, *_absent_floors(study)),
        unchecked=tuple(row.name for row, source in zip(mine, own.patient, strict=True) if source.run is None),
    )


def _patient_rows(
    study: Study, usable: Usable, absent: list[Absent], resamples: int
) -> tuple[list[Evaluation], list[Evaluation], dict[str, Path]]:
    ranked: list[Evaluation] = []
    boxes: list[Evaluation] = []
    runs: dict[str, Path] = {}
    for row in _rows(study, "patient"):
        first = row[0]
        whole = _whole_seeds(study, usable, row)
        if missing := _unfinished(study, usable, row):
            reason = f"{missing}; the row is the mean of {len(whole)} whole seed(s)" if whole else missing
            absent.append(Absent(f"{first.system.title}, by patient", reason))
        if not whole:
            continue
        folders = [[job.evaluation(study.out) for job in jobs] for jobs in whole]
        nested = _told_fairly(_nested(folders, first.system.title, resamples))
        (boxes if first.system.given == BOXES else ranked).append(nested)
        runs[nested.name] = whole[0][0].folder(study.out)
    return ranked, boxes, runs


def _nested(seeds: Sequence[Sequence[Path]], name: str, resamples: int) -> Evaluation:
    """The folds of each seed together, then the seeds."""
    pooled = [pool_folds([Evaluation.load(fold) for fold in folds], name=name, resamples=resamples) for folds in seeds]
    return nest_seeds(pooled, name=name, resamples=resamples)


def _box_floors(study: Study, usable: Usable, boxes: Sequence[Evaluation], resamples: int) -> tuple[Evaluation, ...]:
    """The floors of each kind of boxes, read where a whole row first got them; what no box enters is there once."""
    found: list[Evaluation] = []
    kinds: set[str] = set()
    names = [each.name for each in boxes]
    for row in _rows(study, "patient"):
        if row[0].system.title not in names or row[0].system.prompts in kinds:
            continue
        whole = _whole_seeds(study, usable, row)
        folders = [job.evaluation(study.out) / "floors" for job in (whole[0] if whole else ())]
        pooled = _pooled([_evaluations_in(folder) for folder in folders], resamples)
        if not pooled:
            continue
        found += [each for each in pooled if not kinds or each.system in DRAWN]
        kinds.add(row[0].system.prompts)
    return tuple(found)


def _degraded_rows(
    study: Study, usable: Usable, names: Sequence[str], absent: list[Absent], resamples: int
) -> dict[str, dict[Degradation, Evaluation]]:
    """By name and degradation, the same folds and seeds as the row's own; what is not whole is left out and told."""
    found: dict[str, dict[Degradation, Evaluation]] = {}
    for row in _rows(study, "patient"):
        name = row[0].system.title
        if name not in names or row[0].system.name not in study.settings.plan.degraded:
            continue
        whole = _whole_seeds(study, usable, row)
        lacking = {degradation for jobs in whole for job in jobs for degradation in study.lacking(job)}
        for degradation in parse_degradations(study.settings.plan.degradations):
            if degradation in lacking:
                absent.append(Absent(f"{name}, under {degradation}", "not scored yet; --resume does it"))
                continue
            folders = [[job.degraded(study.out, degradation) for job in jobs] for jobs in whole]
            found.setdefault(name, {})[degradation] = _nested(folders, name, resamples)
    return found


def _patient_floors(study: Study, resamples: int) -> tuple[Evaluation, ...]:
    if "patient" not in study.splits:
        return ()
    folds = [_floors_of(study.floors("patient", fold)) for fold in range(len(study.splits["patient"].folds))]
    return _pooled(folds, resamples)


def _pooled(folds: Sequence[Sequence[Evaluation]], resamples: int) -> tuple[Evaluation, ...]:
    """Floors by name over all folds; none where a fold has none."""
    if not all(folds):
        return ()
    by_name = {floor.name: [floor] for floor in folds[0]}
    for later in folds[1:]:
        for floor in later:
            by_name[floor.name].append(floor)
    return tuple(pool_folds(several, name=name, resamples=resamples) for name, several in by_name.items())


def _reproduction_rows(
    study: Study, usable: Usable, absent: list[Absent]
) -> tuple[tuple[ReproductionRow, ...], tuple[ReproductionRow, ...], tuple[Evaluation, ...]]:
    """Rows of the paper's protocol from images alone, those given boxes, and the floors of the first of these."""
    rows: list[ReproductionRow] = []
    boxes: list[ReproductionRow] = []
    box_floors: list[Evaluation] = []
    for (job,) in _rows(study, "reproduction"):
        if missing := _unfinished(study, usable, [job]):
            absent.append(Absent(f"{job.system.title}, {job.variant.replace('-', ' ')}, as in the paper", missing))
            continue
        losses = _last_losses(job.folder(study.out))
        found = Evaluation.load(job.evaluation(study.out))
        row = ReproductionRow(job.system.name, job.system.title, job.variant, found, *losses, job.system.reported)
        row = replace(row, evaluation=replace(row.evaluation, name=row.title))
        if job.system.given == BOXES:
            boxes.append(row)
            box_floors = box_floors or _evaluations_in(job.evaluation(study.out) / "floors")
        else:
            rows.append(row)
    return tuple(rows), tuple(boxes), tuple(box_floors)


def _institutions(study: Study, usable: Usable, absent: list[Absent]) -> tuple[tuple[str, str, Evaluation], ...]:
    found = []
    attributes = study.data.dataset.attributes
    for row in _rows(study, "institution"):
        if missing := _unfinished(study, usable, row):
            absent.append(Absent(f"{row[0].system.title}, institutions held out", missing))
        for job in row:
            if job.evaluation(study.out) in usable:
                evaluation = Evaluation.load(job.evaluation(study.out))
                patient = evaluation.patients[0].patient
                found.append((job.system.title, attributes[patient]["institution"], evaluation))
    return tuple(found)


def _absent_floors(study: Study) -> list[Absent]:
    """The protocols of which not all floors are scored."""
    lacking = {protocol for protocol, fold in range_of_floors(study) if not _floors_of(study.floors(protocol, fold))}
    names = {"patient": "Floors, by patient", "reproduction": "Floors, as in the paper"}
    return [Absent(names[protocol], "not scored yet; --resume does it") for protocol in names if protocol in lacking]


def _rows(study: Study, protocol: str) -> list[list[Job]]:
    rows: dict[str, list[Job]] = {}
    for job in study.jobs:
        if job.protocol == protocol:
            rows.setdefault(job.row, []).append(job)
    return list(rows.values())


def _unfinished(study: Study, usable: Usable, row: Sequence[Job]) -> str:
    """Why a row is not whole; nothing where it is."""
    failed = [study.failures[job.evaluation(study.out)] for job in row if job.evaluation(study.out) in study.failures]
    done = [job for job in row if job.is_done(study.out)]
    other = [job.folder(study.out) for job in done if job.evaluation(study.out) not in usable]
    if failed:
        return failed[0]
    if other:
        return f"{other[0]} was trained with other settings than the study's now. Remove it, then --resume"
    return "" if len(done) == len(row) else f"not finished: {len(done)} of {len(row)} trainings are done"


def _usable(study: Study) -> Usable:
    """Of a cascade both runs must be of the study's settings."""
    usable = [job for job in study.jobs if study.is_usable(job)]
    trained = {job.folder(study.out) for job in usable if not job.system.trained_as}
    return frozenset(
        job.evaluation(study.out) for job in usable if not job.is_cascade or job.proposer(study.out) in trained
    )


def _whole_seeds(study: Study, usable: Usable, row: Sequence[Job]) -> list[list[Job]]:
    """The jobs of each seed of which all folds are done."""
    seeds = [[job for job in row if job.seed == seed] for seed in dict.fromkeys(job.seed for job in row)]
    return [jobs for jobs in seeds if all(job.evaluation(study.out) in usable for job in jobs)]


def _told_fairly(evaluation: Evaluation) -> Evaluation:
    """Drop peak memory measured on a CPU, where the process also held earlier trainings. A GPU's is the test's own."""
    if evaluation.provenance.on_gpu:
        return evaluation
    return replace(evaluation, cost=replace(evaluation.cost, peak_memory_mib=None))


def _floors_of(folder: Path) -> list[Evaluation]:
    if not (folder / "done").is_file():
        return []
    return _evaluations_in(folder)


def _evaluations_in(folder: Path) -> list[Evaluation]:
    return [Evaluation.load(file.parent) for file in sorted(folder.glob(f"*/{EVALUATION}"))]


def _own_title(evaluation: Evaluation, taken: Sequence[str]) -> Evaluation:
    """A user's row keeps its name unless another row has it."""
    return replace(evaluation, name=f"{evaluation.name} (own)") if evaluation.name in taken else evaluation


def _own_reproduction_row(row: ExternalRow, taken: Sequence[str]) -> ReproductionRow:
    """A user's row of the paper's protocol, which the paper has no figures for."""
    evaluation = _own_title(row.evaluation, taken)
    losses = _last_losses(row.run) if row.run else (None, None)
    checked = row.run is not None and evaluation.training_known
    return ReproductionRow(evaluation.name, evaluation.name, "", evaluation, *losses, checked=checked)


def _last_losses(run: Path) -> tuple[float | None, float | None]:
    """The last losses on training and validation part; None where a run, an ensemble's, has no history."""
    history = read_history(run)
    return _last(history.get("train/loss", ())), _last(history.get("validation/loss", ()))


def _last(points: Points) -> float | None:
    return float(points[-1][1]) if points else None
