"""How long work says how far it is."""

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar, cast

Progress = Callable[[int, int], None]
"""`progress(done, total)`, called as work advances; the form that every long function of SegMed takes."""

Item = TypeVar("Item")


def tracked(items: Iterable[Item], progress: Progress | None, *, total: int | None = None) -> Iterator[Item]:
    """The items one after the other; each counts as done when the next one is asked for.

    `total` is how many there are, for items without a length. Raises `TypeError` where neither is known.
    """
    if progress is None:
        yield from items
        return
    count = len(cast(Sized, items)) if total is None else total  # what has no length says so itself
    for done, item in enumerate(items, start=1):
        yield item
        progress(done, count)
