"""Show how far a long step is: a bar on a terminal, a few plain lines in a log file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
"""`progress(done, total)`, called as work advances; the form that every long function of SegMed takes."""

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Yield a `Progress` that shows `what` on stderr, so that stdout stays clean for pipes."""
    if sys.stderr.isatty():
        with _bar(what) as update:
            yield update
    else:
        yield _lines(what)


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
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
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str) -> Progress:
    """One line at most every ten seconds, and one when all is done."""
    started = last = time.monotonic()

    def update(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total:
            print(f"{what}: {total} in {now - started:.1f} s", file=sys.stderr, flush=True)
        elif now - last >= SECONDS_BETWEEN_LINES:
            last = now
            left = (now - started) / done * (total - done) if done else float("nan")
            print(f"{what}: {done} of {total}, about {left:.0f} s left", file=sys.stderr, flush=True)

    return update
