"""The table that `segmed evaluate` prints: the run beside baselines that learn nothing."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from segmed.cli.messages import console
from segmed.core.wording import plural

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from segmed.data.degrade import Degradation
    from segmed.evaluation.groups import GroupTable
    from segmed.evaluation.metric import Group, Metric
    from segmed.evaluation.result import Evaluation


def show(result: "Evaluation", floors: Sequence["Evaluation"]) -> None:
    """Print the table, the conventions below it, and above it LEAKING or PATIENTS UNKNOWN where that is so."""
    shown = console(width=100)
    show_marks(shown, [result])
    shown.print(table(result, floors))
    for line in notes(result, floors):
        shown.print(line, style="dim", highlight=False)


def show_marks(shown: "Console", results: "Sequence[Evaluation]") -> None:
    """Print what keeps results from being believed: that their split leaks, or that patients are not known."""
    from rich.panel import Panel

    from segmed.evaluation.report.notes import training_note
    from segmed.evaluation.report.page import leaking_text, unknown_text
    from segmed.evaluation.result import LEAKING, PATIENTS_UNKNOWN, TRAINING_UNKNOWN

    if any(result.leaking for result in results):
        shown.print(Panel(leaking_text(results), title=LEAKING, style="bold red", expand=False))
    if not all(result.patients_known for result in results):
        shown.print(Panel(unknown_text(results), title=PATIENTS_UNKNOWN, style="bold red", expand=False))
    if training := training_note(results):
        words = training.removeprefix(f"{TRAINING_UNKNOWN}: ")
        shown.print(Panel(words, title=TRAINING_UNKNOWN, style="bold red", expand=False))


def show_groups(tables: "Sequence[GroupTable]") -> None:
    """Print size and Dice of every group, and how equal they are."""
    from rich import box
    from rich.table import Table

    from segmed.evaluation.report.group_rows import group_sections

    shown = console(width=100)
    for section in group_sections(tables):
        grid = Table(title=f"{section.title}: mean {section.unit.one} Dice", title_justify="left", box=box.SIMPLE_HEAD)
        for number, heading in enumerate(("", section.unit.many.capitalize(), *section.systems)):
            grid.add_column(heading, justify="right" if number else "left")
        for row in section.rows:
            cells = [f"{cell.value} {cell.interval}".rstrip() for cell in row.cells]
            grid.add_row(row.name, row.size, *cells, style="dim" if row.summary else None)
        shown.print(grid)


DEGRADED_COLUMNS = ("dice", "nsd_1px", "lesion_f1")
"""Metrics of the table of degraded images, one of each kind of error."""


def show_degraded(results: "Mapping[Degradation, Evaluation]") -> None:
    """Print one table of a run on images made worse in several ways: a row each, in the order in which they came."""
    from rich import box
    from rich.table import Table

    from segmed.evaluation.metrics import BY_NAME
    from segmed.evaluation.report.numbers import metric as with_interval

    shown = console(width=100)
    evaluations = list(results.values())
    show_marks(shown, evaluations)
    first = evaluations[0]
    title = f"{first.name} on images made worse: {first.part} part, {size_of(first)}"
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("")
    for name in DEGRADED_COLUMNS:
        grid.add_column(BY_NAME[name].title, justify="right")
    for degradation, evaluation in results.items():
        grid.add_row(str(degradation), *(with_interval(evaluation.metrics[name]) for name in DEGRADED_COLUMNS))
    shown.print(grid)


def size_of(result: "Evaluation") -> str:
    """`20 patients, 400 slices`, `20 patients, 25 cases` of volumes, or `400 images` where patients are not known."""
    counted = result.unit.count(len({row.patient for row in result.patients}))
    slices, cases = len({row.slice_id for row in result.slices}), len({row.case for row in result.cases})
    parts = plural(cases, "case") if result.space else plural(slices, "slice")
    return f"{counted}, {parts}" if result.patients_known else counted


def table(result: "Evaluation", floors: Sequence["Evaluation"]) -> "Table":
    """Metrics down, the result and each floor across; intervals for the result only. Fits 80 columns.

    With several labels a metric has a row for each label, and one for how they are put together.
    """
    from rich import box
    from rich.table import Table

    from segmed.evaluation.report.notes import scored_part
    from segmed.evaluation.report.numbers import metric as with_interval
    from segmed.evaluation.report.numbers import metric_value

    title = f"{result.name}: {', '.join(filter(None, (scored_part(result), size_of(result))))}"
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    grid.add_column("", no_wrap=True)
    grid.add_column(result.name, justify="right", style="bold", overflow="fold")
    for floor in floors:
        grid.add_column(floor.name.replace("-", "-\n").replace(" ", "\n"), justify="right", no_wrap=True)

    def add(words: str, name: str, label: str | None) -> None:
        of = [each.metrics if label is None else each.by_label.get(label, {}) for each in (result, *floors)]
        others = [metric_value(metrics[name]) if name in metrics else "" for metrics in of[1:]]
        grid.add_row(words, with_interval(of[0][name]) if name in of[0] else "", *others)

    for number, (group, metrics) in enumerate(_shown(result)):
        if number:
            grid.add_row()
        grid.add_row(group.value, style="italic")
        for metric in metrics:
            unit = result.metrics[metric.name].unit
            words = f"{metric.title} ({unit})" if unit else metric.title
            if not result.by_label:
                add(words, metric.name, None)
                continue
            grid.add_row(words)
            for label in result.by_label:
                add(f"  {label}", metric.name, label)
            add(f"  {metric.over_labels}", metric.name, None)
    return grid


def notes(result: "Evaluation", floors: Sequence["Evaluation"]) -> list[str]:
    """What must be known to read the table: intervals, units, labels never found, patients without a value, floors."""
    from segmed.evaluation.report.notes import few_note, missing_notes, never_found_notes, part_note, remark_notes

    shown = [metric for _, metrics in _shown(result) for metric in metrics]
    lines = [*missing_notes([result]), *remark_notes([result]), *never_found_notes([result])]
    if any(math.isfinite(result.metrics[metric.name].low) for metric in shown):
        lines.append(intervals_note(result))
    lines.append(distances_note(result))
    warnings = part_note(result.part), few_note(len({row.patient for row in result.patients}), result.unit)
    lines += [warning for warning in warnings if warning]
    undefined = [
        f"{metric.title} {result.metrics[metric.name].undefined}"
        for metric in shown
        if result.metrics[metric.name].undefined
    ]
    if undefined:
        lines.append(f"{result.unit.many.capitalize()} without a value, left out: {', '.join(undefined)}.")
    for floor in floors:
        if not any(row.predicted_px for row in floor.patients) and floor.name != "predict nothing":
            lines.append(f"{floor.name}: {floor.provenance.remark}")
    return lines


def distances_note(result: "Evaluation") -> str:
    """What distances are between, in which unit, and what stands where there is none."""
    if result.space is None:
        return (
            "Distances are in the slice, in pixels. The penalty: where only one mask marks a slice, its outline counts "
            "as the image's diagonal away. Shared slices are those that both masks mark."
        )
    return (
        f"Distances are in the volume, in {result.space.unit}. The penalty: where only one mask has the label, the "
        "volume's diagonal stands for HD95. Numbers called found are over the cases in which both masks have the label."
    )


def intervals_note(result: "Evaluation") -> str:
    """What the numbers in brackets are."""
    bootstrap = result.provenance.bootstrap
    drawn = "" if bootstrap is None else f" from {bootstrap.resamples:,} bootstrap resamples"
    return f"In brackets: 95 % intervals{drawn} of {result.unit.many}."


def _shown(result: "Evaluation") -> "list[tuple[Group, list[Metric]]]":
    """The metrics of the table by group; the rest is in the files and the report."""
    from segmed.evaluation.metric import Group
    from segmed.evaluation.volume_metrics import metrics_of

    shown = [metric for metric in metrics_of(result.space) if metric.terminal and metric.name in result.metrics]
    groups = [(group, [metric for metric in shown if metric.group is group]) for group in Group]
    return [(group, metrics) for group, metrics in groups if metrics]
