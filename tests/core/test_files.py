"""Files are whole or absent."""

import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest

from segmed.core.errors import ConfigError, DataError
from segmed.core.files import (
    copy_file,
    emptied_on_failure,
    exclusive_lock,
    refuse_links,
    remove_leftovers,
    require_own_folder,
    write_json,
    write_table,
    write_text,
    written_aside,
)


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


def test_a_full_disk_that_safetensors_tells_of_in_words_alone_has_the_remedy_of_one(tmp_path: Path) -> None:
    told = OSError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(DataError, match=r"a\.txt: cannot be written .* Free some space or"):
        write(tmp_path / "a.txt", "new", fail=told)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(DataError, match=r"a\.txt: cannot be written \(No space left"):
        write(tmp_path / "a.txt", "half", fail=full)
    assert names(tmp_path) == []


def test_json_refuses_nan_rather_than_write_what_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_names_that_are_no_utf8_are_written_so_that_they_can_be_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "a.json", {"data": name})
    write_table(tmp_path / "a.csv", ["name"], [[name]])
    write_text(tmp_path / "a.html", f"<p>{name}</p>")
    for file in ("a.json", "a.csv", "a.html"):
        assert r"caf\udce9" in (tmp_path / file).read_text(encoding="utf-8")


def test_a_table_has_every_digit_and_nothing_for_what_is_not_known(tmp_path: Path) -> None:
    rows = [["a, b", 1 / 3, float("nan"), None], ['"c"', 2, True, np.float64(0.1)]]
    write_table(tmp_path / "a.csv", ["name", "x", "y", "z"], rows)
    expected = b'name,x,y,z\n"a, b",0.3333333333333333,,\n"""c""",2,1,0.1\n'
    assert (tmp_path / "a.csv").read_bytes() == expected


def test_a_folder_is_held_once_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    with exclusive_lock(Path()) as first, exclusive_lock(tmp_path / "run") as second:
        assert (first, second) == (True, False)
    with exclusive_lock(tmp_path / "run") as again:
        assert again


def test_a_folder_that_cannot_be_held_for_want_of_a_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match=r"run: cannot be written \(.*\)\. Choose another"),
        exclusive_lock(tmp_path / "file" / "run"),
    ):
        pass


def test_a_name_as_long_as_the_system_allows_is_written(tmp_path: Path) -> None:
    write(tmp_path / ("a" * 251 + ".txt"), "whole")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]
    with pytest.raises(DataError, match="Give it a shorter name"):
        write(tmp_path / ("a" * 256), "")


def test_what_a_kill_left_is_removed_by_the_next_write_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    for name in (".segmed-part-old.png", ".segmed-part-new.png", ".hidden"):
        (tmp_path / name).touch()
    os.utime(tmp_path / ".segmed-part-old.png", (time.time() - 4000,) * 2)
    write(tmp_path / "a.txt", "")
    assert names(tmp_path) == [".hidden", ".segmed-part-new.png", "a.txt"]


def test_whoever_works_alone_removes_all_that_kills_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".segmed-part-folder" / "deep").mkdir(parents=True)
    (tmp_path / ".segmed-part-file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / ".segmed-part-link").symlink_to(tmp_path / "mine")
    (tmp_path / "mine" / "kept.txt").touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["mine"]
    assert names(tmp_path / "mine") == ["kept.txt"]


@pytest.mark.parametrize("target", ["elsewhere", "elsewhere/file.txt", "nowhere"])
def test_a_link_at_any_depth_is_refused_by_name(tmp_path: Path, target: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file.txt").touch()
    deep = tmp_path / "run" / "a" / "b"
    deep.mkdir(parents=True)
    refuse_links(tmp_path / "run")
    (deep / "link").symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=r"a/b/link: is a symbolic link"):
        refuse_links(tmp_path / "run")


def test_a_folder_that_is_a_link_itself_is_refused_where_nobody_named_it(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    refuse_links(tmp_path / "run")
    refuse_links(tmp_path / "run" / "not-there-yet", itself=True)
    with pytest.raises(DataError, match="run: is a symbolic link"):
        refuse_links(tmp_path / "run", itself=True)


def test_a_copy_replaces_a_link_and_leaves_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("new")
    (tmp_path / "precious").write_text("old")
    (tmp_path / "target").symlink_to(tmp_path / "precious")
    copy_file(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "precious").read_text() == "old"
    assert (tmp_path / "target").read_text() == "new"
    assert not (tmp_path / "target").is_symlink()


def test_a_file_that_cannot_be_copied_is_said_to_be_unreadable_and_no_folder_to_be_unwritable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"source: cannot be read \(No such file or directory\)\. Check that it exists"):
        copy_file(tmp_path / "source", tmp_path / "target")
    assert not list(tmp_path.iterdir())


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("old")
    (tmp_path / "run.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(DataError, match="in place of a lock"), exclusive_lock(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "old"


def test_what_is_made_in_a_folder_of_its_own_lies_among_no_other_files(tmp_path: Path) -> None:
    require_own_folder(tmp_path / "new", marker="mark", made="an ensemble")
    (tmp_path / ".DS_Store").touch()
    require_own_folder(tmp_path, marker="mark", made="an ensemble")
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="already holds files, and not an ensemble"):
        require_own_folder(tmp_path, marker="mark", made="an ensemble")
    (tmp_path / "mark").touch()
    require_own_folder(tmp_path, marker="mark", made="an ensemble")


@pytest.mark.parametrize("was_there", [True, False])
def test_what_a_block_that_is_stopped_has_left_in_an_empty_folder_goes(tmp_path: Path, was_there: bool) -> None:
    folder = tmp_path / "run"
    if was_there:
        folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        _stopped_in(folder)
    assert folder.exists() == was_there
    assert not was_there or not list(folder.iterdir())


def test_a_folder_that_held_files_before_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(KeyboardInterrupt):
        _stopped_in(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config.json", "members", "mine.txt"]


def _stopped_in(folder: Path) -> None:
    with emptied_on_failure(folder):
        (folder / "members").mkdir(parents=True)
        (folder / "members" / "model.safetensors").touch()
        (folder / "config.json").touch()
        raise KeyboardInterrupt


def test_what_a_block_that_ends_well_has_written_stays(tmp_path: Path) -> None:
    with emptied_on_failure(tmp_path / "run"):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.json").touch()
    assert (tmp_path / "run" / "config.json").is_file()
