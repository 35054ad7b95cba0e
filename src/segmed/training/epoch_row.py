"""One epoch of a training as a value: a line of metrics.csv, what callbacks are told, a point of the curves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from segmed.core.files import write_table


@dataclass(frozen=True)
class EpochRow:
    """What is known when an epoch has been validated. Validation's values are nan where nothing is validated.

    Args:
        epoch: Its number, from 0.
        step: Optimiser steps so far.
        training_loss: The mean over the epoch's batches.
        validation_loss: The mean over validation slices.
        validation_dice: Mean volumetric Dice over validation patients, 0 to 1, at `threshold`.
        threshold: The probability that suits validation patients best.
        learning_rate: Of the first group of parameters, at the epoch's end.
        seconds: Wall time so far, that of interrupted sessions included.
        cpu_seconds: The same of this process's processor time.
    """

    epoch: int
    step: int
    training_loss: float
    validation_loss: float
    validation_dice: float
    threshold: float
    learning_rate: float
    seconds: float
    cpu_seconds: float = float("nan")

    def to_columns(self) -> dict[str, int | float]:
        """The values by their columns of metrics.csv."""
        losses = (self.training_loss, self.validation_loss, self.validation_dice)
        others = (self.threshold, self.learning_rate, self.seconds, self.cpu_seconds)
        return dict(zip(COLUMNS, (self.epoch, self.step, *losses, *others), strict=True))

    @classmethod
    def from_columns(cls, values: Mapping[str, int | float]) -> "EpochRow":
        """The row that `to_columns` gave, as a checkpoint to resume from has it."""
        others = [float(values.get(column, "nan")) for column in COLUMNS[2:]]
        return cls(int(values["epoch"]), int(values["step"]), *others)


COLUMNS = (
    "epoch",
    "step",
    "train/loss",
    "validation/loss",
    "validation/dice",
    "threshold",
    "lr",
    "seconds",
    "cpu_seconds",
)
"""Columns of metrics.csv, in the order of the fields."""


def write_metrics(path: Path, rows: Iterable[EpochRow]) -> None:
    """Write one line per epoch as CSV, atomically."""
    write_table(path, COLUMNS, (list(row.to_columns().values()) for row in rows))
