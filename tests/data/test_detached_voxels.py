"""Volumes whose voxels lie in a file beside their header: a change of that file is a change of the volume."""

from pathlib import Path

import pytest

from segmed.data.check import check
from segmed.data.check.hashes import write_hashes
from segmed.data.decoded import decode
from segmed.data.sources import open_dataset

DETACHED = {
    "a.nrrd": "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\ndata file: a.raw\n\n",
    "a.mha": "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = a.raw\n",
}
"""Headers whose voxels lie in a file beside them, by name."""


def detached(root: Path, name: str, value: int) -> Path:
    """A manifest of one volume of this value, whose voxels lie in a file of their own."""
    root.mkdir(exist_ok=True)
    (root / "a.raw").write_bytes(bytes([value] * 24))
    if not (root / name).exists():
        (root / name).write_text(DETACHED[name])
        (root / "list.csv").write_text(f"case,patient,image\na,a,{name}\n")
    return root / "list.csv"


@pytest.mark.parametrize("name", DETACHED)
def test_a_changed_file_of_voxels_is_decoded_again_though_its_header_is_as_it_was(tmp_path: Path, name: str) -> None:
    decode(open_dataset(detached(tmp_path / "set", name, 5)), cache_dir=tmp_path / "cache")
    data = decode(open_dataset(detached(tmp_path / "set", name, 9)), cache_dir=tmp_path / "cache")
    assert (data.image("a_1") == 9).all()


@pytest.mark.parametrize("name", DETACHED)
def test_a_list_of_hashes_names_the_file_of_voxels_too(tmp_path: Path, name: str) -> None:
    manifest = detached(tmp_path / "set", name, 5)
    write_hashes(tmp_path / "hashes.csv", open_dataset(manifest))
    detached(tmp_path / "set", name, 9)
    errors = check(manifest, hashes=tmp_path / "hashes.csv").errors
    assert [(finding.code, finding.where) for finding in errors] == [("hash-changed", "a.raw")]
