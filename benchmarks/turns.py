"""Processor time of several ways to do the same, in turns, so that whatever else the machine does hits all alike."""

import statistics
import time
from collections.abc import Callable, Mapping


def in_turns(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Time each, forwards and backwards in turn, after a round that does not count.

    Args:
        runs: What to time, by name; the others are compared with the first.
        repeats: Rounds that count.

    Returns:
        By name `cpu_ms`, the median of the processor time in milliseconds, and `cpu_ratio`, the median of its ratios to
        the first of the same round.
    """
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(repeats + 1):
        for name in list(runs) if round_ % 2 else list(runs)[::-1]:
            started = time.process_time()
            runs[name]()
            if round_:
                spent[name].append(time.process_time() - started)
    first = spent[next(iter(runs))]
    return {
        name: {
            "cpu_ms": round(1000 * statistics.median(seconds), 1),
            "cpu_ratio": round(statistics.median(a / b for a, b in zip(seconds, first, strict=True)), 3),
        }
        for name, seconds in spent.items()
    }
