"""DICOM series as volumes, checked by highdicom and pydicom; what makes no volume is refused by name."""

import logging
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.fileset import FileSet
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from dicom_phantoms import CT, MR, PATIENT, stackable, write_enhanced, write_series
from segmed import read_volume
from segmed.core.errors import DataError, MissingDependencyError
from segmed.core.volume import Grid, Volume
from segmed.io.dicom.series import find_series
from segmed.io.volumes import read_grid
from volume_phantoms import grid_of


def phantom(seed: int = 4, shape: tuple[int, int, int] = (7, 5, 3), dtype: str = "int16") -> Volume:
    """Numbers on an oblique, anisotropic, left-handed or right-handed grid."""
    rng = np.random.default_rng(seed)
    grid = stackable(Grid(shape, grid_of(seed).affine))
    limits = np.iinfo(dtype)
    return Volume(rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True), grid)


def test_the_grid_is_read_without_the_pixels(tmp_path: Path) -> None:
    for path in write_series(tmp_path, phantom()):
        path.write_bytes(path.read_bytes()[:-4])
    assert read_grid(tmp_path).distance(phantom().grid) < 1e-3
    with pytest.raises(DataError, match="damaged or truncated DICOM"):
        read_volume(tmp_path)


def same(volume: Volume, expected: Volume) -> None:
    np.testing.assert_array_equal(volume.array, expected.array)
    assert volume.grid.distance(expected.grid) < 1e-3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["uint8", "int16", "uint16"]), st.booleans())
def test_a_series_in_any_file_names_is_the_volume_and_highdicom_agrees(
    tmp_path_factory: pytest.TempPathFactory, seed: int, dtype: str, enhanced: bool
) -> None:
    rng = np.random.default_rng(seed)
    first, second, third = (int(side) for side in rng.choice([3, 5, 7, 9], 3))
    expected = phantom(seed, (first, second, third), dtype)
    folder = tmp_path_factory.mktemp("series")
    if enhanced:
        write_enhanced(folder / "a", expected)
        theirs = hd.imread(folder / "a").get_volume(rtol=1e-3)
        expected = expected.with_array(expected.array.astype(np.int32) * 2)
    else:
        write_series(folder, expected)
        theirs = hd.get_volume_from_series([pydicom.dcmread(path) for path in folder.iterdir()], rtol=1e-3)
    volume = read_volume(folder)
    same(volume, expected)
    corners = np.array([(0, 0, 0), [side - 1 for side in volume.grid.shape]])
    ours = (volume.grid.affine[:3, :3] @ corners.T + volume.grid.affine[:3, 3:]).T * (-1, -1, 1)
    backwards = theirs.direction[:, 0] @ (volume.grid.affine[:3, 0] * (-1, -1, 1)) < 0
    values = theirs.array[::-1] if backwards else theirs.array
    indices = corners.copy()
    indices[:, 0] = theirs.shape[0] - 1 - corners[:, 0] if backwards else corners[:, 0]
    np.testing.assert_array_equal(values, volume.array)
    np.testing.assert_allclose(theirs.map_indices_to_reference(indices), ours, atol=2e-3)


def test_slope_and_intercept_are_applied_and_whole_ones_keep_integers(tmp_path: Path) -> None:
    expected = phantom(dtype="uint16")
    stored = Volume(expected.array >> 4, expected.grid)

    def ct(index: int, dataset: pydicom.Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"

    def pet(index: int, dataset: pydicom.Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = str(0.5 + index), "0"

    write_series(tmp_path / "ct", stored, kind=CT, change=ct)
    write_series(tmp_path / "pet", stored, change=pet)
    volume = read_volume(tmp_path / "ct")
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, stored.array.astype(int) - 1024)
    volume = read_volume(tmp_path / "pet")
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, stored.array * (0.5 + np.arange(7))[:, None, None])


def test_bits_above_the_stored_ones_are_no_values(tmp_path: Path) -> None:
    expected = Volume((phantom().array >> 4).astype(np.int16), phantom().grid)  # 12 bits with a sign

    def overlay(index: int, dataset: pydicom.Dataset) -> None:
        stored = (expected.array[index].astype(np.uint16) & 0x0FFF) | 0x5000
        dataset.PixelData, dataset.BitsStored, dataset.HighBit = stored.tobytes() + bytes(stored.size % 2 * 2), 12, 11
        dataset.PixelData = stored.tobytes()

    write_series(tmp_path, expected, change=overlay)
    same(read_volume(tmp_path), expected)


@pytest.mark.parametrize("syntax", [RLELossless, ImplicitVRLittleEndian])
def test_other_transfer_syntaxes_give_the_same_voxels(tmp_path: Path, syntax: str) -> None:
    expected = phantom()

    def change(index: int, dataset: pydicom.Dataset) -> None:
        if syntax == RLELossless:
            dataset.compress(RLELossless)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax

    write_series(tmp_path, expected, change=change)
    same(read_volume(tmp_path), expected)


@pytest.mark.parametrize(
    "name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm",
             "MR_small_implicit.dcm", "MR_small_expb.dcm"],
)  # fmt: skip
def test_compressed_files_of_others_are_their_plain_ones(name: str) -> None:
    plain, packed = (read_volume(get_testdata_file(each)) for each in ("MR_small.dcm", name))
    np.testing.assert_array_equal(packed.array, plain.array)


def test_a_file_whose_free_first_bytes_are_those_of_tiff_is_dicom(tmp_path: Path) -> None:
    path = write_series(tmp_path, phantom(shape=(1, 5, 3)))[0]
    path.write_bytes(b"II*\x00" + path.read_bytes()[4:])
    np.testing.assert_array_equal(read_volume(path).array, phantom(shape=(1, 5, 3)).array)


def test_every_compression_of_the_extra_has_a_decoder() -> None:
    decoders = pydicom.pixels.decoders.base._PIXEL_DATA_DECODERS
    assert [uid.name for uid, (decoder, _) in decoders.items() if not decoder.is_available] == []


def test_one_of_several_series_is_chosen_by_number_or_file_name_and_all_are_listed(tmp_path: Path) -> None:
    one, other = phantom(1), phantom(2, (5, 5, 3))
    write_series(tmp_path / "a", one, series=3)
    write_series(tmp_path / "b", other, series=4, names=[f"T2_{index}.dcm" for index in range(5)])
    with pytest.raises(DataError, match=r"2 series of images, expected one: 3 \(MR, 7 slices, IM0000\), 4 \(MR, 5 sl"):
        read_volume(tmp_path)
    same(read_volume(tmp_path, series=3), one)
    same(read_volume(tmp_path, series="4"), other)
    same(read_volume(tmp_path, series="T2_2.dcm"), other)
    with pytest.raises(DataError, match=r"no series 5; it has 3 \("):
        read_volume(tmp_path, series=5)


def test_a_dicomdir_names_its_files_and_missing_or_foreign_ones_are_refused(tmp_path: Path) -> None:
    expected = phantom()
    for path in write_series(tmp_path / "in", expected):
        dataset = pydicom.dcmread(path)
        dataset.PatientID = dataset.PatientID or "x"
        dataset.save_as(path)
    files = FileSet()
    for path in (tmp_path / "in").iterdir():
        files.add(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files.write(tmp_path / "out")
    files._stage["t"].cleanup()
    same(read_volume(tmp_path / "out" / "DICOMDIR"), expected)
    same(read_volume(tmp_path / "out"), expected)
    next(path for path in (tmp_path / "out").rglob("IM*")).unlink()
    with pytest.raises(DataError, match="DICOMDIR: names 1 file that is not there"):
        read_volume(tmp_path / "out" / "DICOMDIR")
    index = pydicom.dcmread(tmp_path / "out" / "DICOMDIR")
    for record in index.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            record["ReferencedFileID"]._value = ["..", "in", "IM0000"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        index.save_as(tmp_path / "out" / "DICOMDIR")
    with pytest.raises(DataError, match="files outside of its folder"):
        read_volume(tmp_path / "out" / "DICOMDIR")


def test_a_localiser_beside_a_series_is_left_out_with_a_warning_and_refused_alone(tmp_path: Path) -> None:
    def scout(index: int, dataset: pydicom.Dataset) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(tmp_path / "all" / "scout", phantom(3), series=1, change=scout)
    write_series(tmp_path / "all" / "axial", phantom(), series=2)
    with pytest.warns(UserWarning, match=r"localisers are left out: series 1 \(localiser, 7 slices"):
        same(read_volume(tmp_path / "all"), phantom())
    with pytest.raises(DataError, match="series 1: localiser images"):
        read_volume(tmp_path / "all", series=1)
    shutil.copytree(tmp_path / "all" / "axial", tmp_path / "mixed")

    def among(index: int, dataset: pydicom.Dataset) -> None:
        if index == 2:
            scout(index, dataset)

    write_series(tmp_path / "mixed", phantom(), change=among, series=2)
    with pytest.raises(DataError, match="1 localiser among its 7 images"):
        read_volume(tmp_path / "mixed")


def with_tilt(index: int, dataset: pydicom.Dataset) -> None:
    position = np.array(dataset.ImagePositionPatient) + 0.3 * index * np.array(dataset.ImageOrientationPatient[3:])
    dataset.ImagePositionPatient = [float(f"{each:.9g}") for each in position]


def test_a_gantry_tilt_is_kept_in_the_grid_and_said(tmp_path: Path) -> None:
    grid = Grid.of_columns_first((5, 3, 7), np.diag([1.0, 1, 2, 1]), "LPS")
    write_series(tmp_path, Volume(np.arange(105, dtype=np.int16).reshape(5, 3, 7), grid), change=with_tilt)
    with pytest.warns(UserWarning, match=r"series 3: gantry tilt of 8\.5 degrees"):
        volume = read_volume(tmp_path)
    assert volume.grid.is_orthogonal is False
    np.testing.assert_allclose(volume.grid.affine @ (4, 0, 0, 1), (0, -1.2, 8, 1), atol=1e-6)


def nothing(index: int, dataset: pydicom.Dataset) -> None:
    """The sound series."""


def echoes(index: int, dataset: pydicom.Dataset) -> None:
    dataset.ImagePositionPatient, dataset.EchoTime = [0, 0, index // 2], [10, 80][index % 2]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]


def twice(index: int, dataset: pydicom.Dataset) -> None:
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, min(index, 5)], [1, 0, 0, 0, 1, 0]


def gap(index: int, dataset: pydicom.Dataset) -> None:
    dataset.ImagePositionPatient = [0, 0, 2 * (index + 2 * (index > 3))]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]


def uneven(index: int, dataset: pydicom.Dataset) -> None:
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, index**1.3], [1, 0, 0, 0, 1, 0]


def wandering(index: int, dataset: pydicom.Dataset) -> None:
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [index % 2, 0, index], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [1, 1]


def turned(index: int, dataset: pydicom.Dataset) -> None:
    if index == 6:
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def smaller(index: int, dataset: pydicom.Dataset) -> None:
    if index == 6:
        dataset.Rows, dataset.PixelData = 3, dataset.PixelData[: 3 * 3 * 2]


def finer(index: int, dataset: pydicom.Dataset) -> None:
    if index == 6:
        dataset.PixelSpacing = [0.2, 0.2]


def mosaic(index: int, dataset: pydicom.Dataset) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]


def placeless(index: int, dataset: pydicom.Dataset) -> None:
    del dataset.ImagePositionPatient


def coloured(index: int, dataset: pydicom.Dataset) -> None:
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "RGB", 3


def inverted(index: int, dataset: pydicom.Dataset) -> None:
    dataset.PhotometricInterpretation = "MONOCHROME1"


def dose(index: int, dataset: pydicom.Dataset) -> None:
    dataset.NumberOfFrames = 2


def unsigned(index: int, dataset: pydicom.Dataset) -> None:
    dataset.PixelRepresentation = int(index != 6)


def short(index: int, dataset: pydicom.Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:-2]


REFUSED: list[tuple[Callable[[int, pydicom.Dataset], None], str]] = [
    (echoes, "several images at the same places.*they differ in echo time"),
    (twice, "several images at the same places.*nothing tells them apart"),
    (gap, r"a gap of 6 mm between IM\d+ and IM\d+ where slices are 2 mm apart: 2 slices missing"),
    (uneven, r"slices 1 to .* mm apart .*expected even"),
    (wandering, "shifted sideways irregularly"),
    (turned, r"slices in several orientations \(IM\d+ and IM\d+\), such as a localiser"),
    (smaller, r"mixed sizes \(6 of 5 x 3, 1 of 3 x 3; IM\d+ differs\)"),
    (finer, "pixels of mixed spacing"),
    (mosaic, "a Siemens mosaic"),
    (placeless, "an image without a place in the patient"),
    (coloured, "an image in colours"),
    (inverted, r"white for zero \(MONOCHROME1\)"),
    (dose, "2 frames without places of their own"),
    (unsigned, "pixels stored in mixed types"),
    (short, "28 bytes of pixels where its header says 30"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[change.__name__ for change, _ in REFUSED])
def test_what_makes_no_even_stack_is_refused_by_name_and_quotes_no_patient(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Callable[[int, pydicom.Dataset], None], message: str
) -> None:
    write_series(tmp_path, phantom(), change=change)
    with caplog.at_level(logging.DEBUG), pytest.raises(DataError, match=message) as caught:
        read_volume(tmp_path)
    said = f"{caught.value}{caplog.text}"
    assert [value for value in PATIENT.values() if value in said] == []
    assert caught.value.__context__ is None or isinstance(caught.value.__context__, DataError)


def test_two_time_points_are_counted_as_volumes(tmp_path: Path) -> None:
    def change(index: int, dataset: pydicom.Dataset) -> None:
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, index // 2], [1, 0, 0, 0, 1, 0]
        dataset.TemporalPositionIdentifier = index % 2 + 1

    write_series(tmp_path, phantom(shape=(8, 5, 3)), change=change)
    with pytest.raises(DataError, match=r"2 volumes at the same places, .*; they differ in time point"):
        read_volume(tmp_path)


def test_every_second_slice_missing_is_warned_of(tmp_path: Path) -> None:
    paths = write_series(tmp_path, phantom(dtype="uint16"))
    for path in paths[1::2]:
        path.unlink()
    with pytest.warns(UserWarning, match="every second slice is missing"):
        assert read_volume(tmp_path).array.shape == (4, 5, 3)


def test_files_that_are_none_are_left_out_but_not_those_named_like_slices(tmp_path: Path) -> None:
    write_series(tmp_path, phantom())
    (tmp_path / "README").write_text("Some words.\n")
    (tmp_path / "notes.pdf").write_bytes(b"%PDF\xff\xfe")
    (tmp_path / ".DS_Store").write_bytes(b"\x00\x01")
    same(read_volume(tmp_path), phantom())
    for name, content in (("IM9999", b""), ("a.dcm", b"\x00\x01\xff")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: named like a DICOM file"):
            read_volume(tmp_path)
        (tmp_path / name).unlink()


def test_a_cut_file_is_refused_wherever_it_is_cut_and_never_quotes_the_patient(tmp_path: Path) -> None:
    path = write_series(tmp_path, phantom(shape=(1, 5, 3)))[0]
    whole = path.read_bytes()
    for end in range(0, len(whole), 5):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError) as caught:
            read_volume(path)
        assert [value for value in PATIENT.values() if value in str(caught.value)] == []


@pytest.mark.parametrize("enhanced", [False, True])
def test_flipped_bits_give_voxels_or_one_line_that_quotes_no_patient(
    tmp_path: Path, enhanced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a"
    if enhanced:
        write_enhanced(path, phantom(shape=(3, 5, 3)))
    else:
        path = write_series(tmp_path, phantom(shape=(1, 5, 3)))[0]
    whole, said, rng = path.read_bytes(), list[str](), np.random.default_rng(0)
    for place in rng.integers(128, len(whole), 250):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read_volume(path)
        except DataError as error:
            said.append(str(error))
    assert len(said) > 20
    assert [value for value in PATIENT.values() if value in "".join(said)] == []
    assert "\n" not in "".join(said)
    assert caplog.text == ""


def test_the_series_of_a_folder_name_no_patient(tmp_path: Path) -> None:
    write_series(tmp_path, phantom())
    said = " ".join(str(each) for each in find_series(tmp_path).series)
    assert said == "3 (MR, 7 slices, IM0000)"


def test_a_missing_extra_is_one_line_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path, phantom(), kind=MR)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "segmed-torch\[dicom\]"'):
        read_volume(tmp_path)
