"""How numbers are written in tables, figures and sentences: one way, everywhere.

Shares have three decimals and their intervals two (0.823 [0.79, 0.85]); pixels have one; counts have none and a
thin space between thousands. A number that does not exist is an en dash, never 0.
"""

import math

from segmed.core.units import IMAGE, PATIENT
from segmed.evaluation.metric import MetricValue

MISSING = "–"
_MINUS = "−"
_THIN_SPACE = "\u2009"

COUNTED = (PATIENT.many, IMAGE.many, "slices", "pixels", "lesions")
"""Units of numbers that are counts."""


def number(value: int | float | None, decimals: int, *, signed: bool = False) -> str:
    """A number with a true minus sign; an en dash for None, NaN and infinity."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", _MINUS)


def count(value: int | float | None) -> str:
    """A whole number, its thousands set apart: 31 200 000."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{round(value):,}".replace(",", _THIN_SPACE).replace("-", _MINUS)


def decimals_of(metric: MetricValue) -> tuple[int, int]:
    """Decimals of a metric's value and of its interval's ends, from its unit and size."""
    numbers = [abs(v) for v in (metric.value, metric.low, metric.high) if math.isfinite(v)]
    if metric.unit in COUNTED:
        return 0, 0
    if metric.unit in ("px", "voxels", "mm", "ml", "%") or (numbers and max(numbers) > 10):
        return 1, 1
    return 3, 2


def interval(low: float, high: float, decimals: int, *, signed: bool = False) -> str:
    """An interval in brackets, or nothing where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{number(low, decimals, signed=signed)}, {number(high, decimals, signed=signed)}]"


def metric_value(metric: MetricValue) -> str:
    """The value alone: 0.823, 12.4, or an en dash."""
    return number(metric.value, decimals_of(metric)[0])


def metric_interval(metric: MetricValue) -> str:
    """The interval alone: [0.79, 0.85], or nothing."""
    return interval(metric.low, metric.high, decimals_of(metric)[1])


def metric(metric: MetricValue) -> str:
    """Value and interval: 0.823 [0.79, 0.85]."""
    return f"{metric_value(metric)} {metric_interval(metric)}".rstrip()


def difference(value: float, low: float, high: float) -> str:
    """A signed difference with its interval, three decimals each since differences are small."""
    return f"{number(value, 3, signed=True)} {interval(low, high, 3, signed=True)}".rstrip()


def p_value(p: float) -> str:
    """A p value with three decimals, `< 0.001` below that."""
    if not math.isfinite(p):
        return MISSING
    return "< 0.001" if p < 0.001 else number(p, 3)


def parameters(value: int | None) -> str:
    """A number of parameters in millions: 31.2 M; small models in thousands."""
    if value is None:
        return MISSING
    return f"{value / 1e6:.1f} M" if value >= 1e5 else f"{value / 1e3:.1f} k"


def duration(seconds: int | float | None) -> str:
    """A duration with the two largest units: 2 h 05 min, 3 min 20 s, 41 s."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole} s" if seconds >= 10 else f"{seconds:.1f} s"
