"""Run a study: splits, floors, then job by job, each left whole or continued from its last epoch."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from segmed.core.errors import ConfigError, SegmedError, SplitError, StoppedError
from segmed.core.files import exclusive_lock, locked, refuse_links, require_folder
from segmed.core.former_names import present_place
from segmed.core.split import Split
from segmed.core.wording import plural
from segmed.data.decoded import DecodedDataset
from segmed.data.degrade import Degradation, parse_degradations
from segmed.data.imported import own_splits
from segmed.data.splits import require_fit, split_by_institution, split_by_patient, split_by_slice
from segmed.evaluation.floors import floor_evaluations, save_with_floors
from segmed.evaluation.groups import group_of, parse_groups
from segmed.evaluation.report.numbers import duration
from segmed.evaluation.run import evaluate_run, plan_evaluation
from segmed.evaluation.statistics import RESAMPLES
from segmed.inference import load
from segmed.models.checkpoint import CONFIG, WEIGHTS
from segmed.models.encoder_weights import require_weights_at_hand
from segmed.study.jobs import Job, Protocol, jobs_of_part, make_jobs, part_of
from segmed.study.scorers import FLOORS, SCORERS, ScoringTask, threshold_for
from segmed.study.settings import LOCK, StudySettings, load_settings, save_settings, settled
from segmed.study.systems import trained_system
from segmed.study.teller import Quiet, Teller
from segmed.training import Hardware, Recipe, train
from segmed.training.build import fit_recipe
from segmed.training.callbacks import Callbacks
from segmed.training.estimate import estimate
from segmed.training.pretrained import make_pretrained, require_same_pretrained
from segmed.training.resume import RunInputs, is_finished, require_same_run

NOT_TAKEN = (
    "{path}: {what} is a split already, which is not used: a study deals folds of its own. For "
    "scores on that split train on `segmed data split --from {name}` and use `segmed compare`."
)


@dataclass(frozen=True)
class Study:
    """A study's folder, settings, data, splits and jobs, and the jobs that failed with their reasons.

    Settings and jobs are of all that the folder's study has, which may be more than was asked for this time.

    Example:
        >>> from segmed.study import Study, StudySettings
        >>> data = segmed.decode(segmed.open_dataset("data"))
        >>> Study(Path("study"), StudySettings("patient", "smoke"), data, splits={}, jobs=()).pending
        ()
    """

    out: Path
    settings: StudySettings
    data: DecodedDataset
    splits: dict[Protocol, Split]
    jobs: tuple[Job, ...]
    failures: dict[Path, str] = field(default_factory=dict)
    device: str = "auto"
    """Where runs are tested."""

    @property
    def pending(self) -> tuple[Job, ...]:
        """Jobs that are not done, tests on degraded images included."""
        return tuple(job for job in self.jobs if not self.is_whole(job))

    def is_whole(self, job: Job) -> bool:
        """Whether a job was trained and scored in all ways that the study wants."""
        return job.is_done(self.out) and not self.lacking(job)

    def is_usable(self, job: Job) -> bool:
        """Whether a job is done, of the recipe that the study has for it now: budgets may change with SegMed."""
        if not job.is_done(self.out):
            return False
        try:
            if trained_system(job.system).published:
                require_same_pretrained(job.folder(self.out), job.recipe, self.data)
                return True
            recipe = fit_recipe(job.recipe, self.data)
            require_same_run(job.folder(self.out), RunInputs(recipe, self.splits[job.protocol], self.data, job.fold))
        except SegmedError:
            return False
        return True

    def lacking(self, job: Job) -> tuple[Degradation, ...]:
        """The degradations under which a job is yet to be scored."""
        plan = self.settings.plan
        if job.protocol != "patient" or job.system.name not in plan.degraded:
            return ()
        wanted = parse_degradations(plan.degradations)
        return tuple(each for each in wanted if not job.is_scored(self.out, job.degraded(self.out, each)))

    def floors(self, protocol: Protocol, fold: int) -> Path:
        """Where the floors of a fold lie."""
        return present_place(self.out / "floors", protocol) / f"fold-{fold}"


def run_study(
    data: DecodedDataset,
    settings: StudySettings,
    out: Path,
    *,
    resume: bool = False,
    part: str = "1/1",
    hardware: Hardware | None = None,
    teller: Teller | None = None,
    measure: bool = True,
    resamples: int = RESAMPLES,
) -> Study:
    """Train and test all that is not done, and return what there is; making the page is `study.page.write_page`'s.

    A job that fails with a `SegmedError` is told and left out, the others go on; one that another process works on is
    left to that.

    Args:
        data: The decoded data set, of which the study makes splits of its own.
        settings: What is to be done now. With `resume` the study that is returned has what it had before as well.
        out: The study's folder; see `docs/howto/study.md` for what lies in it.
        resume: Go on with the study in `out`; without it the folder may hold none.
        part: Which of the jobs are done here, such as 1/3, so that several processes or machines share a folder.
        hardware: Where to train; by default a GPU where there is one.
        teller: Who is told how far it is; by default nobody.
        measure: Measure what is to be trained, on two steps of each network, and tell what it will take, first.
        resamples: Bootstrap resamples of each test's intervals.

    Returns:
        The study as it stands. `pending` are the jobs that are not done, `failures` says why some failed.

    Raises:
        ConfigError: `out` holds another study, or a row that was trained with other settings.
        DataError: The data is not what the study began with, or symbolic links lie in `out`.
        SplitError: A split in `out` does not fit the data.
        StoppedError: It was told to stop; what is done stays, and `resume` goes on.

    Example:
        >>> from segmed.study import StudySettings, run_study
        >>> short = ("epochs=1", "sampling.steps_per_epoch=1", "preprocess.size=[64, 64]")
        >>> settings = StudySettings("patient", "smoke", systems=("deeplabv3plus",), changes=short)
        >>> data = segmed.decode(segmed.open_dataset("data"))
        >>> study = run_study(data, settings, Path("study"), part="1/2", measure=False)
        >>> [(job.row, job.fold, study.is_whole(job)) for job in study.jobs]
        [('deeplabv3plus', 0, True), ('deeplabv3plus', 1, False)]
    """
    teller = teller or Quiet()
    refuse_links(out)
    for column in parse_groups(settings.groups) if settings.groups else ():
        group_of(column, data.dataset.attributes, data.dataset.patients)  # a wrong name is told now, not after hours
    part_of((), part)
    for name, what in own_splits(data.dataset).items():
        teller.say(NOT_TAKEN.format(path=data.dataset.path, name=name, what=what))
    require_folder(out)
    with _alone_in(out):  # processes that begin together add to each other's rows
        study = _begun(data, settings, out, resume=resume, device=_device(hardware))
    asked = [job for job in study.jobs if job.system in settings.rows and settings.has(_kind(job.protocol))]
    mine = [job for job in jobs_of_part(asked, part) if not study.is_whole(job)]
    if mine:
        _require_one_recipe(study, mine)
    done = len(study.jobs) - len(study.pending)
    counted = plural(len(study.jobs), "training and test", "trainings and tests")
    teller.say(f"{counted}, {done} of them done; {len(mine)} to do here")
    if mine and measure:
        tell_cost(study, mine, teller, hardware)
    score_floors(study, teller, part, resamples=resamples)
    for number, job in enumerate(mine, start=1):
        place = f"{job.protocol}, {job.row}, seed {job.seed}, fold {job.fold}"
        teller.say(f"[{number} of {len(mine)}] {place}")
        started = time.monotonic()
        try:
            with exclusive_lock(job.folder(out)) as alone:
                if not alone:
                    teller.say("another process works on it")
                    continue
                if not study.is_whole(job):
                    run_job(study, job, hardware=hardware, callbacks=teller.callbacks(), resamples=resamples)
        except StoppedError:
            raise
        except SegmedError as error:
            study.failures[job.evaluation(out)] = str(error)
            teller.say(f"failed: {error}")
        else:
            teller.say(f"done in {time.monotonic() - started:.0f} s")
    return study


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Wait until no other process changes what the study is of; a folder that is new and stays empty goes again."""
    try:
        with locked(out / LOCK, of=out, wait=True):
            yield
    except BaseException:
        with suppress(OSError):
            if [each.name for each in out.iterdir()] == [LOCK]:
                (out / LOCK).unlink()
                out.rmdir()
        raise


def _begun(data: DecodedDataset, settings: StudySettings, out: Path, *, resume: bool, device: str) -> Study:
    """The study of the folder with these settings, which are written down with its splits."""
    joined = settled(out, settings, data.data_hash, resume=resume)
    splits = make_splits(data, joined, out)
    study = Study(out, joined, data, splits, make_jobs(joined, splits, _channels(data)), device=device)
    require_weights_at_hand(job.recipe.model for job in study.jobs if not job.is_done(out))
    save_settings(out, joined, data.data_hash)
    for protocol, split in splits.items():
        if not _split_file(out, protocol).is_file():
            split.save(_split_file(out, protocol))
    return study


def as_it_stands(study: Study) -> Study:
    """The study with the rows that other processes have added to its folder meanwhile."""
    known = load_settings(study.out)
    shown = {name: getattr(study.settings, name) for name in ("pictures", "anonymise", "channel")}
    settings = replace(known, **shown)
    splits = make_splits(study.data, settings, study.out)
    return replace(study, settings=settings, splits=splits, jobs=make_jobs(settings, splits, _channels(study.data)))


def _channels(data: DecodedDataset) -> int:
    """Of the stored images."""
    return data.shape(data.dataset.records[0].slice_id)[2]


def _require_one_recipe(study: Study, mine: Sequence[Job]) -> None:
    """Refuse to go on with a row of which folds were trained with other settings: it would never be whole."""
    rows = {(job.protocol, job.row) for job in mine}
    for job in study.jobs:
        if (job.protocol, job.row) in rows and job.is_done(study.out) and not study.is_usable(job):
            raise ConfigError(
                f"{job.folder(study.out)}: was trained with other settings than the study has for it now, so its row "
                "cannot be finished. Begin a study in another folder, or remove this run to train it again."
            )


def make_splits(data: DecodedDataset, settings: StudySettings, out: Path) -> dict[Protocol, Split]:
    """The splits of the protocols, read where they were made before."""
    makers: dict[Protocol, Callable[[], Split]] = {}
    if settings.has("reproduction"):
        makers["reproduction"] = lambda: split_by_slice(data)
    if settings.has("patient"):
        makers["patient"] = lambda: split_by_patient(data, folds=settings.plan.folds)
        if settings.plan.held_out and _several_institutions(data):
            makers["institution"] = lambda: split_by_institution(data)
    splits: dict[Protocol, Split] = {}
    for protocol, make in makers.items():
        path = _split_file(out, protocol)
        splits[protocol] = Split.load(path) if path.is_file() else make()
        splits[protocol] = require_fit(splits[protocol], data)
    return splits


def tell_cost(study: Study, jobs: Sequence[Job], teller: Teller, hardware: Hardware | None = None) -> float:
    """Measure two steps of one of the trainings that each network still needs, say the time of all; returns seconds."""
    total = 0.0
    accelerator = hardware.accelerator if hardware else "auto"
    trained = [job for job in jobs if not trained_system(job.system).published]
    trainings = {job.folder(study.out): job for job in trained if not is_finished(job.folder(study.out))}
    kinds: dict[tuple[Protocol, str], list[Job]] = {}
    for folder, job in trainings.items():
        kinds.setdefault((job.protocol, folder.parent.parent.name), []).append(job)
    for (protocol, row), alike in kinds.items():
        first = alike[0]
        try:
            found = estimate(
                first.recipe, data=study.data, split=study.splits[protocol], fold=first.fold, steps=2,
                accelerator=accelerator,
            )  # fmt: skip
        except SegmedError as error:
            teller.say(f"{protocol}, {row}: cannot be measured ({error})")
            continue
        total += found.seconds * len(alike)
        teller.say(
            f"{protocol}, {row}: {len(alike)} x {found.epochs} epochs, about {duration(found.seconds)} each "
            f"on {found.device}"
        )
    teller.say(f"about {duration(total)} of training in all, tests and floors apart")
    return total


def run_job(
    study: Study, job: Job, *, hardware: Hardware | None, callbacks: Callbacks | None, resamples: int = RESAMPLES
) -> None:
    """Train (or continue) and test one job in the ways in which it is not yet; nothing is done twice."""
    folder, split = job.folder(study.out), study.splits[job.protocol]
    if trained_system(job.system).published:
        _make_as_published(folder, job.recipe, study.data)
    else:
        train(
            job.recipe,
            data=study.data,
            split=split,
            out=folder,
            fold=job.fold,
            resume=folder.exists(),
            callbacks=callbacks,
            hardware=hardware,
        )
    predictor = load(folder, device=study.device)
    plan = plan_evaluation(folder, predictor.config, study.data, split=split, fold=job.fold)
    threshold = threshold_for(job.system.given, predictor, study.data, plan)
    if job.variant == "double-sigmoid":  # smp's default, which the paper's code has
        threshold = 0.5
    predictor.config = replace(predictor.config, threshold=threshold)
    task = ScoringTask(
        predictor, study.data, plan, job.system.title, job.system.model, resamples, job.system.prompts,
        job.proposer(study.out), study.device,
    )  # fmt: skip
    score_degraded(study, job, task)
    if job.is_done(study.out):
        return
    floors = FLOORS[job.system.given](task) if job.system.given in FLOORS else []
    save_with_floors(job.evaluation(study.out), SCORERS[job.system.given](task), floors)


def _device(hardware: Hardware | None) -> str:
    """Where runs are tested: on a CPU where it is said that they are trained there."""
    return "cpu" if hardware and hardware.accelerator == "cpu" else "auto"


def _make_as_published(folder: Path, recipe: Recipe, data: DecodedDataset) -> None:
    """Make the run of published weights, unless it is there; what a kill left of one goes."""
    if (folder / CONFIG).is_file():
        require_same_pretrained(folder, recipe, data)
        return
    (folder / WEIGHTS).unlink(missing_ok=True)
    make_pretrained(recipe, folder, data=data)


def score_degraded(study: Study, job: Job, task: ScoringTask) -> None:
    """Test a job on images made worse, as far as the budget wants it and that is not done."""
    for degradation in study.lacking(job):
        evaluate_run(
            task.predictor, study.data, task.plan, name=task.name, resamples=task.resamples, degradation=degradation
        ).save(job.degraded(study.out, degradation))


def range_of_floors(study: Study) -> tuple[tuple[Protocol, int], ...]:
    """Protocol and fold of all floors."""
    return tuple((protocol, fold) for protocol, split in study.splits.items() for fold in range(len(split.folds)))


def score_floors(study: Study, teller: Teller, part: str, *, resamples: int = RESAMPLES) -> None:
    """Score the baselines that learn nothing where that is not done."""
    for protocol, fold in part_of(range_of_floors(study), part):
        folder = study.floors(protocol, fold)
        if (folder / "done").is_file() or protocol == "institution":
            continue
        with exclusive_lock(folder) as alone:
            if not alone:
                teller.say(f"floors: {protocol}, fold {fold}: another process works on them")
                continue
            teller.say(f"floors: {protocol}, fold {fold}")
            for floor in floor_evaluations(study.data, study.splits[protocol], fold, resamples=resamples):
                floor.save(folder / floor.name.replace(" ", "-"))
            (folder / "done").touch()


def _split_file(out: Path, protocol: Protocol) -> Path:
    return present_place(out / "splits", f"{protocol}.json")


def _kind(protocol: Protocol) -> Literal["reproduction", "patient"]:
    """The protocol that a user asks for; holding institutions out belongs to that by patient."""
    return "reproduction" if protocol == "reproduction" else "patient"


def _several_institutions(data: DecodedDataset) -> bool:
    try:
        split_by_institution(data)
    except SplitError:
        return False
    return True
