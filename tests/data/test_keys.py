"""The key of pseudonyms lies beside the data, or, where that cannot be written, beside the cache; and that is said."""

import logging
from pathlib import Path

import pytest

from segmed.core.errors import DataError
from segmed.core.pseudonyms import KEY_FILE, Pseudonyms, shareable
from segmed.core.records import SliceDataset
from segmed.data.keys import known_pseudonyms, pseudonyms_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def dataset(folder: Path) -> SliceDataset:
    folder.mkdir(exist_ok=True)
    return SliceDataset("data", folder, ())


def test_looking_for_a_key_makes_none(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    assert known_pseudonyms(data) is None
    made = pseudonyms_of(data)
    assert known_pseudonyms(data) == made
    assert [path.name for path in (tmp_path / "data").iterdir()] == [KEY_FILE]


def test_where_the_data_cannot_be_written_the_key_is_in_the_cache_and_that_is_said(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = dataset(tmp_path / "data")
    of_data = Pseudonyms.of_data

    def read_only(root: Path) -> Pseudonyms:
        if root == data.root:
            raise DataError("read-only")
        return of_data(root)

    monkeypatch.setattr(Pseudonyms, "of_data", staticmethod(read_only))
    with caplog.at_level(logging.WARNING):
        made = pseudonyms_of(data)
    assert "cannot be written, so the key of its pseudonyms is kept in" in caplog.text
    assert str(cache) in caplog.text
    assert pseudonyms_of(data) == known_pseudonyms(data) == made
    assert pseudonyms_of(dataset(tmp_path / "other")) != made


def test_a_damaged_key_is_refused_and_not_passed_by(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    (data.root / KEY_FILE).write_text("zz")
    with pytest.raises(DataError, match=KEY_FILE):
        pseudonyms_of(data)


def test_a_key_that_another_process_made_meanwhile_is_the_key_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Pseudonyms.of_data(tmp_path)
    present = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: path.name != KEY_FILE and present(path))
    assert Pseudonyms.of_data(tmp_path) == theirs
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_paths_for_sharing_lead_from_here_and_never_through_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "jo"
    (home / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")
    assert shareable(home / "work" / "runs" / "a") == "runs/a"
    assert shareable("runs/a") == "runs/a"
    assert shareable(home / "data" / "lgg") == "../data/lgg"
    assert shareable(tmp_path / "data" / "lgg") == "lgg"
    assert shareable(tmp_path / "home" / "ann" / "lgg") == "lgg"
    assert shareable("/") == ""
