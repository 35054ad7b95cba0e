"""What is said beside a result can be copied into a shell."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.table import Table

import segmed.cli
from segmed.cli.main import run
from segmed.cli.messages import console, input_options, next_step, note, say


def test_the_next_command_is_quoted_and_reads_the_data_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    next_step("segmed", "evaluate", "runs/a b", *input_options("background=0,rim=1", r"^(p\d+)"), "--out", "report")
    expected = "Next: segmed evaluate 'runs/a b' --labels background=0,rim=1 --patient-regex '^(p\\d+)' --out report\n"
    assert capsys.readouterr().err == expected


def test_what_was_not_said_is_not_repeated() -> None:
    assert input_options(None, None) == ()


def test_what_is_said_can_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    say("runs/a\x1b[2J\nb")
    note("\x1b]0;title\x07")
    said = capsys.readouterr()
    assert said.out == "runs/a\\x1b[2J\nb\n"
    assert said.err == "Note: \\x1b]0;title\\x07\n"


def test_names_in_tables_are_neither_obeyed_nor_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("[/red]", title="[bold]t\x1b[31m")
    table.add_row("a\x1b[2Jb [/] [link=http://x]c :smile:")
    console(width=80).print(table)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[/red]" in shown
    assert r"a\x1b[2Jb [/] [link=http://x]c :smile:" in shown
    assert r"[bold]t\x1b[31m" in shown


def test_everything_is_printed_by_one_module() -> None:
    folder = Path(segmed.cli.__file__).parent
    raw = re.compile(r"typer\.s?echo|\bprint\(|(?<!\.)\bConsole\(|click\.s?echo|std(out|err)\.write")
    found = {
        path.name: line
        for path in folder.glob("*.py")
        if path.name != "messages.py"
        for line in path.read_text().splitlines()
        if raw.search(line) and "console.print(" not in line and "shown.print(" not in line
    }
    assert found == {}


def test_a_data_set_with_escape_sequences_in_its_names_is_checked_without_obeying_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            name = f"p\x1b[31m{number}\x9b2J [b]"
            Image.fromarray(np.zeros((9, 7), np.uint8)).save(tmp_path / folder / f"{name}.png")
    (tmp_path / "images" / "x\x1b[2J.txt").write_text("")
    (tmp_path / "images" / "y\x1b[2J[b].png").write_bytes(b"no picture")
    monkeypatch.setattr(sys, "argv", ["segmed", "data", "check", str(tmp_path), "--all"])
    with pytest.raises(SystemExit):
        run()
    told = capfd.readouterr()
    assert not {"\x1b", "\x9b"} & set(told.out + told.err)
    assert "\\x1b[" in told.out + told.err
