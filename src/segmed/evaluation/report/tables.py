"""The rows of the report's tables: text ready to print, from the numbers of a comparison."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segmed.core.pseudonyms import without_places
from segmed.core.units import Unit
from segmed.evaluation.compare import PRIMARY, Comparison, Difference, mean_dice, of_label
from segmed.evaluation.metric import MetricValue, OverPatients
from segmed.evaluation.report import numbers
from segmed.evaluation.report.metrics import Heading, grouped, heading_of, main_metrics, title_of
from segmed.evaluation.report.notes import never_found
from segmed.evaluation.result import LEAKING, PATIENTS_UNKNOWN, TRAINING_UNKNOWN, Evaluation
from segmed.evaluation.statistics import metric_agreement
from segmed.evaluation.volume_metrics import metric_named

NO_VALUE = MetricValue(math.nan, math.nan, math.nan, 0, 0, "", "", None)
_NOT_MEASURED = "not measured"
"""Below a value that an evaluation does not have: stored before the metric existed, or without probabilities."""
COST_COLUMNS = (
    ("Parameters", ""),
    ("Time per image", "ms"),
    ("Peak memory", "MiB"),
    ("Training", "time"),
    ("Training", "processor time"),
)


@dataclass(frozen=True)
class Cell:
    """A value, its interval (empty where there is none), whether it is the best of those it is set beside.

    `n` counts what it rests on, and what has no value, where that is less than another of those rests on; else empty.
    `penalised` marks a distance with penalties in it: of volumes with the label in only one mask.
    """

    value: str
    interval: str = ""
    best: bool = False
    n: str = ""
    penalised: bool = False


@dataclass(frozen=True)
class Row:
    """A system's line. `place` is its rank from 0, None for a floor, whose `remark` says what it does.

    `alarm` says what is wrong, as of a label that is never found.
    """

    name: str
    place: int | None
    cells: tuple[Any, ...]
    remark: str = ""
    alarm: str = ""


@dataclass(frozen=True)
class Scores:
    """The first table: headings, systems and floors under the same columns."""

    columns: tuple[Heading, ...]
    systems: tuple[Row, ...]
    floors: tuple[Row, ...]

    @property
    def uneven(self) -> bool:
        """Whether a number rests on less than another in its column."""
        return any(cell.n not in ("", _NOT_MEASURED) for row in (*self.systems, *self.floors) for cell in row.cells)

    @property
    def penalised(self) -> bool:
        """Whether a distance has penalties in it."""
        return any(cell.penalised for row in (*self.systems, *self.floors) for cell in row.cells)


@dataclass(frozen=True)
class Costs:
    """The table of costs: (title, unit) of each column, and a line per system."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class MetricLine:
    """A line of the table of all metrics: one metric under every system and floor."""

    title: str
    description: str
    n: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class MetricGroup:
    """Metrics that belong together."""

    title: str
    rows: tuple[MetricLine, ...]


@dataclass(frozen=True)
class PairLine:
    """A paired test as text."""

    first: str
    second: str
    difference: str
    interval: str
    p: str
    p_holm: str
    p_wilcoxon: str
    patients: int
    verdict: str
    label: str = ""


@dataclass(frozen=True)
class Table:
    """Headings, rows of (name, cells), and which rows are of floors or otherwise set apart."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    apart: tuple[tuple[str, tuple[Cell, ...]], ...] = ()


def metric_of(evaluation: Evaluation, name: str) -> MetricValue:
    """A metric, or one without a value where the evaluation does not have it."""
    return evaluation.metrics.get(name, NO_VALUE)


def metrics_of_names(evaluation: Evaluation, names: Sequence[str]) -> list[MetricValue]:
    """Several metrics of an evaluation, as `metric_of` has them."""
    return [metric_of(evaluation, name) for name in names]


def scores(comparison: Comparison, metrics: Sequence[str] | None = None) -> Scores:
    """The first table, or one of other metrics."""
    names = main_metrics(comparison) if metrics is None else metrics
    columns = [_cells(comparison, name) for name in names]

    def row(evaluation: Evaluation, place: int | None) -> Row:
        remark = (evaluation.provenance.remark or "") if place is None else ""
        return Row(evaluation.name, place, tuple(column[evaluation.name] for column in columns), remark)

    return Scores(
        columns=tuple(heading_of(name, _fullest(comparison, name)) for name in names),
        systems=tuple(row(system, place) for place, system in enumerate(comparison.systems)),
        floors=tuple(row(floor, None) for floor in comparison.floors),
    )


def costs(comparison: Comparison) -> Costs:
    """The table of costs; floors have none worth a line."""
    rows = tuple(Row(e.name, place, cost_texts(e)) for place, e in enumerate(comparison.systems))
    return Costs(COST_COLUMNS, rows)


def cost_texts(evaluation: Evaluation) -> tuple[str, ...]:
    """Parameters, ms per image, peak memory, training time and processor time as text."""
    cost = evaluation.cost
    return (
        numbers.parameters(cost.parameters),
        numbers.number(cost.ms_per_image, 1),
        numbers.count(cost.peak_memory_mib),
        numbers.duration(cost.training_seconds),
        numbers.duration(cost.training_cpu_seconds),
    )


def label_scores(comparison: Comparison) -> tuple[tuple[str, Scores], ...]:
    """The first table once for each label; empty where there is but one. A label never found is marked."""
    found = []
    lost = {evaluation.name: never_found(evaluation) for evaluation in comparison.systems}
    for label in comparison.labels:
        table = scores(of_label(comparison, label), main_metrics(comparison))
        marked = (replace(row, alarm="never found" if label in lost[row.name] else "") for row in table.systems)
        found.append((label, replace(table, systems=tuple(marked))))
    return tuple(found)


def metric_groups(comparison: Comparison) -> tuple[MetricGroup, ...]:
    """The table of all metrics; of several labels each has a line of its own below how they are put together."""
    views = {label: of_label(comparison, label) for label in comparison.labels}

    def lines(name: str) -> list[MetricLine]:
        together = _metric_line(comparison, name)
        if not views:
            return [together]
        metric = metric_named(name)
        how = metric.over_labels if metric is not None else "mean of labels"
        alone = [
            replace(_metric_line(view, name), title=f"{together.title}, {label}", description="")
            for label, view in views.items()
            if name in view.metric_names()
        ]
        return [replace(together, title=f"{together.title}, {how}"), *alone]

    return tuple(
        MetricGroup(title, tuple(line for name in names for line in lines(name)))
        for title, names in grouped(comparison.metric_names()).items()
    )


def pair_lines(tests: Sequence[Difference], unit: Unit) -> tuple[PairLine, ...]:
    """The table of paired tests."""
    return tuple(
        PairLine(
            first=test.first,
            second=test.second,
            difference=numbers.number(test.difference, 3, signed=True),
            interval=numbers.interval(test.low, test.high, 3, signed=True),
            p=numbers.p_value(test.p_sign_flip),
            p_holm=numbers.p_value(test.p_holm),
            p_wilcoxon=numbers.p_value(test.p_wilcoxon),
            patients=test.patients,
            verdict=test.verdict.words(unit),
            label=test.label,
        )
        for test in tests
    )


def agreement(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Kendall's tau between the systems' order by Dice and by each other main metric of the same patients; from three
    systems on."""
    systems = comparison.systems
    if len(systems) < 3 or not comparison.patients:
        return ()
    scores = {PRIMARY: [mean_dice(system, comparison.patients) for system in systems]}
    higher_is_better = {PRIMARY: True}
    for name in main_metrics(comparison):
        metrics = [metric_of(system, name) for system in systems]
        better = metrics[0].higher_is_better
        finite = all(math.isfinite(metric.value) for metric in metrics)
        if name != PRIMARY and better is not None and finite and _on_one_basis(systems, name):
            scores[name], higher_is_better[name] = [metric.value for metric in metrics], better
    taus = metric_agreement(scores, higher_is_better)
    return tuple((title_of(name), numbers.number(tau, 2)) for (first, name), tau in taus.items() if first == PRIMARY)


def provenance(evaluations: Sequence[Evaluation], *, shared: bool = False) -> list[tuple[str, tuple[str, ...]]]:
    """Facts and their value for each evaluation, or the one all share; nested ones read `split: train patients`.

    Of a page that is to be `shared`, absolute paths are cut down to their last part.
    """
    columns = [_facts(evaluation) for evaluation in evaluations]
    if shared:
        columns = [{name: without_places(value) for name, value in column.items()} for column in columns]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, tuple(column.get(name, numbers.MISSING) for column in columns)) for name in names]
    return [(name, values[:1] if len(set(values)) == 1 else values) for name, values in rows]


def _facts(evaluation: Evaluation) -> dict[str, str]:
    facts: dict[str, Any] = {
        "kind": evaluation.kind,
        "part": evaluation.part,
        "split": _split_text(evaluation),
        "data hash": evaluation.data_hash,
        "threshold": evaluation.threshold,
        "labels": ", ".join(evaluation.labels.names),
    }
    facts |= _flat(evaluation.split.to_json(), "split") | _flat(evaluation.provenance.to_json(), "")
    return {name: _fact_text(value) for name, value in facts.items()}


def _split_text(evaluation: Evaluation) -> str:
    """What is known of a leak: nothing that was not compared is called none."""
    unknown = "" if evaluation.patients_known else f"{PATIENTS_UNKNOWN}: "
    if evaluation.leaking:
        return f"{unknown}{LEAKING}"
    if not evaluation.training_known:
        return f"{unknown}{TRAINING_UNKNOWN}: whether it leaks is not known"
    if evaluation.kind == "predictions":
        return f"{unknown}of the predictions' maker, unknown to segmed"
    return f"{unknown}by image, may leak" if unknown else "by patient, no leak"


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        own = str(key).replace("_", " ")
        name = f"{prefix}: {own}" if prefix else own
        flat |= _flat(value, name) if isinstance(value, Mapping) else {name: value}
    return flat


def _fact_text(value: Any) -> str:
    if value is None:
        return numbers.MISSING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _metric_line(comparison: Comparison, name: str) -> MetricLine:
    fullest = _fullest(comparison, name)
    heading = heading_of(name, fullest)
    unit = f" ({heading.unit})" if heading.unit else ""
    title = f"{title_of(name)}{unit} {heading.arrow}".rstrip()
    cells = _cells(comparison, name)
    return MetricLine(title, fullest.description, _rests_on(fullest), tuple(cells.values()))


def _cells(comparison: Comparison, name: str) -> dict[str, Cell]:
    """One metric under every evaluation, by its name."""
    fullest, best = _fullest(comparison, name), _best(comparison.systems, name)
    return {each.name: _cell(each, name, fullest, best=each.name in best) for each in comparison.evaluations}


def _cell(evaluation: Evaluation, name: str, fullest: MetricValue, *, best: bool) -> Cell:
    metric = metric_of(evaluation, name)
    less = f"n = {_rests_on(metric)}" if metric.n < fullest.n else ""
    return Cell(
        numbers.metric_value(metric),
        numbers.metric_interval(metric),
        best=best,
        n=less if name in evaluation.metrics else _NOT_MEASURED,
        penalised=evaluation.space is not None
        and name == f"hd95_{evaluation.space.unit}"
        and metric_of(evaluation, "one_sided").value > 0,
    )


def _fullest(comparison: Comparison, name: str) -> MetricValue:
    """The metric of the evaluation in which it rests on most."""
    found = (evaluation.metrics[name] for evaluation in comparison.evaluations if name in evaluation.metrics)
    return max(found, key=lambda metric: metric.n, default=NO_VALUE)


def _rests_on(metric: MetricValue) -> str:
    """How many have a value and, after a plus, how many have none."""
    return numbers.count(metric.n) + (f" + {metric.undefined}" if metric.undefined else "")


def _on_one_basis(systems: Sequence[Evaluation], name: str) -> bool:
    """Whether a metric rests on the same patients under every system, and elsewhere on as many.

    A patient whose label is missed has no distance, so that a miss would lower the mean over the others.
    """
    metric = metric_named(name)
    over = None if metric is None else metric.compute
    bases = {_with_a_value(system, over.column) for system in systems if isinstance(over, OverPatients)}
    return len(bases) < 2 and len({metric_of(system, name).n for system in systems}) == 1


def _with_a_value(system: Evaluation, column: str) -> frozenset[tuple[str, str]]:
    return frozenset((row.patient, row.label) for row in system.patients if not math.isnan(row.value(column)))


def _best(systems: Sequence[Evaluation], name: str) -> set[str]:
    """The systems whose printed value is best; none where there is only one system, no better, or another basis."""
    measured = [system for system in systems if math.isfinite(metric_of(system, name).value)]
    finite = {system.name: metric_of(system, name) for system in measured}
    if len(systems) < 2 or not finite or not _on_one_basis(measured, name):
        return set()
    better = next(iter(finite.values())).higher_is_better
    if better is None:
        return set()
    top = (max if better else min)(finite.values(), key=lambda metric: metric.value)
    winners = {who for who, metric in finite.items() if numbers.metric_value(metric) == numbers.metric_value(top)}
    return winners if len(winners) < len(systems) else set()
