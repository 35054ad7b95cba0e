"""What an evaluation knows of its split: how it was made, its sizes, and how far it leaks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ConfigDict
from typing_extensions import TypedDict

from segmed.core.units import unit_of


class StoredSplit(TypedDict, total=False):
    """The types of what `SplitFacts` has as fields, as they are stored; all else is shown only."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    strategy: str | None
    seed: int | None
    fold: int | Literal["all"] | None
    folds: int | None
    patients_known: bool | None
    patients: int | None
    images: int | None
    slices: int | None
    train_patients: int | None
    train_images: int | None
    train_slices: int | None
    patients_also_in_train: int | None
    slices_with_train_neighbour: int | None
    share_with_train_neighbour: float | None


@dataclass(frozen=True)
class SplitFacts:
    """The facts of one part of a split; None is a fact that is not told, as of masks of other tools."""

    strategy: str | None = None
    seed: int | None = None
    fold: int | Literal["all"] | None = None
    """The number of the fold, or `all` where the folds of a cross-validation are joined."""
    folds: int | None = None
    patients_known: bool | None = None
    """False where nobody said which images are of one patient: `units` and `train_units` then count images."""
    units: int | None = None
    """Patients of the scored part."""
    slices: int | None = None
    train_units: int | None = None
    """Patients of the training part."""
    train_slices: int | None = None
    patients_also_in_train: int | None = None
    slices_with_train_neighbour: int | None = None
    share_with_train_neighbour: float | None = None
    """Share of the part's slices whose neighbour is in training, 0 to 1."""
    others: Mapping[str, Any] = field(default_factory=dict)
    """What other versions stored: shown, never decided by."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as `StoredSplit` has them; what is not told is left out."""
        many = unit_of(patients_known=self.patients_known is not False).many
        named = {"units": many, "train_units": f"train_{many}"}
        found = {named.get(name, name): getattr(self, name) for name in self.__dataclass_fields__ if name != "others"}
        return {**{name: value for name, value in found.items() if value is not None}, **self.others}

    @classmethod
    def from_json(cls, value: StoredSplit) -> "SplitFacts":
        """The facts that `to_json`, or an earlier version, wrote."""
        many = unit_of(patients_known=value.get("patients_known") is not False).many
        named = {many: "units", f"train_{many}": "train_units"}
        facts: dict[str, Any] = {named.get(name, name): each for name, each in value.items()}
        own = {name: facts.pop(name) for name in tuple(facts) if name in cls.__dataclass_fields__ and name != "others"}
        return cls(**own, others=facts)
