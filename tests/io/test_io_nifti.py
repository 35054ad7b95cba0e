"""NIfTI in and out, checked by nibabel, and what is refused."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmed import read_volume, write_volume
from segmed.core.errors import DataError
from segmed.io.volumes import read_grid
from volume_checks import (
    DTYPES,
    comes_back,
    has_no_geometry_afterwards,
    is_refused_wherever_it_is_cut,
    refused_of_flips,
)
from volume_phantoms import volume_of


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES), st.sampled_from([".nii", ".nii.gz"]), st.booleans())
def test_volumes_of_any_geometry_come_back_and_nibabel_agrees(
    tmp_path_factory: pytest.TempPathFactory, seed: int, dtype: str, suffix: str, sheared: bool
) -> None:
    volume = volume_of(seed, dtype, sheared=sheared)
    path = tmp_path_factory.mktemp("round") / f"a{suffix}"
    comes_back(path, volume)
    theirs = nib.load(path)
    np.testing.assert_array_equal(np.asarray(theirs.dataobj).transpose(2, 1, 0), volume.array)
    places = np.indices(volume.array.shape).reshape(3, -1)
    ours = volume.grid.affine[:3, :3] @ places + volume.grid.affine[:3, 3:]
    np.testing.assert_allclose(nib.affines.apply_affine(theirs.affine, places[::-1].T).T, ours, atol=1e-3)
    assert theirs.header["qform_code"] == (0 if sheared else 1)


@pytest.mark.parametrize("spacing", [None, (5.0, 1.0, 1.5)])
def test_what_has_no_geometry_has_none_afterwards(tmp_path: Path, spacing: tuple[float, float, float] | None) -> None:
    array = has_no_geometry_afterwards(tmp_path / "a.nii.gz", spacing)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj).T, array)


def test_equal_volumes_give_equal_files(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, volume_of(3))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_series_of_what_is_not_dicom_is_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", volume_of(3))
    for read in (read_volume, read_grid):
        with pytest.raises(DataError, match=r"a\.nii\.gz: series 99 is one of DICOM images, which this is not"):
            read(tmp_path / "a.nii.gz", series=99)


def saved(
    path: Path, array: np.ndarray, *, slope: float = 1, intercept: float = 0, unit: str = "mm"
) -> nib.Nifti1Image:
    image = nib.Nifti1Image(array, np.diag([2.0, 3, 4, 1]), dtype=array.dtype)
    image.header.set_xyzt_units(unit)
    image.header.set_slope_inter(slope, intercept)
    image.to_filename(path)
    return image


def test_whole_scaling_keeps_integers_and_other_scaling_gives_floats(tmp_path: Path) -> None:
    stored = np.arange(3 * 5 * 7, dtype=np.int16).reshape(7, 5, 3)
    for slope, intercept, kind in ((1, -1024, np.int16), (1000, 0, np.int32), (0.5, 3, np.float32)):
        path = tmp_path / "a.nii.gz"
        saved(path, stored, slope=slope, intercept=intercept)
        header = nib.load(path).header
        assert header.get_slope_inter() in ((slope, intercept), (None, None))
        found = read_volume(path).array
        np.testing.assert_array_equal(found, np.asarray(nib.load(path).dataobj).transpose(2, 1, 0))
        if header.get_slope_inter()[0] is not None:
            assert found.dtype == kind


def test_microns_become_millimetres(tmp_path: Path) -> None:
    saved(tmp_path / "a.nii", np.zeros((7, 5, 3), np.uint8), unit="micron")
    assert read_volume(tmp_path / "a.nii").grid.spacing == pytest.approx((0.004, 0.003, 0.002))


def test_forms_that_disagree_are_a_warning_that_names_both(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((7, 5, 3), np.uint8), np.eye(4))
    image.set_sform(np.diag([1.0, 1, 2, 1]), code=1)
    image.set_qform(np.diag([1.0, 1, 3, 1]), code=1)
    image.to_filename(tmp_path / "a.nii")
    with pytest.warns(UserWarning, match=r"a.nii: sform and qform place the volume .* \(sform: .*; qform: "):
        grid = read_volume(tmp_path / "a.nii").grid
    assert grid.spacing == pytest.approx((2, 1, 1))


def test_4d_colours_complex_and_nan_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    cases = {
        "4D of 2 x 3 x 4 x 5 voxels, expected one volume. Save each": np.zeros((2, 3, 4, 5), np.uint8),
        "voxels of type complex64": np.zeros((2, 3, 4), np.complex64),
        "voxels of type colours": np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]),
        "1 NaN or infinite voxels": np.array([[[np.nan, 1]]], np.float32),
    }
    for message, array in cases.items():
        nib.Nifti1Image(array, np.eye(4)).to_filename(path)
        with pytest.raises(DataError, match=message):
            read_volume(path)


def test_a_single_volume_of_four_dimensions_is_read(tmp_path: Path) -> None:
    nib.Nifti1Image(np.zeros((2, 3, 4, 1), np.uint8), np.eye(4)).to_filename(tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").array.shape == (4, 3, 2)


def test_too_large_a_volume_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((4000, 4000, 4000))
    header["magic"], header["vox_offset"] = b"n+1", 352
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(4)))
    with pytest.raises(DataError, match="more than the limit of 2048 MiB"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_cut_or_lengthened_file_is_refused_wherever_it_is_cut(tmp_path: Path, suffix: str) -> None:
    is_refused_wherever_it_is_cut(tmp_path / f"a{suffix}")


def test_every_flipped_bit_of_a_packed_file_is_noticed(tmp_path: Path) -> None:
    assert refused_of_flips(tmp_path / "a.nii.gz", grid=True) > 0.9


def test_what_is_no_volume_and_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"not a volume at all")
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(b"text" * 200))
    nib.Nifti1Pair(np.zeros((2, 3, 4), np.uint8), np.eye(4)).to_filename(tmp_path / "c.hdr")
    for name, message in (
        ("a.nii", "not a volume"),
        ("b.nii.gz", "not a NIfTI file"),
        ("c.hdr", "a pair of .hdr and .img"),
        ("none.nii", "cannot be read"),
        (".", "no DICOM file in it"),
    ):
        with pytest.raises(DataError, match=message):
            read_volume(tmp_path / name)
    with pytest.raises(DataError, match=r"expected one of \.nii\.gz, \.nii"):
        write_volume(tmp_path / "a.png", volume_of(1))
