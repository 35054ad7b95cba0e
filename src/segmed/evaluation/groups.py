"""Scores by group of patients (sex, age band, institution, any column), and how equal they are.

Equity-scaled scores follow Tian et al., FairSeg (ICLR 2024): I / (1 + D), where I is the score of all patients. Their
text takes D as the standard deviation of the groups' scores, their code also as the sum of |I_group - I|; the two
differ, so both are given by name. Patients whose group is not known are a row of their own and outside D, and outside
the I that is scaled.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from segmed.core.errors import ConfigError, DataError
from segmed.core.files import write_table
from segmed.core.units import PATIENT, Unit, unit_of
from segmed.data.listing import natural_key
from segmed.evaluation.result import Evaluation
from segmed.evaluation.statistics import (
    RESAMPLES,
    Interval,
    Statistic,
    bootstrap_weights,
    interval,
    interval_over,
    mean_of,
)

UNKNOWN = "unknown"
CROSS = " × "
MISSING_VALUES = frozenset({"", "na", "nan", "none", "n/a", "not available", "unknown"})
MOST_GROUPS = 8
"""A numeric column with more different values than this is cut into bands of equally many patients."""
Attributes = Mapping[str, Mapping[str, str]]
Spread = Callable[[Float64[np.ndarray, "g b"], Float64[np.ndarray, "b"]], Float64[np.ndarray, "b"]]
"""How far groups' scores are apart, per resample, from them and the score of all."""


@dataclass(frozen=True)
class GroupColumn:
    """Columns that make groups together, `sex+race` say, and the inner edges of bands of a numeric one, `age:40:60`."""

    columns: tuple[str, ...]
    edges: tuple[float, ...] = ()

    @property
    def title(self) -> str:
        """The columns' names, joined."""
        return CROSS.join(self.columns)


@dataclass(frozen=True)
class GroupScore:
    """The mean score of a group's patients that have one, with its interval; `n` patients."""

    group: str
    n: int
    score: Interval


@dataclass(frozen=True)
class GroupTable:
    """One column's groups under one system.

    `overall` is of the patients whose group is known. `equity_std` and `equity_sum` are its equity-scaled variants,
    `gap` the best group's score less the worst's. All have bootstrap intervals over patients; NaN where fewer than
    two groups have a score. `unit` is what `n` counts: patients, or images where these are not known.
    """

    system: str
    column: str
    metric: str
    groups: tuple[GroupScore, ...]
    overall: GroupScore
    equity_std: Interval
    equity_sum: Interval
    gap: Interval
    unit: Unit = PATIENT

    @property
    def worst(self) -> str:
        """The known group with the lowest score."""
        known = [g for g in self.groups if g.group != UNKNOWN and not math.isnan(g.score.value)]
        return min(known, key=lambda g: g.score.value).group if known else ""


def parse_groups(text: str) -> tuple[GroupColumn, ...]:
    """Read `sex,age:40:60,sex+race`. Raises `ConfigError` for edges that are no rising numbers."""
    found = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        names, *numbers = entry.split(":")
        columns = tuple(name.strip() for name in names.split("+"))
        try:
            edges = tuple(float(number) for number in numbers)
        except ValueError:
            edges = (math.nan,)
        if not all(map(math.isfinite, edges)):
            raise ConfigError(f"--groups {entry}: edges are numbers, as in age:40:60.")
        if list(edges) != sorted(set(edges)) or (edges and len(columns) > 1) or not all(columns):
            raise ConfigError(
                f"--groups {entry}: expected COLUMN, COLUMN+COLUMN or COLUMN:EDGE:EDGE with rising edges."
            )
        found.append(GroupColumn(columns, edges))
    if not found:
        raise ConfigError(
            "--groups: names no column. Name columns of the manifest or of data.csv, such as gender,race."
        )
    return tuple(found)


def group_of(column: GroupColumn, attributes: Attributes, patients: Sequence[str]) -> dict[str, str]:
    """The group of each patient. Raises `DataError`, naming the columns there are, where nobody has the column."""
    return _grouped(column, attributes, patients)[0]


def _grouped(column: GroupColumn, attributes: Attributes, patients: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """As `group_of`, and the groups that have a patient in order: as their columns' values are, `unknown` last."""
    known = sorted({name for patient in patients for name in attributes.get(patient, {})})
    for name in column.columns:
        if name not in known:
            columns = ", ".join(known) or "none"
            raise DataError(f"Nothing that is scored has a value of {name!r}. Columns of this data: {columns}.")
    parts = [_values(name, column.edges, attributes, patients) for name in column.columns]
    joined = {}
    for patient in patients:
        values = [part.get(patient, UNKNOWN) for part, _ in parts]
        joined[patient] = UNKNOWN if UNKNOWN in values else CROSS.join(values)
    names = [CROSS.join(values) for values in product(*(names for _, names in parts))]
    taken = set(joined.values())
    return joined, [name for name in (*names, UNKNOWN) if name in taken]


def group_table(
    evaluation: Evaluation,
    column: GroupColumn,
    attributes: Attributes,
    *,
    patients: Sequence[str] | None = None,
    metric: str = "dice",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> GroupTable:
    """Score the groups of one column by a column of `patients.csv` in which higher is better, such as dice.

    Of several systems give the `patients` that all are compared on: a system that predicts something in a patient
    without foreground has a Dice of 0 there, where one that leaves it empty has none.
    """
    scores = evaluation.by_patient(metric)
    patients = list(scores) if patients is None else patients
    groups, names = _grouped(column, attributes, patients)
    values = np.array([scores[patient] for patient in patients], np.float64)
    member = {name: np.array([groups[p] == name for p in patients]) for name in names}
    known = np.array([groups[p] != UNKNOWN for p in patients])
    weights = bootstrap_weights(len(patients), resamples, seed)
    rows = tuple(_group_score(name, values, chosen, weights) for name, chosen in member.items())
    parts = [_mean_within(values, chosen) for name, chosen in member.items() if name != UNKNOWN]
    overall = _mean_within(values, known)
    return GroupTable(
        system=evaluation.name,
        column=column.title,
        metric=metric,
        groups=rows,
        overall=_group_score("all", values, known, weights),
        equity_std=interval(_scaled(overall, parts, _deviation), weights),
        equity_sum=interval(_scaled(overall, parts, _distance), weights),
        gap=interval(_gap(parts), weights),
        unit=evaluation.unit,
    )


def unit_of_tables(tables: Sequence[GroupTable]) -> Unit:
    """What tables that are shown together count: images where patients are not known in one of them."""
    return unit_of(patients_known=all(table.unit == PATIENT for table in tables))


def write_group_csv(path: Path, tables: Sequence[GroupTable]) -> None:
    """A line per system, column and group, and one for each summary, in full precision.

    The column of numbers is called `patients`, or `images` where patients are not known.
    """
    lines: list[list[object]] = []
    for table in tables:
        rows: list[tuple[str, int | None, Interval]] = [(g.group, g.n, g.score) for g in (*table.groups, table.overall)]
        rows += [("equity-scaled (std)", None, table.equity_std), ("equity-scaled (sum)", None, table.equity_sum)]
        rows += [("largest gap", None, table.gap)]
        of = (table.system, table.column, table.metric)
        lines += [[*of, name, n, found.value, found.low, found.high] for name, n, found in rows]
    write_table(path, ["system", "column", "metric", "row", unit_of_tables(tables).many, "value", "low", "high"], lines)


def _values(
    name: str, edges: Sequence[float], attributes: Attributes, patients: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """A column's value, or its band, of each patient for whom it is known, and these values in order."""
    raw = {patient: str(attributes.get(patient, {}).get(name, "")).strip() for patient in patients}
    known = _without_codes({patient: value for patient, value in raw.items() if value.lower() not in MISSING_VALUES})
    numbers = _numbers(known)
    if edges and numbers is None:
        raise DataError(f"{name}: has values that are no numbers, so it cannot be cut at {', '.join(map(str, edges))}.")
    if numbers is not None and (edges or len(set(numbers.values())) > MOST_GROUPS):
        limits = edges or _tertiles(list(numbers.values()))
        bands, places = _bands(limits), np.searchsorted(limits, list(numbers.values()), side="right")
        return {patient: bands[place] for patient, place in zip(numbers, places, strict=True)}, bands
    if numbers is None:
        return known, sorted(set(known.values()), key=lambda value: (natural_key(value), value))
    return known, sorted(set(known.values()), key=lambda value: (float(value), value))


def _without_codes(values: Mapping[str, str]) -> dict[str, str]:
    """Without -1, which means unknown where no other value of the column is negative, and is a number else."""
    below = {patient: number for patient, value in values.items() if (number := _number(value)) < 0}
    coded = set(below.values()) == {-1.0}
    return {patient: value for patient, value in values.items() if not (coded and patient in below)}


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def _numbers(values: Mapping[str, str]) -> dict[str, float] | None:
    try:
        return {patient: float(value) for patient, value in values.items()}
    except ValueError:
        return None


def _tertiles(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(sorted({float(limit) for limit in np.quantile(values, [1 / 3, 2 / 3], method="higher")}))


def _bands(limits: Sequence[float]) -> list[str]:
    """`below 40`, `40 to below 60`, `60 and above`."""
    inner = [f"{low:g} to below {high:g}" for low, high in pairwise(limits)]
    return [f"below {limits[0]:g}", *inner, f"{limits[-1]:g} and above"]


def _mean_within(values: Float64[np.ndarray, "p"], chosen: Bool[np.ndarray, "p"]) -> Statistic:
    return mean_of(np.where(chosen, values, np.nan))


def _group_score(
    name: str, values: Float64[np.ndarray, "p"], chosen: Bool[np.ndarray, "p"], weights: Float64[np.ndarray, "b p"]
) -> GroupScore:
    n = int(np.count_nonzero(chosen & ~np.isnan(values)))
    return GroupScore(name, n, interval_over(np.where(chosen, values, np.nan), _mean_within(values, chosen), weights))


def _scaled(overall: Statistic, parts: Sequence[Statistic], spread: Spread) -> Statistic:
    def statistic(weights: Float64[np.ndarray, "b p"]) -> Float64[np.ndarray, "b"]:
        whole, groups = overall(weights), _together(parts, weights)
        return np.asarray(whole / (1 + spread(groups, whole)))

    return statistic


def _gap(parts: Sequence[Statistic]) -> Statistic:
    def statistic(weights: Float64[np.ndarray, "b p"]) -> Float64[np.ndarray, "b"]:
        groups = _together(parts, weights)
        several = (~np.isnan(groups)).sum(axis=0) > 1
        high = np.where(np.isnan(groups), -np.inf, groups).max(axis=0, initial=-np.inf)
        low = np.where(np.isnan(groups), np.inf, groups).min(axis=0, initial=np.inf)
        return np.where(several, high - np.where(several, low, 0.0), np.nan)

    return statistic


def _deviation(groups: Float64[np.ndarray, "g b"], whole: Float64[np.ndarray, "b"]) -> Float64[np.ndarray, "b"]:
    """Sample standard deviation over the groups that have a score; NaN for fewer than two."""
    defined = ~np.isnan(groups)
    number = defined.sum(axis=0)
    mean = np.divide(np.nan_to_num(groups).sum(axis=0), number, out=np.full(whole.shape, np.nan), where=number > 1)
    squares = np.where(defined, (groups - mean) ** 2, 0.0).sum(axis=0)
    variance = np.divide(squares, number - 1, out=np.full(whole.shape, np.nan), where=number > 1)
    return np.asarray(np.sqrt(variance))


def _distance(groups: Float64[np.ndarray, "g b"], whole: Float64[np.ndarray, "b"]) -> Float64[np.ndarray, "b"]:
    """Sum over groups of |score - score of all|; NaN for fewer than two groups."""
    defined = ~np.isnan(groups)
    summed = np.where(defined, np.abs(groups - whole), 0.0).sum(axis=0)
    return np.where(defined.sum(axis=0) > 1, summed, np.nan)


def _together(parts: Sequence[Statistic], weights: Float64[np.ndarray, "b p"]) -> Float64[np.ndarray, "g b"]:
    return np.stack([part(weights) for part in parts]) if parts else np.full((0, len(weights)), np.nan)
