"""The study's tables: as cells for the page, and as CSV and LaTeX with the same numbers."""

from collections.abc import Sequence
from pathlib import Path

from segmed.core.files import write_table, write_text
from segmed.evaluation.box_floors import DRAWN
from segmed.evaluation.compare import Comparison
from segmed.evaluation.report import numbers
from segmed.evaluation.report.metrics import title_of
from segmed.evaluation.report.patients import Names
from segmed.evaluation.report.tables import Cell, Scores, Table, metrics_of_names, scores
from segmed.evaluation.result import Evaluation
from segmed.evaluation.statistics import bootstrap_ci
from segmed.prompts.kinds import PromptKind
from segmed.reproduction.tables import reproduction_table, write_reproduction
from segmed.study.results import Results

EXACT = PromptKind("gt")
"""Boxes that are tight around the reference."""


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
        return tuple(Cell(numbers.metric_value(m), numbers.metric_interval(m)) for m in metrics_of_names(each, names))

    rows = tuple((each.name, cells(each)) for each in evaluations)
    below = tuple((_floor_title(each), cells(each)) for each in floors)
    return Table(tuple(title_of(name) for name in names), rows, below)


def _floor_title(floor: Evaluation) -> str:
    """A floor's name, with the kind of boxes where they are not exact or enter at all."""
    return floor.name if floor.system in DRAWN and floor.prompts != EXACT else floor.system


def write_tables(out: Path, comparison: Comparison | None, results: Results, names: Names) -> None:
    """Write `patient.tex`, `per-patient.csv`, `reproduction.csv` and `.tex`, as far as there is something to write.

    What got boxes of the reference is marked ORACLE in `reproduction.csv` and has `reproduction-oracle.tex` for itself.
    """
    if comparison is not None:
        _write(out / "patient.tex", latex(_score_table(scores(comparison))))
        write_per_patient(out / "per-patient.csv", comparison.systems, names)
    if results.reproduction or results.reproduction_boxes:
        told = (results.reproduction_boxes, results.reproduction_box_floors)
        write_reproduction(out / "reproduction.csv", results.reproduction, results.reproduction_floors, *told)
        _write(out / "reproduction.tex", latex(reproduction_table(results.reproduction, results.reproduction_floors)))
    if results.reproduction_boxes:
        _write(
            out / "reproduction-oracle.tex",
            latex(reproduction_table(results.reproduction_boxes, results.reproduction_box_floors)),
        )


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
