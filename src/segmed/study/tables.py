"""The study's tables: as cells for the page, and as CSV and LaTeX with the same numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segmed.core.files import write_table, write_text
from segmed.evaluation.box_floors import DRAWN
from segmed.evaluation.compare import Comparison
from segmed.evaluation.metric import MetricValue
from segmed.evaluation.report import numbers
from segmed.evaluation.report.cases import Names
from segmed.evaluation.report.metrics import title_of
from segmed.evaluation.report.tables import Cell, Scores, metric_of, scores
from segmed.evaluation.result import Evaluation
from segmed.evaluation.statistics import bootstrap_ci
from segmed.prompts.kinds import PromptKind
from segmed.study.pool import mean_dice
from segmed.study.report_fit import IOU_VARIANTS
from segmed.study.results import ReportRow, Results


@dataclass(frozen=True)
class Table:
    """Headings, rows of (name, cells), and which rows are of floors or otherwise set apart."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    apart: tuple[tuple[str, tuple[Cell, ...]], ...] = ()


EXACT = PromptKind("gt")
"""Boxes that are tight around the reference."""
SHORT = {
    "iou_pooled": "IoU: pooled",
    "iou_per_image_empty_one": "per image, empty = 1",
    "iou_positive_slices": "tumour slices",
    "iou_two_class_macro": "two-class macro",
    "iou_two_class_macro_per_image": "two-class per image",
    "iou_batch_16": "batches of 16",
    "iou_one_hot_micro": "one-hot",
}
"""The variants' headings, short enough for a table of all of them."""


def report_table(rows: Sequence[ReportRow], floors: Sequence[Evaluation]) -> Table:
    """Losses, every variant of IoU, Dice by patient, and the report's own figures in columns of their own.

    Of losses the training part's stands above the validation part's.
    """
    headings = (
        "Report: IoU",
        "Report: loss",
        "Loss",
        *(SHORT[iou_variant] for iou_variant in IOU_VARIANTS),
        "Dice by patient",
    )
    return Table(
        headings,
        tuple((row.title, _report_cells(row)) for row in rows),
        tuple((floor.name, (*_blank(3), *_variant_cells(floor))) for floor in floors),
    )


def institution_table(results: Results) -> Table:
    """Each institution scored by a network that never saw it, beside the same patients in the cross-validation.

    The only patient of an institution has no others there, so the cross-validation holds its institution out as well.
    """
    pooled = {evaluation.name: evaluation for evaluation in results.ranked}
    rows = []
    for system, institution, held_out in results.institutions:
        dice = held_out.by_patient("dice")
        mixed = pooled[system].by_patient("dice") if system in pooled and len(dice) > 1 else {}
        cells = (
            Cell(numbers.count(len(dice))),
            _mean_cell(list(dice.values())),
            _mean_cell([mixed[patient] for patient in dice if patient in mixed]),
        )
        rows.append((f"{system}: {institution}", cells))
    return Table(("Patients", "Dice, institution held out", "Dice, institution in training"), tuple(rows))


def seed_table(evaluations: Sequence[Evaluation]) -> Table:
    """Mean Dice of each seed, where there are several."""
    seeds = {each.name: each.provenance.dice_of_seeds for each in evaluations}
    most = max((len(values) for values in seeds.values()), default=0)
    if most < 2:
        return Table((), ())
    rows = tuple(
        (name, tuple(Cell(numbers.number(value, 3)) for value in values))
        for name, values in seeds.items()
        if len(values) == most
    )
    return Table(tuple(f"Seed {seed}" for seed in range(most)), rows)


def box_table(evaluations: Sequence[Evaluation], floors: Sequence[Evaluation]) -> Table:
    """Rows that were given the reference's boxes, which no user has; and below them what such boxes alone are worth."""
    names = ("dice", "dice_positive_slices", "iou_positive_slices")

    def cells(each: Evaluation) -> tuple[Cell, ...]:
        return tuple(Cell(numbers.metric_value(m), numbers.metric_interval(m)) for m in _metrics(each, names))

    rows = tuple((each.name, cells(each)) for each in evaluations)
    below = tuple((_floor_title(each), cells(each)) for each in floors)
    return Table(tuple(title_of(name) for name in names), rows, below)


def _floor_title(floor: Evaluation) -> str:
    """A floor's name, with the kind of boxes where they are not exact or enter at all."""
    return floor.name if floor.system in DRAWN and floor.prompts != EXACT else floor.system


def write_tables(out: Path, comparison: Comparison | None, results: Results, names: Names) -> None:
    """Write `patient.tex`, `per-patient.csv`, `report.csv` and `.tex`, as far as there is something to write.

    What got boxes of the reference is marked ORACLE in `report.csv` and has `report-oracle.tex` for itself.
    """
    if comparison is not None:
        _write(out / "patient.tex", latex(_score_table(scores(comparison))))
        write_per_patient(out / "per-patient.csv", comparison.systems, names)
    if results.report or results.report_boxes:
        told = (results.report_boxes, results.report_box_floors)
        write_report(out / "report.csv", results.report, results.report_floors, *told)
        _write(out / "report.tex", latex(report_table(results.report, results.report_floors)))
    if results.report_boxes:
        _write(out / "report-oracle.tex", latex(report_table(results.report_boxes, results.report_box_floors)))


def write_report(
    path: Path,
    rows: Sequence[ReportRow],
    floors: Sequence[Evaluation],
    told: Sequence[ReportRow] = (),
    told_floors: Sequence[Evaluation] = (),
) -> None:
    """The table as in the report as CSV, in full precision, every line marked LEAKING; empty where there is no value.

    Below it, with ORACLE in the column `given`, what got boxes of the reference.
    """
    head = ["split", "given", "system", "report_iou", "report_train_loss", "report_validation_loss", "train_loss"]
    head += [
        "validation_loss",
        *(f"{name}{end}" for name in IOU_VARIANTS for end in ("", "_low", "_high")),
        "patient_dice",
    ]
    lines: list[list[object]] = []
    for given, several, below in (("", rows, floors), ("ORACLE", told, told_floors)):
        for row in several:
            theirs = row.system.report_losses if row.variant == "double-sigmoid" else None
            known = [row.system.report_iou, *(theirs or (None, None)), row.train_loss, row.validation_loss]
            lines.append(["LEAKING", given, row.title, *known, *_all_variants(row.evaluation)])
        lines += [["LEAKING", given, floor.name, *[None] * 5, *_all_variants(floor)] for floor in below]
    write_table(path, head, lines)


def _all_variants(evaluation: Evaluation) -> list[float]:
    values = [value for m in _metrics(evaluation, IOU_VARIANTS) for value in (m.value, m.low, m.high)]
    return [*values, mean_dice(evaluation)]


def write_per_patient(path: Path, systems: Sequence[Evaluation], names: Names) -> None:
    """Dice of every patient under every system, as CSV in full precision; empty where undefined."""
    columns = [system.by_patient("dice") for system in systems]
    rows = [[names.patients[patient], *(column[patient] for column in columns)] for patient in columns[0]]
    write_table(path, [systems[0].unit.one, *(system.name for system in systems)], rows)


def latex(table: Table) -> str:
    """A `tabular` for the booktabs package; intervals in small type after their value."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{tabular}{l" + "r" * len(table.headings) + "}",
        "\\toprule",
        " & ".join(["System", *map(_tex, table.headings)]) + " \\\\",
        "\\midrule",
        *(_tex_row(name, cells) for name, cells in table.rows),
    ]
    if table.apart:
        lines += ["\\midrule", *(_tex_row(f"{name} (floor)", cells) for name, cells in table.apart)]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _report_cells(row: ReportRow) -> tuple[Cell, ...]:
    theirs = row.system.report_losses if row.variant == "double-sigmoid" else None
    return (
        Cell(numbers.number(row.system.report_iou, 4)),
        Cell(numbers.number(theirs[0], 4), numbers.number(theirs[1], 4)) if theirs else Cell(numbers.MISSING),
        Cell(numbers.number(row.train_loss, 4), numbers.number(row.validation_loss, 4)),
        *_variant_cells(row.evaluation),
    )


def _variant_cells(evaluation: Evaluation) -> tuple[Cell, ...]:
    variants = tuple(
        Cell(numbers.metric_value(m), numbers.metric_interval(m)) for m in _metrics(evaluation, IOU_VARIANTS)
    )
    return (*variants, Cell(numbers.number(mean_dice(evaluation), 3)))


def _metrics(evaluation: Evaluation, names: Sequence[str]) -> list[MetricValue]:
    return [metric_of(evaluation, name) for name in names]


def _mean_cell(values: Sequence[float]) -> Cell:
    import numpy as np

    if not values:
        return Cell(numbers.MISSING)
    found = bootstrap_ci(np.asarray(values, np.float64))
    return Cell(numbers.number(found.value, 3), numbers.interval(found.low, found.high, 2))


def _score_table(found: Scores) -> Table:
    return Table(
        tuple(column.title + (f" ({column.unit})" if column.unit else "") for column in found.columns),
        tuple((row.name, row.cells) for row in found.systems),
        tuple((row.name, row.cells) for row in found.floors),
    )


def _blank(number: int) -> tuple[Cell, ...]:
    return tuple(Cell(numbers.MISSING) for _ in range(number))


def _tex_row(name: str, cells: Sequence[Cell]) -> str:
    values = [
        f"{_tex(cell.value)} {{\\scriptsize {_tex(cell.interval)}}}" if cell.interval else _tex(cell.value)
        for cell in cells
    ]
    return " & ".join([_tex(name), *values]) + " \\\\"


def _tex(text: str) -> str:
    special = {"\\": "\\textbackslash{}", "−": "$-$", "–": "--", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in text)


def _write(path: Path, text: str) -> None:
    write_text(path, text)
