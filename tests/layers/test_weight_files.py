"""Weights from others: tensors alone, whatever the file holds."""

import io
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch

from segmed.core.errors import ModelError
from segmed.layers.weight_files import read_pickled, read_safetensors


def checkpoint() -> bytes:
    stream = io.BytesIO()
    torch.save({"a.weight": torch.arange(35.0).reshape(5, 7), "epoch": 3}, stream)
    return stream.getvalue()


def test_a_checkpoint_is_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(checkpoint())
    found = read_pickled(tmp_path / "a.pth")
    assert found["a.weight"].shape == (5, 7)
    assert found["epoch"] == 3


@pytest.mark.parametrize("content", [b"", b"x", pickle.dumps([1, 2]), pickle.dumps({1: 2}), b"PK\x05\x06" + bytes(18)])
def test_what_holds_no_named_tensors_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.pth: "):
        read_pickled(tmp_path / "a.pth")


def test_a_checkpoint_with_flipped_bits_is_read_or_an_error_that_names_the_file(tmp_path: Path) -> None:
    whole, draw = checkpoint(), random.Random(0)
    told = list[str]()
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        (tmp_path / "a.pth").write_bytes(damaged)
        try:
            read_pickled(tmp_path / "a.pth")
        except ModelError as error:
            told.append(str(error))
    assert len(told) > 10
    assert all("a.pth: " in each for each in told)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(io.BytesIO(checkpoint())) as stored,
        zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for each in stored.infolist():
            packed.writestr(each.filename, stored.read(each))
    with pytest.raises(ModelError, match=r"a\.pth: is a compressed archive"):
        read_pickled(tmp_path / "a.pth")


def test_a_tensor_that_is_larger_than_what_is_stored_of_it_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1).expand(10**12)}}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"a\.pth: 'a' is larger than what is stored of it"):
        read_pickled(tmp_path / "a.pth")


def test_a_damaged_safetensors_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 30)
    with pytest.raises(ModelError, match=r"a\.safetensors: weights cannot be read"):
        read_safetensors(tmp_path / "a.safetensors")
