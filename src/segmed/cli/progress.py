"""Show how far a long step is: a bar on a terminal, a few plain lines in a log file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Progress = Callable[[int, int], None]
"""`progress(done, total)`, called as work advances; the form that every long function of SegMed takes."""

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress_bar(what: str, stream: TextIO | None = None) -> Iterator[Progress]:
    """Yield a `Progress` that shows `what` on `stream` (stderr by default, so that stdout stays clean for pipes)."""
    stream = stream or sys.stderr
    if stream.isatty():
        with _bar(what, stream) as update:
            yield update
    else:
        yield _lines(what, stream)


@contextmanager
def _bar(what: str, stream: TextIO) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(file=stream)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str, stream: TextIO) -> Progress:
    """One line at most every ten seconds, and one when all is done."""
    started = last = time.monotonic()

    def update(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total:
            print(f"{what}: {total} in {now - started:.1f} s", file=stream, flush=True)
        elif now - last >= SECONDS_BETWEEN_LINES:
            last = now
            left = (now - started) / done * (total - done) if done else float("nan")
            print(f"{what}: {done} of {total}, about {left:.0f} s left", file=stream, flush=True)

    return update
