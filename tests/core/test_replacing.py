"""A folder is replaced as a whole, whenever the process is killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from segmed.core.errors import DataError
from segmed.core.replacing import is_own, replaced

SCRIPT = """
import os, sys
from pathlib import Path
from segmed.core.replacing import replaced

folder, left = Path(sys.argv[1]), int(sys.argv[2])

def dying(do):
    def step(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        return do(*arguments, **options)
    return step

for name in ("replace", "unlink", "mkdir", "rmdir"):
    setattr(os, name, dying(getattr(os, name)))
with replaced(folder, marker="done", listed=lambda folder: [folder / "a", folder / "old/b"]) as fresh:
    (fresh / "new").mkdir()
    (fresh / "a").write_text("new")
    (fresh / "new/c").write_text("new")
    (fresh / "done").write_text("new")
"""


def replace(folder: Path, files: dict[str, str], ours: list[str] | None = None) -> None:
    with replaced(folder, marker="done", listed=lambda folder: [folder / name for name in ours or []]) as fresh:
        for name, text in files.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_files_of_ours_that_are_not_written_again_go_and_those_of_others_stay(tmp_path: Path) -> None:
    replace(tmp_path / "x", {"a": "1", "sub/deep/b": "1", "done": "1"})
    (tmp_path / "x" / "mine").write_text("kept")
    (tmp_path / "x" / "sub" / "mine").write_text("kept")
    replace(tmp_path / "x", {"a": "2", "done": "2"}, ["a", "sub/deep/b", "done"])
    assert contents(tmp_path / "x") == {"a": "2", "done": "2", "mine": "kept", "sub/mine": "kept"}
    assert not (tmp_path / "x" / "sub" / "deep").exists()


def test_a_failure_in_the_block_changes_nothing(tmp_path: Path) -> None:
    replace(tmp_path, {"a": "1", "done": "1"})
    with pytest.raises(DataError, match="cannot be written"):
        replace(tmp_path, {"a": "2", "sub/b": "2", "sub": "a folder cannot be written to"}, ["a"])
    assert contents(tmp_path) == {"a": "1", "done": "1"}


def test_a_folder_in_the_way_of_a_file_is_refused_before_anything_changes(tmp_path: Path) -> None:
    replace(tmp_path, {"done": "1"})
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="a: is a folder, where a file"):
        replace(tmp_path, {"a": "2", "done": "2"})
    assert contents(tmp_path) == {"done": "1"}


def test_a_folder_whose_move_failed_halfway_is_known_as_ours_and_made_whole_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, moved = Path.replace, []

    def once(path: Path, target: Path) -> Path:
        moved.append(target)
        if len(moved) == 2:
            raise PermissionError(13, "open in a spreadsheet")
        return move(path, target)

    monkeypatch.setattr(Path, "replace", once)
    with pytest.raises(DataError, match="open in a spreadsheet"):
        replace(tmp_path, {"a": "1", "b": "1", "done": "1"})
    assert not (tmp_path / "done").exists()
    assert is_own(tmp_path, "done")
    replace(tmp_path, {"a": "2", "b": "2", "done": "2"})
    assert contents(tmp_path) == {"a": "2", "b": "2", "done": "2"}


@pytest.mark.parametrize("place", ["x", "x/sub"])
def test_nothing_is_written_or_removed_through_a_link(tmp_path: Path, place: str) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "b").write_text("old")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).symlink_to(tmp_path / "precious")
    with pytest.raises(DataError, match=f"{place}: is a symbolic link"):
        replace(tmp_path / "x", {"sub/a": "2", "done": "2"}, ["sub/b"])
    assert contents(tmp_path / "precious") == {"b": "old"}


def test_a_kill_at_any_step_leaves_the_old_or_the_new_or_nothing_that_looks_whole(tmp_path: Path) -> None:
    old = {"a": "old", "old/b": "old", "done": "old", "mine": "kept"}
    new = {"a": "new", "new/c": "new", "done": "new", "mine": "kept"}
    seen = set()
    for step in range(1, 100):
        folder = tmp_path / str(step)
        for name, text in old.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        killed = subprocess.run([sys.executable, "-c", SCRIPT, str(folder), str(step)], check=False).returncode == 9
        found = {name: text for name, text in contents(folder).items() if not name.startswith(".")}
        state = "old" if found == old else "new" if found == new else "neither"
        assert state != "neither" or "done" not in found, f"killed at step {step}: {found}"
        seen.add(state)
        assert is_own(folder, "done"), f"killed at step {step}"
        replace(folder, {"a": "new", "new/c": "new", "done": "new"}, ["a", "old/b"])
        assert contents(folder) == new, f"killed at step {step}"
        if not killed:
            break
    assert seen == {"old", "neither", "new"}
