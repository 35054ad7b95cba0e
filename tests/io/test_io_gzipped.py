"""gzip in one go gives the bytes that were packed or nothing, and what it leaves is streamed."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.volume import Grid, Volume
from segmed.io import nifti
from segmed.io.gzipped import crc32, unpacked_at_once

WHOLE = np.random.default_rng(7).integers(0, 9, 1237).astype(np.uint8).tobytes()
PACKED = gzip.compress(WHOLE, mtime=0)


def test_one_sound_member_is_unpacked_with_any_header() -> None:
    named = bytes([*PACKED[:3], 8, *PACKED[4:10]]) + b"head.nii\0" + PACKED[10:]
    for packed in (PACKED, named, gzip.compress(WHOLE, 0)):
        found = unpacked_at_once(packed, len(WHOLE))
        assert found is not None
        assert found.tobytes() == WHOLE


@pytest.mark.parametrize(
    ("packed", "size"),
    [
        (PACKED + bytes(8), len(WHOLE)), (PACKED + b"x", len(WHOLE)), (PACKED + PACKED, len(WHOLE)),
        (PACKED + PACKED, 2 * len(WHOLE)), (PACKED + PACKED[-8:], len(WHOLE)), (PACKED, len(WHOLE) - 1),
        (PACKED, len(WHOLE) + 1), (PACKED[:-1], len(WHOLE)), (b"", len(WHOLE)), (b"", 0), (PACKED[:3], 1),
        (gzip.compress(b"", mtime=0), 0),
    ],
)  # fmt: skip
def test_anything_but_one_member_of_the_size_is_left_to_streaming(packed: bytes, size: int) -> None:
    assert unpacked_at_once(packed, size) is None


def test_no_flipped_bit_gives_other_bytes() -> None:
    sound = 0
    for place in range(8 * len(PACKED)):
        flipped = bytearray(PACKED)
        flipped[place // 8] ^= 1 << place % 8
        found = unpacked_at_once(bytes(flipped), len(WHOLE))
        sound += found is not None
        assert found is None or found.tobytes() == WHOLE
    assert 0 < sound < 80  # time, system, and the padding of the last byte say nothing of the bytes


def test_the_checksum_is_that_of_zlib_also_in_parts() -> None:
    array = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    assert crc32(array.data) == zlib.crc32(array.tobytes())
    assert crc32(array[2:].data, crc32(array[:2].data)) == zlib.crc32(array.tobytes())
    assert crc32(b"", 7) == 7


def test_a_packed_volume_is_read_in_one_go_and_one_of_two_members_by_streaming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.random.default_rng(1).integers(0, 900, (3, 5, 4)).astype(np.int16)
    path = tmp_path / "a.nii.gz"
    nifti.write_nifti(path, Volume(array, Grid(array.shape, spacing=(3.0, 1.0, 1.0))), packed=True)
    whole = gzip.decompress(path.read_bytes())
    with monkeypatch.context() as patch:
        patch.delattr(nifti, "_streamed")
        found = nifti.read_nifti(path).array
        np.testing.assert_array_equal(found, array)
        assert found.flags.writeable
        assert found.flags.aligned
    path.write_bytes(gzip.compress(whole[:400]) + gzip.compress(whole[400:]) + bytes(512))
    np.testing.assert_array_equal(nifti.read_nifti(path).array, array)
    path.write_bytes(gzip.compress(whole) * 2)
    with pytest.raises(DataError, match=r"a\.nii\.gz: damaged .*more bytes than the 120 of voxels"):
        nifti.read_nifti(path)
