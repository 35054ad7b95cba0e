"""`summary.csv` beside predicted masks: how large each label is in each volume."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segmed.core.errors import DataError
from segmed.core.files import write_table
from segmed.core.reading import read_table
from segmed.core.volume import Grid

SUMMARY = "summary.csv"
COLUMNS = ("case", "label", "voxels", "ml", "ml_low", "ml_high", "opinions")
Row = tuple[str, ...]
"""The fields of a line behind the case, as they stand in the table."""
WHAT, REMEDY = "a summary made by `segmed predict`", "Remove it, and the rows are made again."


@dataclass(frozen=True)
class LabelVolume:
    """The size of one label in one volume.

    `ml` is that of one voxel, None where spacing is not known. `low` and `high` are the fewest and the most voxels by
    any of the `opinions`, the masks themselves included; None where there is one.
    """

    label: str
    voxels: int
    ml: float | None
    opinions: int
    low: int | None = None
    high: int | None = None

    @property
    def row(self) -> Row:
        """The fields of the table behind the case."""
        ml = (self._ml(count) for count in (self.voxels, self.low, self.high))
        return (self.label, str(self.voxels), *ml, str(self.opinions))

    def _ml(self, count: int | None) -> str:
        return "" if self.ml is None or count is None else f"{count * self.ml:.6g}"


def voxel_ml(grid: Grid) -> float | None:
    """Millilitres of a voxel; None where the spacing is not known. Sheared axes are allowed for."""
    if grid.affine is not None:
        return float(abs(np.linalg.det(grid.affine[:3, :3]))) / 1000
    return None if grid.spacing is None else math.prod(grid.spacing) / 1000


def write_summary(path: Path, rows: Mapping[str, Sequence[Row]]) -> None:
    """Write the rows of each volume by its name, as a whole."""
    write_table(path, COLUMNS, [[name, *row] for name, some in rows.items() for row in some])


def read_summary(path: Path) -> dict[str, list[Row]]:
    """The rows of each volume, as they stand; nothing where there is no such file.

    Raises:
        DataError: The file is another table, or none.
    """
    if not path.exists():
        return {}
    table = read_table(path, what=WHAT, remedy=REMEDY)
    if table.header != COLUMNS:
        raise DataError(f"{path}: expected {WHAT}, with columns {', '.join(COLUMNS)}. {REMEDY}")
    rows: dict[str, list[Row]] = {}
    for name, *fields in table.rows:
        rows.setdefault(name, []).append(tuple(fields))
    return rows
