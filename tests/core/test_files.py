"""Files are whole or absent."""

import errno
import os
from pathlib import Path

import pytest

from segmed.core.errors import DataError
from segmed.core.files import read_json, write_json, written_aside


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
