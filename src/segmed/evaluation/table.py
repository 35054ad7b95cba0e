"""The summary numbers of an evaluation: every metric, of all labels together and of each label alone.

Every number is a statistic of how often each patient is drawn, so one set of resamples serves all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from segmed.core.units import PATIENT, Unit
from segmed.evaluation.metric import Metric, MetricValue
from segmed.evaluation.metrics import METRICS
from segmed.evaluation.rows import PatientRow, SliceRow
from segmed.evaluation.scored import Scored
from segmed.metrics.calibration import ReliabilitySums

Metrics = Mapping[str, MetricValue]
LabelMetrics = Mapping[str, Metrics]
"""The metrics of each label alone, by its name; empty for a single label, whose metrics are the evaluation's."""


@dataclass(frozen=True)
class Summary:
    """Metrics of all labels together, and of each alone where there are several."""

    metrics: Metrics
    by_label: LabelMetrics


def summarise(
    patients: Sequence[PatientRow],
    slices: Sequence[SliceRow],
    reliability: Mapping[str, Sequence[ReliabilitySums]],
    weights: Float64[np.ndarray, "b p"],
    unit: Unit = PATIENT,
    metrics: Sequence[Metric] = METRICS,
) -> Summary:
    """All summary numbers.

    Args:
        patients: A row per patient and label.
        slices: A row per slice and label.
        reliability: By label, sums per patient; empty without probabilities, and then there is no calibration.
        weights: How often each patient is drawn, per resample.
        unit: What a row of `patients` is; descriptions say images where patients are not known.
        metrics: Which; those of slices by default.

    Returns:
        The metrics that have a value.
    """
    labels = tuple(dict.fromkeys(row.label for row in patients))
    together = [sum(some[1:], start=some[0]) for some in zip(*reliability.values(), strict=True)]
    by_label = {
        label: _values(
            [row for row in patients if row.label == label],
            [row for row in slices if row.label == label],
            reliability.get(label, ()),
            weights,
            unit,
            metrics,
        )
        for label in (labels if len(labels) > 1 else ())
    }
    return Summary(_values(patients, slices, together, weights, unit, metrics), by_label)


def _values(
    patients: Sequence[PatientRow],
    slices: Sequence[SliceRow],
    reliability: Sequence[ReliabilitySums],
    weights: Float64[np.ndarray, "b p"],
    unit: Unit,
    metrics: Sequence[Metric],
) -> dict[str, MetricValue]:
    scored = Scored.of(patients, slices, reliability, weights)
    values = {metric.name: metric.value(scored) for metric in metrics}
    return {name: _in_units(value, unit) for name, value in values.items() if value is not None}


def _in_units(metric: MetricValue, unit: Unit) -> MetricValue:
    """The number with a description that says what it is over."""
    return replace(metric, unit=_worded(metric.unit, unit), description=_worded(metric.description, unit))


def _worded(text: str, unit: Unit) -> str:
    return text.replace(PATIENT.many, unit.many).replace(PATIENT.many.capitalize(), unit.many.capitalize())
