"""The tables of scores by group: a section per column, groups down, systems across."""

from collections.abc import Sequence
from dataclasses import dataclass

from segmed.core.units import Unit
from segmed.evaluation.groups import GroupTable, unit_of_tables
from segmed.evaluation.report import numbers
from segmed.evaluation.report.tables import Cell
from segmed.evaluation.statistics import Interval

SUMMARIES = (
    ("equity-scaled, std", "equity_std"),
    ("equity-scaled, sum", "equity_sum"),
    ("largest gap", "gap"),
)


@dataclass(frozen=True)
class GroupRow:
    """A group, or a summary over groups, under every system; `size` of patients, or images where these are unknown."""

    name: str
    size: str
    cells: tuple[Cell, ...]
    summary: bool = False


@dataclass(frozen=True)
class GroupSection:
    """One column's table."""

    title: str
    systems: tuple[str, ...]
    rows: tuple[GroupRow, ...]
    unit: Unit


def group_sections(tables: Sequence[GroupTable]) -> tuple[GroupSection, ...]:
    """Tables of one column side by side. Systems are scored on the same patients, so they share groups and sizes."""
    by_column: dict[str, list[GroupTable]] = {}
    for table in tables:
        by_column.setdefault(table.column, []).append(table)
    return tuple(_section(column, some) for column, some in by_column.items())


def _section(column: str, tables: Sequence[GroupTable]) -> GroupSection:
    rows = [
        GroupRow(group.group, numbers.count(group.n), tuple(_cell(table.groups[index].score) for table in tables))
        for index, group in enumerate(tables[0].groups)
    ]
    known = numbers.count(tables[0].overall.n)
    rows.append(GroupRow("all of known group", known, tuple(_cell(table.overall.score) for table in tables), True))
    for title, field in SUMMARIES:
        rows.append(GroupRow(title, "", tuple(_cell(getattr(table, field)) for table in tables), True))
    return GroupSection(column, tuple(table.system for table in tables), tuple(rows), unit_of_tables(tables))


def _cell(found: Interval) -> Cell:
    return Cell(numbers.number(found.value, 3), numbers.interval(found.low, found.high, 2))
