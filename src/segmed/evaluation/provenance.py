"""Where an evaluation's numbers come from: the facts that something is decided by, and others that are only shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from typing_extensions import TypedDict

from segmed.core.errors import DataError, SegmedError
from segmed.core.provenance import commit, machine, versions
from segmed.core.reading import read_json
from segmed.data.degrade import Degradation, parse_degradations
from segmed.evaluation.undefined import null_to_nan
from segmed.models.prediction import TTA_NAMES, PredictionConfig, Tta
from segmed.models.training_facts import TrainingFacts

REMOVED = {
    "pixels in slice": "smallest_in_slice",
    "voxels": "smallest_in_volume",
    "share of the largest": "smallest_share",
}
"""Names of the sizes under `smallest_component` in the file, with those of `PredictionConfig`."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals were made: `unit` is patient, or image where patients are not known."""

    resamples: int
    unit: str = "patient"
    seed: int = 0
    level: float = 0.95

    def to_json(self) -> dict[str, Any]:
        """As `StoredProvenance` has it."""
        return {"unit": self.unit, "resamples": self.resamples, "seed": self.seed, "level": self.level}


@dataclass(frozen=True)
class ReferenceFiles:
    """The folder of the references that masks were scored against, and the number of each label in them."""

    folder: str
    numbers: Mapping[str, int]


class StoredProvenance(TypedDict, total=False):
    """The types of what `Provenance` has as fields, as they are stored; all else is shown only."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    bootstrap: dict[str, Any]
    volumes: int | None
    data: str | None
    run: str | None
    hashes: list[str] | None
    system: str | None
    remark: str | None
    degradation: str | None
    training: dict[str, Any] | None
    test_time_augmentation: str | bool | None
    smallest_component: dict[str, float | int | None] | None
    device: str | None
    dice_of_seeds: list[float | None] | None
    references: str | None
    # "numbers of references" is no name that a class can have


NUMBERS = "numbers of references"
READ = (*StoredProvenance.__annotations__, NUMBERS)


@dataclass(frozen=True)
class Provenance:
    """What is needed to make an evaluation again, and to compare it rightly; None is a fact that is not told."""

    bootstrap: Bootstrap | None = None
    volumes: int | None = None
    """How many volumes were scored, where some patient has several."""
    data: str | None = None
    """The folder the images came from."""
    run: str | None = None
    """The folder of the run that predicted."""
    hashes: tuple[str, ...] = ()
    """Hashes of the weights that predicted, as `segmed.inference.loading.hashes_of` has them; empty where not told."""
    system: str | None = None
    """The name of a promptable model, under whatever prompts."""
    remark: str | None = None
    """What a floor does, in a sentence."""
    degradation: Degradation | None = None
    """How the images were made worse on purpose."""
    training: TrainingFacts | None = None
    prediction: PredictionConfig | None = None
    """How probabilities became masks; None, as in early evaluations, is taken for nothing done."""
    device: str | None = None
    """The device of torch that predicted, such as cuda:0."""
    dice_of_seeds: tuple[float, ...] = ()
    """The mean Dice of each of several seeds."""
    references: ReferenceFiles | None = None
    others: Mapping[str, Any] = field(default_factory=dict)
    """Model, encoder, batch size, commit, machine, versions, command: shown, never decided by."""

    @property
    def on_gpu(self) -> bool:
        """Whether an NVIDIA GPU predicted, whose memory is that of the prediction alone."""
        return (self.device or "").partition(":")[0] == "cuda"

    def telling(self, **others: Any) -> "Provenance":
        """The same with more facts that are only shown."""
        return replace(self, others={**self.others, **others})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as `StoredProvenance` has them; facts that are not told are left out."""
        found = {
            "bootstrap": None if self.bootstrap is None else self.bootstrap.to_json(),
            "volumes": self.volumes,
            "data": self.data,
            "run": self.run,
            "hashes": list(self.hashes) or None,
            "system": self.system,
            "remark": self.remark,
            "degradation": None if self.degradation is None else str(self.degradation),
            "training": None if self.training is None else self.training.to_json(),
            "device": self.device,
            "dice_of_seeds": list(self.dice_of_seeds) or None,
        }
        if self.prediction is not None:
            found["test_time_augmentation"] = self.prediction.tta
            found["smallest_component"] = {name: getattr(self.prediction, own) for name, own in REMOVED.items()}
        if self.references is not None:
            found |= {"references": self.references.folder, NUMBERS: dict(self.references.numbers)}
        return {**{name: value for name, value in found.items() if value is not None}, **self.others}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Provenance":
        """Read what `to_json`, or an earlier version, wrote; raises `DataError` for values that it never has."""
        bootstrap, training, numbers = (value.get(name) for name in ("bootstrap", "training", NUMBERS))
        try:
            return cls(
                bootstrap=None if bootstrap is None else Bootstrap(**bootstrap),
                **{name: value.get(name) for name in ("volumes", "data", "run", "system", "remark", "device")},
                hashes=tuple(value.get("hashes") or ()),
                degradation=_degradation(value.get("degradation")),
                training=None if training is None else TrainingFacts.from_json(training),
                prediction=_prediction(value),
                dice_of_seeds=tuple(map(null_to_nan, value.get("dice_of_seeds") or ())),
                references=_references(value.get("references"), numbers),
                others={name: each for name, each in value.items() if name not in READ},
            )
        except (SegmedError, TypeError, ValueError) as error:
            raise DataError(f"its provenance cannot be read ({error}).") from error


@dataclass(frozen=True)
class _Stored:
    provenance: StoredProvenance


def read_provenance(path: Path, *, remedy: str = "Run `segmed evaluate` again.") -> Provenance:
    """The provenance in an `evaluation.json`, of which nothing else is read; raises `DataError` naming the file."""
    stored = read_json(path, _Stored, what="an evaluation made by `segmed evaluate`", remedy=remedy)
    try:
        return Provenance.from_json(stored.provenance)
    except DataError as error:
        raise DataError(f"{path}: {error} {remedy}") from error


def where_from() -> dict[str, Any]:
    """Commit, machine and versions, for `Provenance.others`."""
    return {"commit": commit(), "machine": machine(), "versions": versions()}


def _references(folder: str | None, numbers: Any) -> ReferenceFiles | None:
    if folder is None or not isinstance(numbers, Mapping):
        return None
    return ReferenceFiles(folder, {str(name): int(number) for name, number in numbers.items()})


def _degradation(text: str | None) -> Degradation | None:
    if text is None:
        return None
    found = parse_degradations(text)
    if len(found) != 1:
        raise DataError(f"{text!r} is no one degradation")
    return found[0]


def _prediction(value: Mapping[str, Any]) -> PredictionConfig | None:
    told = value.get("test_time_augmentation", value.get("test_time_flips"))  # its name in 0.1
    if told is None and "smallest_component" not in value:
        return None
    smallest = value.get("smallest_component") or {}
    removed = {own: smallest.get(name) or 0 for name, own in REMOVED.items()}
    return PredictionConfig(tta=_tta(told), **removed)


def _tta(told: str | bool | None) -> Tta:
    """Test-time augmentation by name; earlier versions could also say whether there were flips."""
    if isinstance(told, bool) or told is None:
        return "flips" if told else "none"
    found = next((name for name in TTA_NAMES if name == told), None)
    if found is None:
        raise DataError(f"test-time augmentation {told!r} is unknown, of {', '.join(TTA_NAMES)}")
    return found
