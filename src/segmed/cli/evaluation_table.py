"""The table that `segmed evaluate` prints: the run beside baselines that learn nothing."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from segmed.evaluation.result import Evaluation, MetricValue

SECTIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "By patient (volume)",
        (
            ("dice", "Dice, mean"),
            ("dice_median", "Dice, median"),
            ("iou", "IoU, mean"),
            ("nsd_1px", "Surface within 1 px"),
            ("nsd_2px", "Surface within 2 px"),
            ("hd95", "HD95, mean (px)"),
            ("lesion_f1", "Lesion F1"),
            ("volume_error", "Volume error, relative"),
            ("missed", "Patients missed"),
        ),
    ),
    (
        "By slice",
        (
            ("dice_positive_slices", "Dice, slices with tumour"),
            ("iou_positive_slices", "IoU, slices with tumour"),
            ("specificity_empty_slices", "Empty slices left empty"),
            ("one_sided_slices", "Slices in only one mask"),
        ),
    ),
    (
        'Readings of "IoU"',
        (
            ("iou_pooled", "all tumour pixels pooled"),
            ("iou_per_image_empty_one", "per image, empty = 1"),
            ("iou_two_class_macro", "two classes, macro"),
            ("iou_one_hot_micro", "two classes, one-hot"),
        ),
    ),
    ("Near the tumour", (("ece", "Calibration error"), ("brier", "Brier score"))),
)
"""Metric names of `evaluation.json` with their words in the table; the rest is in the files and the report."""


def show(result: "Evaluation", floors: Sequence["Evaluation"]) -> None:
    """Print the table, the conventions below it, and LEAKING above it where the split leaks."""
    from rich.console import Console
    from rich.panel import Panel

    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    if result.leaking:
        console.print(Panel(leak_text(result), title="LEAKING", style="bold red", expand=False))
    console.print(table(result, floors))
    bootstrap = result.provenance["bootstrap"]
    console.print(
        f"In brackets: 95 % intervals from {bootstrap['resamples']:,} bootstrap resamples of "
        f"{len({row.patient for row in result.patients})} patients. Distances are in the slice, in pixels.",
        style="dim",
        highlight=False,
    )


def table(result: "Evaluation", floors: Sequence["Evaluation"]) -> "Table":
    """Metrics down, the result and each floor across; intervals for the result only."""
    from rich.table import Table

    cases = len({row.case for row in result.slices})
    grid = Table(title=f"{result.name}: {result.part} part, {cases} slices", title_justify="left")
    grid.add_column("")
    grid.add_column(result.name, justify="right", style="bold", overflow="fold")
    for floor in floors:
        grid.add_column(floor.name, justify="right")
    for title, metrics in SECTIONS:
        present = [(key, words) for key, words in metrics if key in result.metrics]
        if present:
            grid.add_section()
            grid.add_row(title, style="italic")
        for key, words in present:
            others = [number(floor.metrics[key]) if key in floor.metrics else "" for floor in floors]
            grid.add_row(f"  {words}", with_interval(result.metrics[key]), *others)
    return grid


def leak_text(result: "Evaluation") -> str:
    """What makes the numbers of a leaking split no numbers about new patients."""
    text = "The split spreads a patient's slices over training and test. These scores say nothing about new patients."
    facts = result.split
    if "share_with_train_neighbour" in facts:
        text += (
            f"\n{facts['patients_also_in_train']} of {facts['patients']} patients are in training; "
            f"{facts['share_with_train_neighbour']:.1%} of slices have a neighbour there."
        )
    return text


def with_interval(metric: "MetricValue") -> str:
    """A value with its interval in brackets, and how many patients had no value."""
    text = number(metric)
    if not math.isnan(metric.low):
        text += f" ({_digits(metric, metric.low)}–{_digits(metric, metric.high)})"
    return text + (f", {metric.undefined} undefined" if metric.undefined else "")


def number(metric: "MetricValue") -> str:
    """A value in as many digits as its unit deserves; a dash where it is undefined."""
    return "–" if math.isnan(metric.value) else _digits(metric, metric.value)


def _digits(metric: "MetricValue", value: float) -> str:
    return f"{value:.3f}" if metric.unit == "" else f"{value:.0f}" if metric.unit == "patients" else f"{value:.1f}"
