"""The paper's table made again: as cells for the page, and as CSV with the same numbers."""

from collections.abc import Sequence
from pathlib import Path

from segmed.core.files import write_table
from segmed.evaluation.report import numbers
from segmed.evaluation.report.tables import Cell, Table, metrics_of_names
from segmed.evaluation.result import Evaluation
from segmed.evaluation.undefined import mean_of_defined
from segmed.reproduction.rows import ReproductionRow
from segmed.reproduction.variant_fit import IOU_VARIANTS

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


def reproduction_table(rows: Sequence[ReproductionRow], floors: Sequence[Evaluation]) -> Table:
    """Losses, every variant of IoU, Dice by patient, and the paper's own figures in columns of their own.

    Of losses the training part's stands above the validation part's.
    """
    headings = (
        "Paper: IoU",
        "Paper: loss",
        "Loss",
        *(SHORT[iou_variant] for iou_variant in IOU_VARIANTS),
        "Dice by patient",
    )
    return Table(
        headings,
        tuple((row.title, _reproduction_cells(row)) for row in rows),
        tuple((floor.name, (*_blank(3), *_variant_cells(floor))) for floor in floors),
    )


def write_reproduction(
    path: Path,
    rows: Sequence[ReproductionRow],
    floors: Sequence[Evaluation],
    told: Sequence[ReproductionRow] = (),
    told_floors: Sequence[Evaluation] = (),
) -> None:
    """The table as in the paper as CSV, in full precision, every line marked LEAKING; empty where there is no value.

    Below it, with ORACLE in the column `given`, what got boxes of the reference.
    """
    head = ["split", "given", "system", "paper_iou", "paper_train_loss", "paper_validation_loss", "train_loss"]
    head += [
        "validation_loss",
        *(f"{name}{end}" for name in IOU_VARIANTS for end in ("", "_low", "_high")),
        "patient_dice",
    ]
    lines: list[list[object]] = []
    for given, several, below in (("", rows, floors), ("ORACLE", told, told_floors)):
        for row in several:
            theirs = row.reported.iou if row.reported else None
            known = [theirs, *(row.reported_losses or (None, None)), row.train_loss, row.validation_loss]
            lines.append(["LEAKING", given, row.title, *known, *_all_variants(row.evaluation)])
        lines += [["LEAKING", given, floor.name, *[None] * 5, *_all_variants(floor)] for floor in below]
    write_table(path, head, lines)


def _all_variants(evaluation: Evaluation) -> list[float]:
    values = [value for m in metrics_of_names(evaluation, IOU_VARIANTS) for value in (m.value, m.low, m.high)]
    return [*values, mean_of_defined(list(evaluation.by_patient("dice").values()))]


def _reproduction_cells(row: ReproductionRow) -> tuple[Cell, ...]:
    theirs = row.reported_losses
    return (
        Cell(numbers.number(row.reported.iou if row.reported else None, 4)),
        Cell(numbers.number(theirs[0], 4), numbers.number(theirs[1], 4)) if theirs else Cell(numbers.MISSING),
        Cell(numbers.number(row.train_loss, 4), numbers.number(row.validation_loss, 4)),
        *_variant_cells(row.evaluation),
    )


def _variant_cells(evaluation: Evaluation) -> tuple[Cell, ...]:
    variants = tuple(
        Cell(numbers.metric_value(m), numbers.metric_interval(m)) for m in metrics_of_names(evaluation, IOU_VARIANTS)
    )
    return (*variants, Cell(numbers.number(mean_of_defined(list(evaluation.by_patient("dice").values())), 3)))


def _blank(number: int) -> tuple[Cell, ...]:
    return tuple(Cell(numbers.MISSING) for _ in range(number))
