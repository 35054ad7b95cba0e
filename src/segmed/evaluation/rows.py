"""The rows of `patients.csv`, `slices.csv` and `boxes.csv`, and their reading and writing. NaN is an empty field."""

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from segmed.core.errors import DataError
from segmed.core.files import write_table

R = TypeVar("R")


@dataclass(frozen=True)
class PatientRow:
    """One patient and one foreground label. Counts are pixels of the whole volume; distances are in-plane pixels.

    `missed`: the label is in the reference and not one of its pixels was found. `one_sided_slices`: slices where
    only one of reference and prediction has the label; their surface pixels count the image's diagonal in HD95 and as
    not within tolerance in NSD.
    `volume_error` is (predicted - reference) / reference. `brier` is over the band around the foreground.
    """

    patient: str
    label: str
    slices: int
    reference_px: int
    predicted_px: int
    tp: int
    fp: int
    fn: int
    dice: float
    iou: float
    sensitivity: float
    precision: float
    hd95: float
    nsd_1px: float
    nsd_2px: float
    one_sided_slices: int
    missed: bool
    lesions: int
    lesion_precision: float
    lesion_recall: float
    lesion_f1: float
    volume_error: float
    brier: float


@dataclass(frozen=True)
class SliceRow:
    """One slice and one foreground label. Counts are pixels; Dice and IoU are NaN where both masks are empty."""

    case: str
    patient: str
    slice: int
    label: str
    reference_px: int
    predicted_px: int
    tp: int
    fp: int
    fn: int
    tn: int
    dice: float
    iou: float


@dataclass(frozen=True)
class BoxRow:
    """One object that was asked for with a box: how good the box was, and the masks that came of it.

    `box_iou` compares the box with the tight box of the object, the others the model's mask, all of the box and the
    ellipse in it with the object's pixels. `expected_iou` is what the model said of its mask. All from 0 to 1.
    """

    case: str
    patient: str
    object: int
    box_iou: float
    mask_iou: float
    expected_iou: float
    filled_iou: float
    ellipse_iou: float


def write_rows(path: Path, rows: Sequence[Any], kind: type[Any], marks: Mapping[str, str]) -> None:
    """Write dataclass rows as CSV with a header, atomically; `marks` are further columns, the same on every row."""
    names = [field.name for field in dataclasses.fields(kind)]
    lines = ([*(getattr(row, name) for name in names), *marks.values()] for row in rows)
    write_table(path, [*names, *marks], lines)


def read_rows(path: Path, kind: type[R]) -> tuple[R, ...]:
    """Read rows that `write_rows` wrote; raises `DataError` naming the file and line."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Run `segmed evaluate` again.") from error
    return tuple(_parse(line, kind, f"{path}, line {number}") for number, line in enumerate(lines, start=2))


def _parse(line: dict[str, str], kind: type[R], where: str) -> R:
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    try:
        return kind(**{field.name: _from_text(line[field.name], field.type) for field in fields})
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{where}: {error} is missing or wrong. Run `segmed evaluate` again.") from error


def _from_text(text: str, kind: Any) -> Any:
    if kind is bool:
        return text == "1"
    if kind is float:
        return math.nan if text == "" else float(text)
    return kind(text)
