import io
import sys

import pytest

from segmed.cli import progress as module
from segmed.cli.progress import TrainingDisplay, progress_bar, training_display
from segmed.training.epoch_row import EpochRow


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_quick_step_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("Decoding") as update:
        for done in range(1, 6):
            update(done, 5)
    assert stream.getvalue().startswith("Decoding: 5 in ")
    assert stream.getvalue().count("\n") == 1


def test_without_a_terminal_a_slow_step_says_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 20.0, 21.0, 40.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("Decoding") as update:
        for done in (1, 2, 4):
            update(done, 4)
    assert stream.getvalue().splitlines() == ["Decoding: 1 of 4, about 60 s left", "Decoding: 4 in 40.0 s"]


def test_on_a_terminal_there_is_a_bar_with_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("Decoding") as update:
        update(3, 3)
    assert "Decoding" in stream.getvalue()
    assert "3/3" in stream.getvalue()


def epoch_row(epoch: int, dice: float) -> EpochRow:
    """One line of metrics.csv."""
    return EpochRow(epoch, 9, 0.5, 0.5, dice, 0.5, 1e-3, 1.0)


def test_training_without_a_terminal_is_one_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    with training_display() as display:
        display.started(steps=4, done=0)
        display.step(1, 0.9)
        display.step(2, 0.7)
        display.epoch(epoch_row(0, 0.25))
        display.step(4, 0.6)
        display.epoch(epoch_row(1, 0.125))
        display.finished("best epoch 0")
    first, second, last = capsys.readouterr().err.splitlines()
    assert first.startswith("Epoch 1: training loss 0.500, validation Dice 0.250, best so far, about ")
    assert second.startswith("Epoch 2: training loss 0.500, validation Dice 0.125, about ")
    assert last == "Training: best epoch 0"


def test_a_resumed_training_says_where_it_continues(capsys: pytest.CaptureFixture[str]) -> None:
    with training_display() as display:
        display.started(steps=10, done=5)
    assert capsys.readouterr().err == "Continuing after step 5 of 10\n"


def test_training_on_a_terminal_shows_steps_and_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "120")
    with training_display() as display:
        display.started(steps=4, done=0)
        display.step(4, 0.5)
        display.epoch(epoch_row(0, 0.25))
    assert "4/4" in stream.getvalue()
    assert "loss 0.500" in stream.getvalue()
    assert "Epoch 1: training loss 0.500, validation Dice 0.250, best so far" in stream.getvalue()


def test_the_display_has_every_callback_of_training() -> None:
    from segmed.training.callbacks import NoCallbacks

    told = {name for name in vars(NoCallbacks) if not name.startswith("_")}
    assert told <= set(dir(TrainingDisplay))


def test_one_display_begins_anew_with_every_training(capsys: pytest.CaptureFixture[str]) -> None:
    display = TrainingDisplay()
    for dice in (0.9, 0.2):
        display.started(1, 0)
        display.step(1, dice)
        display.epoch(EpochRow(0, 1, 0.5, 0.5, dice, 0.5, 1e-3, 1.0, 1.0))
    assert capsys.readouterr().err.count("best so far") == 2
