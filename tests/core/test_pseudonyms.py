"""Pseudonyms say nothing without their key, which stays beside the data."""

import hashlib
from pathlib import Path

import pytest

from segmed.core.errors import DataError
from segmed.core.pseudonyms import KEY_FILE, Pseudonyms, shareable_command, without_places

IDS = [f"TCGA_{number:04d}" for number in range(300)]


def test_names_of_one_key_are_equal_and_differ_from_id_to_id_and_key_to_key() -> None:
    first, second = Pseudonyms(b"a" * 32), Pseudonyms(b"b" * 32)
    names = first.names(IDS, prefix="patient")
    assert names == Pseudonyms(b"a" * 32).names(IDS, prefix="patient")
    assert len(set(names.values())) == len(IDS)
    assert not set(names.values()) & set(second.names(IDS, prefix="patient").values())


def test_a_plain_hash_of_the_id_is_no_part_of_a_name() -> None:
    names = Pseudonyms(b"k" * 32).names(IDS, prefix="patient")
    plain = {hashlib.sha256(each.encode()).hexdigest()[:8] for each in IDS}
    assert not plain & {name.removeprefix("patient-") for name in names.values()}


def test_the_key_is_made_once_beside_the_data_for_its_owner_alone(tmp_path: Path) -> None:
    first, again = Pseudonyms.of_data(tmp_path), Pseudonyms.of_data(tmp_path)
    assert first == again
    assert first != Pseudonyms.for_once()
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["", "zz", "ab" * 31])
def test_a_damaged_key_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / KEY_FILE).write_text(content)
    with pytest.raises(DataError, match=KEY_FILE):
        Pseudonyms.of_data(tmp_path)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("segmed evaluate /home/jo/runs/unet --data '/data/lgg'", "segmed evaluate unet --data 'lgg'"),
        ('{"run": "/home/jo/x", "model": "owner/name"}', '{"run": "x", "model": "owner/name"}'),
        (
            r"--patient-regex '^(?P<patient>p\d+)_(?P<slice>\d+)$'",
            r"--patient-regex '^(?P<patient>p\d+)_(?P<slice>\d+)$'",
        ),
        (r"from \\server\share\jo\lgg", "from lgg"),
        ("C:\\Users\\jo\\runs and ~/runs/a", "runs and a"),
        ("1/2 of it, 3 / 4, runs/unet, https://example.org/a", "1/2 of it, 3 / 4, runs/unet, https://example.org/a"),
    ],
)
def test_absolute_paths_keep_their_last_part_alone(text: str, left: str) -> None:
    assert without_places(text) == left


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("segmed evaluate '/Users/Jane Doe/runs/unet'", "segmed evaluate 'unet'"),
        ('failed: "/mnt/St Mary/John Smith 1961/preds/": gone', 'failed: "preds": gone'),
        ("it's /home/jo/a.png and isn't '~/My Data/b c.png'", "it's a.png and isn't 'b c.png'"),
    ],
)
def test_quoted_places_with_spaces_are_cut_to_their_last_part(text: str, kept: str) -> None:
    assert without_places(text) == kept


def test_a_command_for_sharing_has_its_places_cut_word_by_word_and_all_else_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home" / "Jane Doe" / "here").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "Jane Doe"))
    monkeypatch.chdir(tmp_path / "home" / "Jane Doe" / "here")
    words = [
        "segmed", "compare", "net=/mnt/St Mary/John Smith 1961", "mean=/mnt/x/a,/mnt/x/b", "runs/c", "../../../other/d",
        "~/runs/e f", "--set", "preprocess.size=[64, 64]", "--patient-regex", "^(.+)/x", "--groups", "age:40:60",
    ]  # fmt: skip
    assert shareable_command(words) == (
        "segmed compare 'net=John Smith 1961' mean=a,b runs/c ../../../other/d '../runs/e f' "
        "--set 'preprocess.size=[64, 64]' --patient-regex '^(.+)/x' --groups age:40:60"
    )
