"""Masks are written whole or not at all, and read back the same."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.image import Geometry, Mask
from segmed.core.labels import LabelMap
from segmed.io import read_mask, write_mask
from segmed.io.formats import MASK_SUFFIXES

MASK = Mask(np.array([[0, 1, 2, 0, 1], [2, 2, 0, 0, 1], [0, 0, 0, 1, 1]], np.uint8), Geometry((3, 5)))
GREYS = LabelMap(("rim", "cup"), (0, 100, 200))
COLOURS = LabelMap(("rim", "cup"), ((0, 0, 0), (255, 128, 0), (0, 0, 255)))


@pytest.mark.parametrize("labels", [GREYS, COLOURS], ids=["greys", "colours"])
@pytest.mark.parametrize("suffix", MASK_SUFFIXES)
def test_a_written_mask_is_read_back_the_same(tmp_path: Path, suffix: str, labels: LabelMap) -> None:
    path = tmp_path / f"a{suffix}"
    write_mask(path, MASK, labels)
    assert np.array_equal(read_mask(path, labels).array, MASK.array)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [suffix.upper() for suffix in MASK_SUFFIXES])
def test_a_mask_is_written_whole_where_its_suffix_is_in_capitals(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_mask(path, MASK, GREYS)
    assert np.array_equal(read_mask(path, GREYS).array, MASK.array)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", MASK_SUFFIXES)
def test_a_full_disk_gives_a_clear_error_and_leaves_the_old_file(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)\. Free some space"):
        write_mask(path, MASK, GREYS)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["a.jpg", "a"])
def test_a_lossy_or_unknown_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"masks cannot be written .*expected one of \.png"):
        write_mask(tmp_path / name, MASK, GREYS)


def test_a_label_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: label 2 in the mask, but only 1 are named"):
        write_mask(tmp_path / "a.png", MASK, LabelMap())
    assert not (tmp_path / "a.png").exists()
