"""How long prediction takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class SliceTimer:
    """Milliseconds per slice of prediction without reading; the first patient warms up and counts only if alone."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._spent: list[tuple[float, int]] = []

    @contextmanager
    def timing(self, slices: int) -> Iterator[None]:
        """Measure what is done within for so many slices."""
        start = time.perf_counter()
        yield
        self._spent.append((time.perf_counter() - start, slices))

    @property
    def ms_per_image(self) -> float:
        """Of the slices measured so far."""
        counted = self._spent[1:] or self._spent
        return 1000 * sum(seconds for seconds, _ in counted) / sum(slices for _, slices in counted)
