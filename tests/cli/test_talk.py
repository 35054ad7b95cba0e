"""What is said beside a result can be copied into a shell."""

import pytest

from segmed.cli.talk import next_step, reading


def test_the_next_command_is_quoted_and_reads_the_data_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    next_step("segmed", "evaluate", "runs/a b", *reading("background=0,rim=1", r"^(p\d+)"), "--out", "report")
    expected = "Next: segmed evaluate 'runs/a b' --labels background=0,rim=1 --patient-regex '^(p\\d+)' --out report\n"
    assert capsys.readouterr().err == expected


def test_what_was_not_said_is_not_repeated() -> None:
    assert reading(None, None) == ()
