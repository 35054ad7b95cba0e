"""Numbers that do not exist: NaN here, null in JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def mean_of_defined(values: Sequence[float]) -> float:
    """The mean of those that are no NaN; NaN where there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def nan_to_null(value: Any) -> Any:
    """A value for JSON, with None for every float that is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): nan_to_null(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_null(inner) for inner in value]
    return value


def null_to_nan(value: float | None) -> float:
    """NaN for None, as JSON has it."""
    return math.nan if value is None else value
