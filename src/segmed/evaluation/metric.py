"""What a metric is: one value that says its name, how it is shown, and how it is computed from the rows."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int

from segmed.core.slice_neighbours import stacked
from segmed.evaluation.scored import Scored
from segmed.evaluation.statistics import (
    Interval,
    Statistic,
    interval,
    interval_over,
    mean_of,
    mean_of_defined,
    median_of,
)
from segmed.metrics.calibration import ReliabilitySums
from segmed.metrics.counts import Counts
from segmed.metrics.lesions import LesionScores, lesion_scores
from segmed.metrics.surface import SurfaceScores, surface_scores

Better = Literal["higher", "lower"]
OverLabels = Literal["mean of labels", "any label", "labels together"]
"""How one number is made of several labels."""


class Group(Enum):
    """Metrics that belong together; the value is the title over them in tables."""

    VOLUME = "Volume"
    SURFACE = "Surface, in the slice"
    DISTANCE = "Surface, in three dimensions"
    LESIONS = "Lesions"
    SLICES = "Slices"
    VARIANTS = "Variants of IoU and Dice"
    CALIBRATION = "Calibration"


@dataclass(frozen=True)
class MetricValue:
    """One summary number with its 95 % interval from a bootstrap over patients.

    `n` counts the units (patients, slices or pixels: the description says which) that the value rests on, and
    `undefined` those left out because the metric has no value there. `low` and `high` are NaN where no interval
    was computed. `higher_is_better` is None for numbers that are descriptions rather than scores.
    """

    value: float
    low: float
    high: float
    n: int
    undefined: int
    unit: str
    description: str
    higher_is_better: bool | None = True


@dataclass(frozen=True)
class Subject:
    """One label of one patient, from which a score by patient is computed.

    `reference` and `prediction` are its slices as binary masks, `positions` their places in the volume. `band` is None
    where no probabilities were given.
    """

    reference: list[Bool[np.ndarray, "_h _w"]]
    prediction: list[Bool[np.ndarray, "_h _w"]]
    positions: Int[np.ndarray, "n"] | tuple[int, ...]
    counts: Counts
    band: ReliabilitySums | None

    @cached_property
    def surfaces(self) -> SurfaceScores:
        """Distances between the outlines, in the slice, in pixels."""
        return surface_scores(self.reference, self.prediction)

    @cached_property
    def lesions(self) -> LesionScores:
        """Lesions found, missed and invented in the volume."""
        places = tuple(int(place) for place in self.positions)
        return lesion_scores(stacked(self.reference, places), stacked(self.prediction, places))


@dataclass(frozen=True)
class Found:
    """A metric's value with its interval, what it rests on, and how many units have no value."""

    interval: Interval
    n: int
    undefined: int = 0


@dataclass(frozen=True)
class OverPatients:
    """A summary over patients of a column of `patients.csv`; a patient's value is the mean over labels that have one.

    `score` makes the column; None where the column is that of another metric.
    """

    column: str
    score: Callable[[Subject], float] | None = None
    summary: Literal["mean", "median"] = "mean"
    optional: bool = False

    def values(self, scored: Scored) -> Float64[np.ndarray, "p"]:
        """The value of each patient; NaN where no label has one."""
        return mean_of_defined(scored.column(self.column), axis=0)

    def __call__(self, scored: Scored) -> Found | None:
        """The summary with its interval; `n` counts patients. None for an optional column without any value."""
        if self.optional and np.isnan(scored.column(self.column)).all():
            return None
        values = self.values(scored)
        undefined = int(np.isnan(values).sum())
        statistic = mean_of(values) if self.summary == "mean" else median_of(values)
        return Found(interval_over(values, statistic, scored.weights), len(values) - undefined, undefined)


@dataclass(frozen=True)
class OverSlices:
    """A number over slices or pooled pixels; a patient is drawn with all its slices.

    `statistic` makes it from the rows, and `units` counts per label and patient what it rests on.
    """

    statistic: Callable[[Scored], Statistic]
    units: Callable[[Scored], Float64[np.ndarray, "k p"]]

    def __call__(self, scored: Scored) -> Found:
        """The number with its interval; `n` counts slices, over all labels."""
        return Found(interval(self.statistic(scored), scored.weights), int(self.units(scored).sum()))


@dataclass(frozen=True)
class Metric:
    """A number that every evaluation has, and all that tables, pages and files say of it.

    `title` heads its column or row, and `description` says over what it is. `better` is None for a description rather
    than a score. `compute` gives its value; None where it needs probabilities and there are none. `main` puts it into
    the first table of the report, `terminal` into the table that `segmed evaluate` prints. `of_probabilities` marks
    one that masks alone cannot have.
    """

    name: str
    title: str
    unit: str
    better: Better | None
    group: Group
    description: str
    compute: Callable[[Scored], Found | None]
    main: bool = False
    terminal: bool = False
    over_labels: OverLabels = "mean of labels"
    of_probabilities: bool = False

    def value(self, scored: Scored) -> MetricValue | None:
        """The metric of some rows; None where it needs probabilities and there are none."""
        found = self.compute(scored)
        if found is None:
            return None
        ends = found.interval
        better = None if self.better is None else self.better == "higher"
        numbers = (ends.value, ends.low, ends.high, found.n, found.undefined)
        return MetricValue(*numbers, self.unit, self.description, better)
