"""What a run's config says of its training: a few facts that decide something later, and others that are shown only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

READ = ("seconds", "cpu_seconds", "mask_prompts", "embeddings", "as_published")
"""The facts that are numbers, texts and truths; `runs` is one as well, and all else is among the others."""
RUNS = "runs"


@dataclass(frozen=True)
class TrainingFacts:
    """The facts of one training, or of what is made of several runs; None is a fact that is not told."""

    seconds: float | None = None
    """Wall time, interrupted sessions included."""
    cpu_seconds: float | None = None
    """Processor time of the first process."""
    mask_prompts: bool | None = None
    """Whether masks were among the prompts; to a run without, they would be noise."""
    embeddings: str | None = None
    """The digest of the embedding cache's plan that it was trained from."""
    as_published: bool | None = None
    """True for published weights of a promptable model that nothing was trained on here: they answer to prompts alone,
    and which patients they have seen is not known."""
    runs: tuple["TrainingFacts", ...] = ()
    """Of a cascade: those of its dense and of its promptable run."""
    others: Mapping[str, Any] = field(default_factory=dict)
    """Epoch and score chosen, seed, steps, precision, machine, commit, versions: shown, never decided by."""

    @property
    def patients_told(self) -> bool:
        """Whether it can be told which patients were trained on: not where published weights take part as they are."""
        return not self.as_published and all(run.patients_told for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as `RunConfig` stores them under `training`."""
        own = {name: getattr(self, name) for name in READ}
        runs = {RUNS: [run.to_json() for run in self.runs]} if self.runs else {}
        return {**self.others, **runs, **{name: value for name, value in own.items() if value is not None}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TrainingFacts":
        """The facts that `to_json`, or an earlier version, wrote."""
        listed = value.get(RUNS)
        runs = tuple(cls.from_json(run) for run in listed if isinstance(run, dict)) if isinstance(listed, list) else ()
        others = {name: each for name, each in value.items() if name not in (*READ, RUNS)}
        return cls(**{name: value.get(name) for name in READ}, runs=runs, others=others)


def summed_times(trainings: Sequence[TrainingFacts]) -> TrainingFacts:
    """The times of several trainings together, each where all tell it; no other facts."""
    return TrainingFacts(
        seconds=_sum([each.seconds for each in trainings]), cpu_seconds=_sum([each.cpu_seconds for each in trainings])
    )


def _sum(times: Sequence[float | None]) -> float | None:
    known = [float(time) for time in times if time is not None]
    return sum(known) if len(known) == len(times) else None
