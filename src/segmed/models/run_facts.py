"""What is known of a run, or of several that predict together, beside their networks, labels and threshold."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import ConfigDict
from typing_extensions import TypedDict

from segmed.core.config import config_from_mapping, config_to_mapping
from segmed.core.errors import ModelError
from segmed.core.labels import LabelMap
from segmed.models.prediction import PredictionConfig
from segmed.models.training_facts import TrainingFacts


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Where a config came from, whose patients it has seen, and what is done to its predictions."""

    data_hash: str = ""
    split_hash: str = ""
    fold: int = 0
    leaking: bool = False
    """True where the split spread a patient over parts: its scores say nothing about new patients."""
    patients_known: bool = True
    """False where nobody said which images are of one patient: `seen` then holds images, and no leak can be seen."""
    volumes: bool | None = None
    """Whether its data had patients of several slices, which are normalised together; None where that is not known."""
    training: TrainingFacts = field(default_factory=TrainingFacts)
    """Times, prompts and embeddings of the training, and what else is shown of it."""
    seen: dict[str, list[str]] = field(default_factory=dict)
    """Digests of the patients of `train` and `validation`, so that no test can be on them; empty where unknown. They
    are made with the data's key, see `models.seen`."""
    in_colour: bool = False
    """Whether it was trained on pictures in colour, and pictures of its masks are drawn over colour."""
    labels_by_headers: bool = False
    """Whether headers of DICOM masks name its labels: these names are written wherever masks of it go."""
    prediction: PredictionConfig = field(default_factory=PredictionConfig)
    """Test-time augmentation and post-processing, chosen on validation patients by `segmed tune`."""


def require_probability(threshold: float) -> None:
    """Raise `ModelError` for a threshold that is none."""
    if not (math.isfinite(threshold) and 0 <= threshold <= 1):
        raise ModelError(f"threshold {threshold:g}: is no probability. Give a number from 0 to 1.")


class _Training(TypedDict, total=False):
    """The types of what `TrainingFacts` has as fields; all else is shown only."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    seconds: float | None
    cpu_seconds: float | None
    mask_prompts: bool
    embeddings: str | None
    as_published: bool | None


@dataclass(frozen=True, kw_only=True)
class StoredFacts:
    """What is stored of a run, an ensemble or a cascade beside its networks; settings are read by their own classes."""

    labels: dict[str, Any]
    threshold: float
    data_hash: str
    split_hash: str
    fold: Annotated[int, Ge(0)]
    training: _Training
    LEAKING: bool = False
    patients_known: bool = True
    volumes: bool | None = None
    seen: dict[str, list[str]] = field(default_factory=dict)
    in_colour: bool = False
    labels_by_headers: bool = False
    prediction: dict[str, Any] = field(default_factory=dict)


def facts_to_json(facts: RunFacts, labels: LabelMap, threshold: float) -> dict[str, Any]:
    """All of a config but its networks, as `StoredFacts` has it."""
    by_patient = facts.patients_known and facts.training.patients_told
    return {
        "labels": labels.to_json(),
        "threshold": threshold,
        "data_hash": facts.data_hash,
        "split_hash": facts.split_hash,
        "fold": facts.fold,
        **({"LEAKING": True} if facts.leaking else {"by_patient": True} if by_patient else {}),
        "patients_known": facts.patients_known,
        "volumes": facts.volumes,
        "training": facts.training.to_json(),
        "seen": facts.seen,
        "in_colour": facts.in_colour,
        "labels_by_headers": facts.labels_by_headers,
        "prediction": config_to_mapping(facts.prediction),
    }


class FactsFields(TypedDict):
    """The fields of a config that are no networks, with their types, so that a call with all of them is checked."""

    labels: LabelMap
    threshold: float
    data_hash: str
    split_hash: str
    fold: int
    leaking: bool
    patients_known: bool
    volumes: bool | None
    training: TrainingFacts
    seen: dict[str, list[str]]
    in_colour: bool
    labels_by_headers: bool
    prediction: PredictionConfig


def facts_from(stored: StoredFacts, source: str) -> FactsFields:
    """The fields of a config that `facts_to_json` wrote; raises `DataError` or `ConfigError`."""
    return {
        "labels": LabelMap.from_json(stored.labels),
        "threshold": stored.threshold,
        "data_hash": stored.data_hash,
        "split_hash": stored.split_hash,
        "fold": stored.fold,
        "leaking": stored.LEAKING,
        "patients_known": stored.patients_known,
        "volumes": stored.volumes,
        "training": TrainingFacts.from_json(stored.training),
        "seen": stored.seen,
        "in_colour": stored.in_colour,
        "labels_by_headers": stored.labels_by_headers,
        "prediction": config_from_mapping(PredictionConfig, stored.prediction, source=source),
    }
