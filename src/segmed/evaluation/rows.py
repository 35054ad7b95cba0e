"""The rows of `patients.csv`, `slices.csv` and `boxes.csv`, and their reading and writing. NaN is an empty field."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from segmed.core.errors import DataError
from segmed.core.escaping import shortened, shortened_text
from segmed.core.files import write_table
from segmed.core.former_names import present_names
from segmed.core.reading import WIDEST, read_table

R = TypeVar("R")


@dataclass(frozen=True)
class PatientRow:
    """One patient and one foreground label. Counts are pixels of the whole volume.

    `missed`: the label is in the reference and not one of its pixels was found. `one_sided_slices`: slices where
    only one of reference and prediction has the label; their surface pixels count the image's diagonal in HD95 and as
    not within tolerance in NSD. `scores` has the columns of `segmed.evaluation.metrics`; distances are in-plane pixels,
    `volume_error` is (predicted - reference) / reference, `volume_error_abs` its size, and `brier` is over the band
    around the foreground.
    """

    patient: str
    label: str
    slices: int
    reference_px: int
    predicted_px: int
    tp: int
    fp: int
    fn: int
    one_sided_slices: int
    missed: bool
    lesions: int
    scores: Mapping[str, float]

    def value(self, column: str) -> float:
        """A score or a count; NaN where it is undefined or was not measured. `KeyError` for an unknown column."""
        return float(self.scores[column] if column in self.scores else _number(self, column))


@dataclass(frozen=True)
class SliceRow:
    """One slice and one foreground label. Counts are pixels; Dice and IoU are NaN where both masks are empty."""

    slice_id: str
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
class CaseRow:
    """One volume and one foreground label. Counts are voxels of the whole volume.

    `reference` is its file, seen from the folder of references. `given`: there was a file with a mask; where there was
    none, an empty mask was scored. `spacing` is in millimetres along slices, rows and columns, empty where it is
    unknown, and `mended` says how the mask was put on the reference's grid, empty where that was not needed.
    `one_sided`: only one of the masks has the label, so that distances are penalties. `scores` has the columns of
    `segmed.evaluation.volume_metrics`.
    """

    case: str
    patient: str
    label: str
    reference: str
    given: bool
    spacing: str
    mended: str
    slices: int
    reference_voxels: int
    predicted_voxels: int
    tp: int
    fp: int
    fn: int
    tn: int
    one_sided: bool
    lesions: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class BoxRow:
    """One object that was asked for with a box: how good the box was, and the masks that came of it.

    `box_iou` compares the box with the tight box of the object, the others the model's mask, all of the box and the
    ellipse in it with the object's pixels. `expected_iou` is what the model said of its mask. All from 0 to 1.
    """

    slice_id: str
    patient: str
    object: int
    box_iou: float
    mask_iou: float
    expected_iou: float
    filled_iou: float
    ellipse_iou: float


def _number(row: PatientRow, column: str) -> float:
    found = vars(row).get(column)
    if not isinstance(found, int | float):
        raise KeyError(f"{column} is no number of a patient; there are {', '.join(row.scores)}")
    return float(found)


def write_patients(
    path: Path, rows: Sequence[PatientRow] | Sequence[CaseRow], marks: Mapping[str, str], kind: type[Any] = PatientRow
) -> None:
    """Write `patients.csv`, or `cases.csv`, as `write_rows` writes the others, a column per score."""
    scores = tuple(dict.fromkeys(name for row in rows for name in row.scores))
    counts = _counts_of(kind)
    lines = ([*(getattr(row, name) for name in counts), *(row.scores.get(name) for name in scores)] for row in rows)
    _write(path, [*counts, *scores], lines, marks)


def read_patients(path: Path, scores: Iterable[str]) -> tuple[PatientRow, ...]:
    """Read the patients that `write_patients` wrote; see `read_scored`.

    Rows that were stored before the sizes of volume errors were have that of the error, which of a patient with several
    volumes is their mean.
    """
    return tuple(map(_with_size_of_error, read_scored(path, PatientRow, scores)))


def _with_size_of_error(row: PatientRow) -> PatientRow:
    if not math.isnan(row.scores["volume_error_abs"]):
        return row
    return dataclasses.replace(row, scores={**row.scores, "volume_error_abs": abs(row.scores["volume_error"])})


def read_scored(path: Path, kind: type[R], scores: Iterable[str]) -> tuple[R, ...]:
    """Read what `write_patients` wrote. A score that the file lacks, as of an older version, is NaN in every row.

    Raises `DataError` naming the file and line.
    """
    rows, scores = [], tuple(scores)
    for line, where in _lines(path, kind):
        found = {name: _score(line.get(name, ""), name, where) for name in scores}
        rows.append(_parse(line, kind, where, scores=found))
    return tuple(rows)


def write_rows(path: Path, rows: Sequence[Any], kind: type[Any], marks: Mapping[str, str]) -> None:
    """Write dataclass rows as CSV with a header, atomically; `marks` are further columns, the same on every row."""
    names = [field.name for field in dataclasses.fields(kind)]
    _write(path, names, ([getattr(row, name) for name in names] for row in rows), marks)


def read_rows(path: Path, kind: type[R]) -> tuple[R, ...]:
    """Read rows that `write_rows` wrote; raises `DataError` naming the file and line."""
    return tuple(_parse(line, kind, where) for line, where in _lines(path, kind))


def _counts_of(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.name != "scores"]


def _write(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]], marks: Mapping[str, str]) -> None:
    write_table(path, [*names, *marks], ([*row, *marks.values()] for row in rows))


def _lines(path: Path, kind: type[Any]) -> list[tuple[dict[str, str], str]]:
    """The lines of a table, each with the file and number that an error names; columns are called as now."""
    table = read_table(path, what="a table made by `segmed evaluate`", remedy="Run `segmed evaluate` again.")
    header = present_names(table.header, _counts_of(kind))
    return [
        (dict(zip(header, row, strict=True)), f"{path}, line {line}")
        for row, line in zip(table.rows, table.lines, strict=True)
    ]


def _score(text: str | None, name: str, where: str) -> float:
    try:
        return _from_text(text or "", float)
    except ValueError as error:
        told = shortened(text)
        raise DataError(f"{where}: {name} is {told}, which is no number. Run `segmed evaluate` again.") from error


def _parse(line: Mapping[str, str | None], kind: type[R], where: str, **more: Any) -> R:
    fields = [field for field in dataclasses.fields(kind) if field.name not in more]  # type: ignore[arg-type]  # of dataclasses alone
    try:
        return kind(**{field.name: _from_text(line[field.name], field.type) for field in fields}, **more)
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{where}: {shortened_text(str(error))} is missing or wrong. Run `segmed evaluate` again."
        ) from error


def _from_text(text: str | None, kind: Any) -> Any:
    if text is None:
        raise ValueError("a field of a line that ends early")
    if kind is bool:
        if text not in ("0", "1"):
            raise ValueError(f"{text!r}, which is neither 0 nor 1")
        return text == "1"
    if kind is float:
        value = math.nan if text == "" else float(text)
        if text and math.isnan(value):
            raise ValueError(f"{text!r}, which is no number")
        return value
    value = kind(text)
    if kind is int and abs(value) >= WIDEST:
        raise ValueError("a whole number of more than 64 bits")
    return value
