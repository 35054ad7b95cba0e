"""The study as a list of jobs: one training with its test each, in an order that every process agrees on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from segmed.core.errors import ConfigError
from segmed.core.escaping import shortened_text
from segmed.core.former_names import present_place
from segmed.core.reading import parse_yaml, read_json
from segmed.core.split import Split
from segmed.data.degrade import Degradation
from segmed.evaluation.provenance import read_provenance
from segmed.evaluation.result import EVALUATION
from segmed.models.checkpoint import CONFIG
from segmed.models.config import WIDTHS
from segmed.models.training_facts import TrainingFacts
from segmed.reproduction.protocol import VARIANTS, Variant
from segmed.reproduction.protocol import settings as protocol_settings
from segmed.study.settings import StudySettings
from segmed.study.systems import CASCADE_FROM, OTHERS, SYSTEMS, System, trained_system
from segmed.training import Recipe
from segmed.training.pretrained import PREDICTING, pretrained_recipe
from segmed.training.recipe import load_recipe, recipe_from_mapping

Protocol = Literal["reproduction", "patient", "institution"]


@dataclass(frozen=True)
class Job:
    """Train a system on a fold and test it there. `row` names the line of the table it belongs to."""

    system: System
    protocol: Protocol
    variant: Variant
    seed: int
    fold: int
    recipe: Recipe

    @property
    def row(self) -> str:
        """The system's name, with the variant under the paper's protocol."""
        return f"{self.system.name}--{self.variant}" if self.variant else self.system.name

    def folder(self, out: Path) -> Path:
        """The run folder of the job, which rows that test one network in several ways share; of published weights as
        they are there is one for all folds and seeds."""
        trained = trained_system(self.system)
        if trained.published:
            return out / "runs" / self.protocol / trained.name / "as-published"
        return self._place(out / "runs", trained.name)

    def evaluation(self, out: Path) -> Path:
        """The folder of its scores on the test part."""
        own = self._place(out / "runs", self.system.name)
        return own / "evaluation-test"

    def degraded(self, out: Path, degradation: Degradation) -> Path:
        """The folder of its scores on the test part after the images were made worse."""
        return self.evaluation(out).with_name(f"evaluation-test-{degradation.label}")

    def proposer(self, out: Path) -> Path:
        """The run of the same fold that proposes boxes to a cascade."""
        return self._place(out / "runs", CASCADE_FROM)

    def _place(self, root: Path, system: str) -> Path:
        row = f"{system}--{self.variant}" if self.variant else system
        return present_place(root, self.protocol, row) / f"seed-{self.seed}" / f"fold-{self.fold}"

    @property
    def is_cascade(self) -> bool:
        """Whether the run of another row, of the same fold and seed, takes part in its test."""
        return self.system.given == OTHERS

    def is_done(self, out: Path) -> bool:
        """Whether it was trained, and scored with the network that is there now."""
        return self.is_scored(out, self.evaluation(out))

    def is_scored(self, out: Path, evaluation: Path) -> bool:
        """Whether a folder holds scores of the network, for a cascade of both networks, that are there now."""
        runs = [*([self.proposer(out)] if self.is_cascade else []), self.folder(out)]
        file = evaluation / EVALUATION
        if not (file.is_file() and all((run / CONFIG).is_file() for run in runs)):
            return False
        told = read_provenance(file, remedy="Delete its folder.").training or TrainingFacts()
        trained = [read_json(run / CONFIG, _Trained, what="a run's config", remedy=_DELETE).training for run in runs]
        return list(told.runs or (told,)) == list(map(TrainingFacts.from_json, trained))


_DELETE = "Delete the run's folder and train it again."


@dataclass(frozen=True)
class _Trained:
    """What is read of a run to tell trainings apart."""

    training: dict[str, Any] = field(default_factory=dict)


def make_jobs(settings: StudySettings, splits: dict[Protocol, Split], channels: int) -> tuple[Job, ...]:
    """All jobs, folds before seeds, so that early parts say most."""
    jobs: list[Job] = []
    if "reproduction" in splits:
        for system in (row for row in settings.asked if row.in_reproduction and not row.trained_as):
            variants: tuple[Variant, ...] = VARIANTS if system.baseline else ("logits",)
            jobs += [_job(settings, system, "reproduction", variant, 0, 0, channels) for variant in variants]
    if "patient" in splits:
        for seed in range(settings.plan.seeds):
            folds = range(len(splits["patient"].folds))
            jobs += [
                _job(settings, system, "patient", "", seed, fold, channels)
                for system in settings.rows
                if seed == 0 or not _without_seeds(system)
                for fold in folds
            ]
    if "institution" in splits:
        left_out = [system for system in settings.asked if system.name in settings.plan.held_out]
        folds = range(len(splits["institution"].folds))
        jobs += [_job(settings, system, "institution", "", 0, fold, channels) for system in left_out for fold in folds]
    return tuple(jobs)


def _without_seeds(system: System) -> bool:
    """Whether a row is the same for every seed: nothing is trained for it, here or for what proposes to it."""
    return trained_system(system).published and system.given != OTHERS


T = TypeVar("T")


def part_of(jobs: Sequence[T], part: str) -> tuple[T, ...]:
    """Part `i/n` of things in order: every n-th from the i-th, from 1. Raises `ConfigError` for another form."""
    number, _, parts = part.partition("/")
    if len(part) > 20 or not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise ConfigError(f"--part {shortened_text(part)}: expected I/N with I from 1 to N, such as 2/4.")
    return tuple(jobs[int(number) - 1 :: int(parts)])


def jobs_of_part(jobs: Sequence[Job], part: str) -> tuple[Job, ...]:
    """The jobs whose trainings are in part `i/n`; rows that share a training are in one part."""
    trainings = tuple(dict.fromkeys(job.folder(Path()) for job in jobs))
    mine = set(part_of(trainings, part))
    return tuple(job for job in jobs if job.folder(Path()) in mine)


def _job(
    settings: StudySettings, system: System, protocol: Protocol, variant: Variant, seed: int, fold: int, channels: int
) -> Job:
    trained = trained_system(system)
    changes = _changes_of(trained, settings.changes)
    read = _channels(trained, changes, channels)
    inputs = [
        f"preprocess.channels={read}",
        f"preprocess.neighbours={trained.neighbours}",
        f"preprocess.plane={settings.plane}",
        f"model.channels={len(read) * (2 * trained.neighbours + 1)}",
    ]
    last = [*trained.changes, *changes, f"seed={seed}"]
    if trained.published:
        own = [change for change in changes if change.partition("=")[0].partition(".")[0].strip() in PREDICTING]
        recipe = pretrained_recipe(load_recipe(trained.recipe).model.name, overrides=[*inputs, *own])
    elif trained.recipe:
        tiny = settings.plan.tiny if trained.recipe == "sam-tiny" else ()
        recipe = load_recipe(trained.recipe, [*inputs, *tiny, *last])
    else:
        as_reported = protocol == "reproduction" and variant != "our-settings"
        schedule = settings.plan.reproduction if as_reported else settings.plan.patient
        reported = protocol_settings(trained.reported, variant, len(read)) if as_reported else ()
        values = [*inputs, *schedule, *trained.changes, *reported, *last]
        recipe = _dense(trained, [*settings.plan.common, *values])
        if recipe.model.name in WIDTHS and settings.plan.slim:
            recipe = _dense(trained, [*settings.plan.common, *settings.plan.slim, *values])
    return Job(system, protocol, variant, seed, fold, recipe)


def _dense(system: System, values: Sequence[str]) -> Recipe:
    return recipe_from_mapping({}, values, source=f"system {system.name}")


def _changes_of(system: System, changes: Sequence[str]) -> list[str]:
    """The settings that are of all rows or, written `ROW:a.b=c`, of this one."""
    own = []
    for change in changes:
        row, colon, rest = change.partition(":")
        if not (colon and row in SYSTEMS):
            own.append(change)
        elif row == system.name:
            own.append(rest)
    return own


def _channels(system: System, changes: Sequence[str], channels: int) -> list[int]:
    """The channels that a system reads: those of `preprocess.channels=`, or the first three.

    Published weights know three: where there are fewer, some are read again.
    """
    for change in reversed(changes):
        key, _, value = change.partition("=")
        if key == "preprocess.channels":
            listed = parse_yaml(value, source=change, error=ConfigError)
            if not isinstance(listed, list) or not listed or not all(type(each) is int for each in listed):
                raise ConfigError(f"--set {change}: expected a list of channels, such as [0, 1, 2].")
            return listed
    first = list(range(min(channels, 3)))
    return (first * 3)[:3] if system.recipe and system.recipe != "sam-tiny" else first
