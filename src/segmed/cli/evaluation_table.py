"""The table that `segmed evaluate` prints: the run beside baselines that learn nothing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from segmed.evaluation.groups import GroupTable
    from segmed.evaluation.result import Evaluation

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
            ("volume_error", "Volume error"),
            ("missed", "Patients missed"),
        ),
    ),
    (
        "By slice",
        (
            ("dice_positive_slices", "Dice, foreground slices"),
            ("iou_positive_slices", "IoU, foreground slices"),
            ("specificity_empty_slices", "Empty slices kept"),
            ("one_sided_slices", "One-sided slices"),
        ),
    ),
    (
        'Readings of "IoU"',
        (
            ("iou_pooled", "foreground pooled"),
            ("iou_per_image_empty_one", "per image, empty = 1"),
            ("iou_two_class_macro", "two classes, macro"),
            ("iou_two_class_macro_per_image", "the same per image"),
            ("iou_one_hot_micro", "two classes, one-hot"),
        ),
    ),
    ("Near the foreground", (("ece", "Calibration error"), ("brier", "Brier score"))),
)
"""Metric names of `evaluation.json` with their words in the table; the rest is in the files and the report."""


def show(result: "Evaluation", floors: Sequence["Evaluation"]) -> None:
    """Print the table, the conventions below it, and above it LEAKING or PATIENTS UNKNOWN where that is so."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    show_marks(console, [result])
    console.print(table(result, floors))
    for line in notes(result, floors):
        console.print(line, style="dim", highlight=False)


def show_marks(console: "Console", results: "Sequence[Evaluation]") -> None:
    """Print what keeps results from being believed: that their split leaks, or that patients are not known."""
    from rich.panel import Panel

    from segmed.evaluation.report.page import leaking_text, unknown_text
    from segmed.evaluation.result import LEAKING, PATIENTS_UNKNOWN

    if any(result.leaking for result in results):
        console.print(Panel(leaking_text(results), title=LEAKING, style="bold red", expand=False))
    if not all(result.patients_known for result in results):
        console.print(Panel(unknown_text(results), title=PATIENTS_UNKNOWN, style="bold red", expand=False))


def show_groups(tables: Sequence["GroupTable"]) -> None:
    """Print patients and Dice of every group, and how equal they are."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from segmed.evaluation.report.group_rows import group_sections

    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    for section in group_sections(tables):
        grid = Table(title=f"{section.title}: mean patient Dice", title_justify="left", box=box.SIMPLE_HEAD)
        for number, heading in enumerate(("", "Patients", *section.systems)):
            grid.add_column(heading, justify="right" if number else "left")
        for row in section.rows:
            cells = [f"{cell.value} {cell.interval}".rstrip() for cell in row.cells]
            grid.add_row(row.name, row.patients, *cells, style="dim" if row.summary else None)
        console.print(grid)


def size_of(result: "Evaluation") -> str:
    """`20 patients, 400 slices`, or `400 images` where patients are not known."""
    counted = result.unit.count(len({row.patient for row in result.patients}))
    slices = len({row.case for row in result.slices})
    return f"{counted}, {slices} slice{'' if slices == 1 else 's'}" if result.patients_known else counted


def table(result: "Evaluation", floors: Sequence["Evaluation"]) -> "Table":
    """Metrics down, the result and each floor across; intervals for the result only. Fits 80 columns."""
    from rich import box
    from rich.table import Table

    from segmed.evaluation.report.numbers import metric, metric_value

    title = f"{result.name}: {result.part} part, {size_of(result)}"
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    grid.add_column("", no_wrap=True)
    grid.add_column(result.name, justify="right", style="bold", overflow="fold")
    for floor in floors:
        grid.add_column(floor.name.replace("-", "-\n").replace(" ", "\n"), justify="right", no_wrap=True)
    for number_of_section, (title, metrics) in enumerate(SECTIONS):
        present = [(key, words) for key, words in metrics if key in result.metrics]
        if present:
            if number_of_section:
                grid.add_row()
            grid.add_row(_worded(title, result), style="italic")
        for key, words in present:
            others = [metric_value(floor.metrics[key]) if key in floor.metrics else "" for floor in floors]
            grid.add_row(_worded(words, result), metric(result.metrics[key]), *others)
    return grid


def _worded(text: str, result: "Evaluation") -> str:
    """A heading that speaks of patients, of images where these are not known."""
    one, many = result.unit.one, result.unit.many
    return text.replace("Patients", many.capitalize()).replace("By patient (volume)", f"By {one} (volume)")


def notes(result: "Evaluation", floors: Sequence["Evaluation"]) -> list[str]:
    """What must be known to read the table: intervals, units, patients without a value, floors with nothing to say."""
    from segmed.evaluation.report.notes import few_note, part_note

    resamples = result.provenance["bootstrap"]["resamples"]
    lines = [
        f"In brackets: 95 % intervals from {resamples:,} bootstrap resamples of {result.unit.many}.",
        "Distances are in the slice, in pixels; for HD95 one-sided slices are the image's diagonal away.",
    ]
    warnings = part_note(result.part), few_note(len({row.patient for row in result.patients}), result.unit)
    lines += [warning for warning in warnings if warning]
    shown = [(words, result.metrics[key]) for _, metrics in SECTIONS for key, words in metrics if key in result.metrics]
    undefined = [f"{words} {value.undefined}" for words, value in shown if value.undefined]
    if undefined:
        lines.append(f"{result.unit.many.capitalize()} without a value, left out: {', '.join(undefined)}.")
    for floor in floors:
        if not any(row.predicted_px for row in floor.slices) and floor.name != "predict nothing":
            lines.append(f"{floor.name}: {floor.provenance['remark']}")
    return lines
