"""A format of images is one row of one table: reading, writing and listing take it from there."""

from pathlib import Path

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.image import Geometry, Mask
from segmed.core.labels import LabelMap
from segmed.io import formats, read_image, read_mask, write_mask
from segmed.io.formats import FORMATS, ImageFormat
from segmed.io.pixels import Pixels
from segmed.io.volumes import FORMATS as OF_VOLUMES

PGM = ImageFormat(
    "PGM",
    lambda head: head.startswith(b"P5"),
    lambda path, _: Pixels(np.frombuffer(path.read_bytes()[-15:], np.uint8).reshape(3, 5)),
    (".pgm",),
    lambda path, array: path.write_bytes(b"P5 5 3 255\n" + array.tobytes()) and None,
)


def test_a_new_row_is_read_and_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS, PGM))
    monkeypatch.setattr("segmed.io.writing.FORMATS", (*FORMATS, PGM))
    mask = Mask(np.eye(3, 5, dtype=np.uint8), Geometry((3, 5)))
    write_mask(tmp_path / "a.pgm", mask, LabelMap())
    assert (read_mask(tmp_path / "a.pgm", LabelMap()).array == mask.array).all()
    assert read_image(tmp_path / "a.pgm").array.shape == (3, 5, 1)


def test_no_suffix_and_no_name_is_in_two_rows() -> None:
    suffixes = [suffix for row in FORMATS for suffix in row.suffixes]
    suffixes += [suffix for row in OF_VOLUMES for suffix in row.writers]
    assert len(set(suffixes)) == len(suffixes)
    assert len({row.name for row in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize("row", [row for row in FORMATS if row.write_mask is not None], ids=lambda row: row.name)
def test_every_row_tells_what_it_writes_from_all_others(row: ImageFormat, tmp_path: Path) -> None:
    assert row.write_mask is not None
    for suffix in row.suffixes:
        path = tmp_path / f"mask{suffix}"
        with path.open("wb"):
            row.write_mask(path, np.ones((3, 5), np.uint8))
        head = path.read_bytes()[: formats.HEAD]
        assert [other.name for other in FORMATS if other.is_it(head)] == [row.name]


def test_a_format_that_writes_no_mask_is_none_of_masks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jpg: masks cannot be written with suffix '\.jpg'; expected one of \.png"):
        write_mask(tmp_path / "a.jpg", Mask(np.ones((3, 5), np.uint8), Geometry((3, 5))), LabelMap())
