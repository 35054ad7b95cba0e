"""NRRD and MetaImage in and out, checked by SimpleITK, and what is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from segmed import read_volume, write_volume
from segmed.core.errors import DataError, MissingDependencyError
from segmed.io.volumes import files_read
from volume_checks import (
    DTYPES,
    comes_back,
    has_no_geometry_afterwards,
    is_refused_wherever_it_is_cut,
    refused_of_flips,
)
from volume_phantoms import volume_of

FLIP = np.diag([-1.0, -1, 1])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES), st.sampled_from([".nrrd", ".mha"]), st.booleans())
def test_volumes_of_any_geometry_come_back_and_simpleitk_agrees(
    tmp_path_factory: pytest.TempPathFactory, seed: int, dtype: str, suffix: str, sheared: bool
) -> None:
    volume = volume_of(seed, dtype, sheared=sheared)
    path = tmp_path_factory.mktemp("round") / f"a{suffix}"
    comes_back(path, volume)
    theirs = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(theirs), volume.array)
    for corner in ((0, 0, 0), tuple(side - 1 for side in volume.grid.shape)):
        place = FLIP @ theirs.TransformIndexToPhysicalPoint([int(each) for each in corner[::-1]])
        np.testing.assert_allclose(place, (volume.grid.affine @ (*corner, 1))[:3], atol=1e-3)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("spacing", [None, (5.0, 1.0, 1.5)])
def test_what_has_no_geometry_has_none_afterwards(
    tmp_path: Path, suffix: str, spacing: tuple[float, float, float] | None
) -> None:
    array = has_no_geometry_afterwards(tmp_path / f"a{suffix}", spacing)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"a{suffix}"))), array)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_a_header_with_its_voxels_beside_it_is_read(tmp_path: Path, suffix: str, packed: bool) -> None:
    array = np.arange(3 * 5 * 7, dtype=np.int16).reshape(3, 5, 7)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"a{suffix}"), packed)
    np.testing.assert_array_equal(read_volume(tmp_path / f"a{suffix}").array, array)


@pytest.mark.parametrize(("suffix", "beside"), [(".nhdr", ".raw"), (".mhd", ".raw"), (".nrrd", None), (".mha", None)])
def test_a_volume_names_all_files_that_it_is_read_from(tmp_path: Path, suffix: str, beside: str | None) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((2, 3, 4), np.int16)), str(path), False)
    assert files_read(path) == ((path,) if beside is None else (path, tmp_path / f"a{beside}"))


NRRD = """NRRD0004
type: short
dimension: 3
space: {space}
sizes: 3 2 1
space directions: (2,0,0) (0,3,0) (0,0,4)
space origin: (10,20,30)
endian: big
encoding: raw
{extra}
"""


def nrrd(path: Path, space: str = "RAS", extra: str = "kinds: domain domain domain") -> Path:
    path.write_bytes(NRRD.format(space=space, extra=extra).encode() + b"\n" + np.arange(6, dtype=">i2").tobytes())
    return path


@pytest.mark.parametrize(
    ("space", "signs"),
    [("RAS", (1, 1)), ("right-anterior-superior", (1, 1)), ("LAS", (-1, 1)), ("left-posterior-superior", (-1, -1))],
)
def test_each_of_the_patient_spaces_of_nrrd_is_turned_to_ras(
    tmp_path: Path, space: str, signs: tuple[int, int]
) -> None:
    volume = read_volume(nrrd(tmp_path / "a.nrrd", space))
    assert volume.array.ravel().tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(volume.grid.affine @ (0, 0, 0, 1), (10 * signs[0], 20 * signs[1], 30, 1))
    np.testing.assert_allclose(volume.grid.affine @ (0, 0, 1, 0), (2 * signs[0], 0, 0, 0))


def test_a_scanner_space_is_no_place_in_the_patient(tmp_path: Path) -> None:
    grid = read_volume(nrrd(tmp_path / "a.nrrd", "scanner-xyz")).grid
    assert (grid.has_geometry, grid.spacing) == (False, (4, 3, 2))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('space units: "m" "m" "m"', "lengths in m, expected mm"),
        ("data file: ../secret.raw", "expected a file in the same folder"),
        ("data file: LIST", "voxels in several files"),
        ("data file: slice%02d.raw 1 9 1", "voxels in several files"),
        ("byte skip: 3", "byteskip 3"),
        ("spacs: RAS", "unknown field 'spacs'"),
        ("space: LPS", "'space' is stated twice"),
    ],
)
def test_headers_that_do_not_say_one_thing_are_refused(tmp_path: Path, extra: str, message: str) -> None:
    with pytest.raises(DataError, match=f"a.nrrd: .*{message}"):
        read_volume(nrrd(tmp_path / "a.nrrd", extra=extra))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ElementDataFile = LOCAL", "ElementDataFile = /etc/hostname", "expected a file in the same folder"),
        ("NDims = 3", "NDims = 4", "NDims = 4, expected 3"),
        ("BinaryData = True", "BinaryData = True\nElementNumberOfChannels = 3", "ElementNumberOfChannels = 3"),
        ("BinaryData = True", "BinaryData = True\nDistanceUnits = um", "DistanceUnits = um, expected mm"),
        ("ElementType = MET_SHORT", "ElementType = MET_LONG", "voxels of type MET_LONG"),
        ("Offset = 0 0 0\n", "", "axes without the place"),
        ("DimSize = 7 5 3", "DimSize = 7 5 4", "bytes of voxels, expected 280"),
        ("DimSize = 7 5 3", "DimSize = 70000 50000 3", "more than the limit of 2048 MiB"),
    ],
)
def test_metaimages_that_do_not_say_one_thing_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 5, 7), np.int16)), str(path), False)
    stored = path.read_bytes()
    assert old.encode() in stored
    path.write_bytes(stored.replace(old.encode(), new.encode()))
    with pytest.raises(DataError, match=message):
        read_volume(path)


def test_colours_and_2d_images_are_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 5, 7, 3), np.uint8), isVector=True), str(tmp_path / "a.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 7), np.uint8)), str(tmp_path / "b.nrrd"))
    for name, found in (("a.nrrd", "4 axes"), ("b.nrrd", "2 axes")):
        with pytest.raises(DataError, match=f"{name}: {found}, expected three"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_cut_or_lengthened_file_is_refused_wherever_it_is_cut(tmp_path: Path, suffix: str) -> None:
    is_refused_wherever_it_is_cut(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_flipped_bit_never_changes_voxels(tmp_path: Path, suffix: str) -> None:
    assert refused_of_flips(tmp_path / f"a{suffix}", grid=False) > 0.3


def test_a_missing_extra_is_one_line_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    for action in (
        lambda: read_volume(nrrd(tmp_path / "a.nrrd")),
        lambda: write_volume(tmp_path / "b.mha", volume_of(1)),
    ):
        with pytest.raises(MissingDependencyError, match=r'pip install "segmed-torch\[itk\]"'):
            action()
    assert not (tmp_path / "b.mha").exists()
