"""CONTRIBUTING names files and tables that are there, and at most three beside a change's test."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line.strip("| \n").split(" | ")
    for line in (ROOT / "CONTRIBUTING.md").read_text().split("## Five changes")[1].splitlines()
    if line.startswith("| A ")
]
FILE = re.compile(r"`((?:tests/)?[a-z_]+/[\w/]+\.py)`")


def test_there_are_five_changes() -> None:
    assert [row[0] for row in ROWS] == [
        "A loss", "A metric", "A reader of volumes", "A promptable family", "A command",
    ]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_change_names_at_most_three_files_and_all_are_there(row: list[str]) -> None:
    touched, tests = FILE.findall(row[1]), FILE.findall(row[2])
    assert 1 <= len(touched) <= 3
    assert all((ROOT / "src" / "segmed" / path).is_file() for path in touched)
    assert tests
    assert all((ROOT / path).is_file() for path in tests)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_change_names_tables_that_are_there(row: list[str]) -> None:
    sources = "".join((ROOT / "src" / "segmed" / path).read_text() for path in FILE.findall(row[1]))
    tables = re.findall(r"`([A-Z][A-Z_]+|[A-Z][a-zA-Z]+)`", row[1])
    assert tables
    assert [name for name in tables if not re.search(rf"\b{name}\b", sources)] == []
