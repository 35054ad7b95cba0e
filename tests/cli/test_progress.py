import io
import sys

import pytest

from segmed.cli import progress as module
from segmed.cli.progress import progress_bar


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
