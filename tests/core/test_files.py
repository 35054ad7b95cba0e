"""Files are whole or absent."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.files import held, read_json, write_json, write_table, written_aside


def write(target: Path, text: str, *, fail: Exception | None = None) -> None:
    with written_aside(target) as temporary:
        temporary.write_text(text)
        if fail is not None:
            raise fail


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write(target, "old")
    with pytest.raises(RuntimeError):
        write(target, "half", fail=RuntimeError())
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(DataError, match=r"a\.txt: cannot be written \(No space left"):
        write(tmp_path / "a.txt", "half", fail=full)
    assert names(tmp_path) == []


def test_json_refuses_nan_rather_than_write_what_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_broken_json_is_named_with_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json: not valid JSON, expected a split"):
        read_json(tmp_path / "a.json", what="a split")


def test_a_table_has_every_digit_and_nothing_for_what_is_not_known(tmp_path: Path) -> None:
    rows = [["a, b", 1 / 3, float("nan"), None], ['"c"', 2, True, np.float64(0.1)]]
    write_table(tmp_path / "a.csv", ["name", "x", "y", "z"], rows)
    expected = b'name,x,y,z\n"a, b",0.3333333333333333,,\n"""c""",2,1,0.1\n'
    assert (tmp_path / "a.csv").read_bytes() == expected


def test_a_folder_is_held_once_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    with held(Path()) as first, held(tmp_path / "run") as second:
        assert (first, second) == (True, False)
    with held(tmp_path / "run") as again:
        assert again


def test_a_folder_that_cannot_be_held_for_want_of_a_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match=r"run: cannot be written \(.*\)\. Choose another"),
        held(tmp_path / "file" / "run"),
    ):
        pass
