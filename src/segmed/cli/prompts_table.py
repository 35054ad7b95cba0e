"""The tables that `segmed evaluate --prompts` prints: oracles and automatic results, each with its floors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from segmed.cli.messages import console

if TYPE_CHECKING:
    from rich.table import Table

    from segmed.evaluation.result import Evaluation

COLUMNS = (
    ("dice", "Dice\npatient"),
    ("iou", "IoU\npatient"),
    ("iou_positive_slices", "IoU\nforeground slices"),
    ("iou_per_image_empty_one", "IoU\nall slices"),
    ("specificity_empty_slices", "Empty\nkept"),
    ("ece", "Calibr.\nerror"),
)
"""Metrics of `evaluation.json` with their words in the table."""
WITH_INTERVAL = ("dice", "iou_positive_slices")
ORACLE_NOTE = (
    "ORACLE: prompts are made from the reference, which also tells which slices have foreground, so empty ones are "
    "kept by construction. These are no scores of an automatic method."
)


def show(results: "Sequence[Evaluation]", floors: "Mapping[str, Sequence[Evaluation]]") -> None:
    """Print a table of the oracles and one of the automatic results; LEAKING or PATIENTS UNKNOWN above."""
    from segmed.cli.evaluation_table import intervals_note, show_marks

    shown = console(width=110)
    show_marks(shown, results)
    for oracle in (True, False):
        some = [result for result in results if result.oracle == oracle]
        if some:
            shown.print(table(some, floors, oracle=oracle))
            if oracle:
                shown.print(ORACLE_NOTE, style="dim", highlight=False)
    shown.print(
        f"{intervals_note(results[0])} All slices: an empty slice kept empty counts 1.",
        style="dim",
        highlight=False,
    )


def table(results: "Sequence[Evaluation]", floors: "Mapping[str, Sequence[Evaluation]]", *, oracle: bool) -> "Table":
    """A line per kind of prompts, and one per floor below it."""
    from rich import box
    from rich.table import Table

    from segmed.cli.evaluation_table import size_of
    from segmed.evaluation.box_floors import DRAWN

    first = results[0]
    what = "ORACLE, prompts from the reference" if oracle else "Automatic, nothing of the reference"
    title = f"{what}: {first.part} part, {size_of(first)}"
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    grid.add_column("Prompts", overflow="fold")
    for _, words in COLUMNS:
        grid.add_column(words, justify="right", no_wrap=True)
    alike: dict[str, Evaluation] = {}
    for result in results:
        kind = str(result.prompts)
        grid.add_row(kind, *_cells(result, intervals=True), style="bold")
        for floor in floors.get(kind, ()):
            name = floor.system
            if floor.oracle and name not in DRAWN:
                alike[name] = floor
            else:
                grid.add_row(f"  {name}", *_cells(floor, intervals=False))
    for name, floor in alike.items():
        grid.add_row(f"{name}, any prompts", *_cells(floor, intervals=False))
    return grid


def _cells(result: "Evaluation", *, intervals: bool) -> list[str]:
    from segmed.evaluation.report.numbers import metric, metric_value

    cells = []
    for key, _ in COLUMNS:
        found = result.metrics.get(key)
        shown = metric if intervals and key in WITH_INTERVAL else metric_value
        cells.append("" if found is None else shown(found))
    return cells
