"""Show how far a long step is: a bar on a terminal, a few plain lines in a log file."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from segmed.cli.messages import console, say
from segmed.core.progress import Progress

if TYPE_CHECKING:
    from segmed.training.epoch_row import EpochRow

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Yield a `Progress` that shows `what` on stderr, so that stdout stays clean for pipes."""
    if sys.stderr.isatty():
        with _bar(what) as update:
            yield update
    else:
        yield _lines(what)


def _rich_bar(*, note: bool = False) -> Any:
    """A bar with counts, time gone and time left, not yet shown; `note` adds a column for a word beside them."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        *([TextColumn("{task.fields[note]}", markup=False)] if note else []),
    ]
    return RichProgress(*columns, console=console(err=True))


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    with _rich_bar() as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str) -> Progress:
    """One line at most every ten seconds, and one when all is done."""
    started = last = time.monotonic()

    def update(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total:
            say(f"{what}: {total} in {now - started:.1f} s", err=True)
        elif now - last >= SECONDS_BETWEEN_LINES:
            last = now
            left = (now - started) / done * (total - done) if done else float("nan")
            say(f"{what}: {done} of {total}, about {left:.0f} s left", err=True)

    return update


class TrainingDisplay:
    """What `segmed.training` tells while it trains (its `Callbacks`), shown on stderr.

    On a terminal: one bar over all steps with the time left, the smoothed loss and the best validation Dice, and a
    line an epoch above it. Elsewhere: the line an epoch only, with the time left.
    """

    SMOOTHING = 0.95

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._steps = self._done_before = self._done = 0
        self._loss: float | None = None
        self._best = float("-inf")
        self._start = time.monotonic()

    def started(self, steps: int, done: int) -> None:
        """Begin: `steps` in all, `done` of them in an earlier session."""
        self._steps, self._done_before, self._done = steps, done, done
        self._loss, self._best = None, float("-inf")  # one display shows the trainings of a study one after the other
        self._start = time.monotonic()
        if sys.stderr.isatty():
            self._bar = _rich_bar(note=True)
            self._task = self._bar.add_task("Training", total=steps, completed=done, note="")
            self._bar.start()
        if done:
            self._say(f"Continuing after step {done} of {steps}")

    def step(self, done: int, loss: float) -> None:
        """One optimiser step has ended with this loss."""
        self._done = done
        self._loss = loss if self._loss is None else self.SMOOTHING * self._loss + (1 - self.SMOOTHING) * loss
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=f"loss {self._loss:.3f}")

    def epoch(self, row: "EpochRow") -> None:
        """One epoch has been validated."""
        dice = row.validation_dice
        mark = ", best so far" if dice > self._best else ""
        self._best = max(self._best, dice)
        left = "" if self._bar is not None else f", about {self._seconds_left():.0f} s left"
        self._say(
            f"Epoch {row.epoch + 1}: training loss {row.training_loss:.3f}, validation Dice {dice:.3f}{mark}{left}"
        )

    def finished(self, message: str) -> None:
        """Training has ended."""
        self.close()
        self._say(f"Training: {message}")

    def close(self) -> None:
        """Give the terminal back; harmless when called again."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _seconds_left(self) -> float:
        done = max(1, self._done - self._done_before)
        return (time.monotonic() - self._start) / done * (self._steps - self._done)

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, highlight=False)
        else:
            say(line, err=True)


@contextmanager
def training_display() -> Iterator[TrainingDisplay]:
    """A `TrainingDisplay` that gives the terminal back however training ends."""
    display = TrainingDisplay()
    try:
        yield display
    finally:
        display.close()
