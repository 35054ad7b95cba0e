"""What a training run calls as it goes on; the command line draws it, a notebook may ignore it."""

from typing import Protocol, runtime_checkable

from segmed.training.epoch_row import EpochRow


@runtime_checkable
class Callbacks(Protocol):
    """Called on the first process only."""

    def started(self, steps: int, done: int) -> None:
        """Training begins: `steps` in all, `done` of them before (more than 0 when resumed)."""

    def step(self, done: int, loss: float) -> None:
        """An optimiser step has ended; `loss` is its training loss."""

    def epoch(self, row: EpochRow) -> None:
        """An epoch has been validated; `row` is its line of metrics.csv."""

    def finished(self, message: str) -> None:
        """Training has ended, and why."""


class NoCallbacks:
    """Callbacks that say nothing."""

    def started(self, steps: int, done: int) -> None:
        """Say nothing."""

    def step(self, done: int, loss: float) -> None:
        """Say nothing."""

    def epoch(self, row: EpochRow) -> None:
        """Say nothing."""

    def finished(self, message: str) -> None:
        """Say nothing."""
