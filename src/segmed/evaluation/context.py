"""What is known of an evaluation before anything is scored, so that it is whole as soon as it is made."""

from dataclasses import dataclass, field
from typing import Literal

from segmed.evaluation.provenance import Provenance
from segmed.evaluation.split_facts import SplitFacts
from segmed.prompts.kinds import PromptKind

Kind = Literal["run", "predictions", "floor"]


@dataclass(frozen=True)
class Context:
    """Whose masks are scored, on what, and what they may be compared with; the fields are those of `Evaluation`."""

    kind: Kind = "predictions"
    part: str = "test"
    leaking: bool = False
    patients_known: bool = True
    training_known: bool = True
    threshold: float | None = None
    data_hash: str | None = None
    split: SplitFacts = field(default_factory=SplitFacts)
    prompts: PromptKind | None = None
    oracle: bool = False
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
