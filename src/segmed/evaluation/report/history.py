"""Learning curves from the `metrics.csv` of a run, however much or little of it there is."""

import math
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.reading import read_table
from segmed.models.checkpoint import METRICS

Points = tuple[tuple[float, float], ...]


def read_history(run: Path) -> dict[str, Points]:
    """Each column of `metrics.csv` as (epoch, mean over that epoch); empty for a missing or unreadable file.

    Lightning writes training and validation numbers on rows of their own, with empty fields between them; rows
    without an epoch and fields that are no finite number are left out.
    """
    if not (run / METRICS).is_file():
        return {}
    try:
        table = read_table(run / METRICS, what="the learning curves of a run")
    except DataError:
        return {}
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    columns: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        epoch = _number(row.get("epoch"))
        for name, text in row.items():
            value = _number(text)
            if name and name not in ("epoch", "step") and epoch is not None and value is not None:
                columns.setdefault(name, {}).setdefault(epoch, []).append(value)
    return {
        name: tuple((epoch, sum(values) / len(values)) for epoch, values in sorted(by_epoch.items()))
        for name, by_epoch in columns.items()
    }


def _number(text: object) -> float | None:
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
