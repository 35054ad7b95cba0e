"""Which DICOM series are predicted: by folder, on media, by number or file; what is meant by nothing is named."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest

from bright_run import bright
from dicom_phantoms import PATIENT, header, write_series
from segmed.core.errors import DataError, ModelError
from segmed.core.volume import Grid, Volume
from segmed.inference import dicom_inputs
from segmed.inference.volume_files import PredictedVolume, predict_volumes
from segmed.inference.volume_inputs import find_volumes
from segmed.io.dicom.headers import DICOMDIR
from segmed.io.dicom.sequences import series_called
from segmed.io.dicom.series import find_series

SHAPE = (2, 4, 3)
GRID = Grid(SHAPE, np.array([[0, 0, -0.75, 40], [0, -1.5, 0, 30], [4.0, 0, 0, -20], [0, 0, 0, 1]]))


def series_in(
    folder: Path, number: int, *, patient: str = "", described: str = "AX", localiser: bool = False
) -> list[Path]:
    """A small series of a patient, of whom there is one by default, in files whose names begin with its number."""

    def change(_: int, dataset: pydicom.Dataset) -> None:
        dataset.SeriesDescription, dataset.PatientID = described, PATIENT["PatientID"] + patient
        if localiser:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    array = np.random.default_rng(number).integers(1, 90, SHAPE).astype(np.uint16)
    names = [f"{patient}{number}_{index}" for index in range(SHAPE[0])]
    return write_series(folder, Volume(array, GRID), series=number, change=change, names=names)


def medium(root: Path, files: Sequence[Path]) -> Path:
    """A DICOMDIR that names these files, wherever below its folder they lie."""
    index = header(DICOMDIR)
    index.DirectoryRecordSequence = [pydicom.Dataset() for _ in files]
    for record, file in zip(index.DirectoryRecordSequence, files, strict=True):
        record.ReferencedFileID = list(file.relative_to(root).parts)
    index.save_as(root / "DICOMDIR", enforce_file_format=True)
    return root


def test_time_points_of_a_folder_with_series_of_equal_numbers_have_different_names() -> None:
    taken: list[str] = []
    for _ in range(4):
        taken.append(dicom_inputs._unlike("p01", 5, set(taken)))
    assert taken == ["p01", "p01/5", "p01/5-2", "p01/5-3"]


def test_digits_are_a_number_or_a_file_and_never_a_description(tmp_path: Path) -> None:
    series_in(tmp_path, 1, described="3")
    series_in(tmp_path, 2, described="T1 3D")
    found = find_series(tmp_path).series
    assert series_called(found, "3") == []
    assert series_called(found, "t1") == [found[1]]
    (tmp_path / "1_0").rename(tmp_path / "2")
    (tmp_path / "1_1").rename(tmp_path / "5")
    first, second = find_series(tmp_path).series
    assert series_called((first, second), "2") == [second]
    assert series_called((first, second), "5") == [first]


@pytest.mark.parametrize("patients", [("",), ("A", "B")], ids=["one patient", "two patients"])
@pytest.mark.parametrize("scout", [False, True], ids=["alone", "beside a localiser"])
def test_a_series_that_no_patient_of_a_medium_has_is_named_with_those_there_are(
    tmp_path: Path, patients: Sequence[str], scout: bool
) -> None:
    files = [path for each in patients for path in series_in(tmp_path / "IMG", 5, patient=each, described="3")]
    if scout:
        files += series_in(tmp_path / "IMG", 1, patient=patients[0], localiser=True)
    told = r"no series '3'; there are 5 \(MR, 2 slices, A?5_0\)"
    with pytest.raises(DataError, match=told):
        dicom_inputs.find_dicom(medium(tmp_path, files), "3")
    (tmp_path / "DICOMDIR").unlink()
    with pytest.raises(DataError, match=told.replace("'3'", "'3' or 'DWI'")):
        dicom_inputs.find_dicom(tmp_path, "3,DWI")


def test_a_series_is_taken_of_those_patients_of_a_medium_that_have_it(tmp_path: Path) -> None:
    files = series_in(tmp_path / "A", 3, patient="A") + series_in(tmp_path / "B", 4, patient="B", described="3")
    found = dicom_inputs.find_dicom(medium(tmp_path, files), "3")
    assert [volume.name for volume in found.volumes] == ["A"]
    assert found.left_out == (tmp_path / "B",)


def test_a_medium_of_localisers_alone_is_named(tmp_path: Path) -> None:
    files = series_in(tmp_path / "IMG", 1, localiser=True)
    for series in (None, "3"):
        with pytest.raises(DataError, match="its DICOMDIR names no series of images to predict"):
            dicom_inputs.find_dicom(medium(tmp_path, files), series)


def test_series_of_one_folder_that_fail_alike_are_told_apart_by_their_names(tmp_path: Path) -> None:
    files = series_in(tmp_path / "cd" / "IMG", 3) + series_in(tmp_path / "cd" / "IMG", 4)
    inputs = find_volumes(medium(tmp_path / "cd", files))
    assert inputs is not None

    def fails(*_: object) -> PredictedVolume:
        raise ModelError("the run reads 2 sequences, the volume has 1.")

    outcome = predict_volumes(bright(tmp_path / "run"), inputs, tmp_path / "out", predict=fails)
    source = tmp_path / "cd" / "IMG"
    assert [path for path, _ in outcome.failures] == [source, source]
    first, second = (reason for _, reason in outcome.failures)
    assert first == f"{source}: IMG/3: the run reads 2 sequences, the volume has 1."
    assert second == first.replace("IMG/3", "IMG/4")


def test_a_medium_that_cannot_be_read_costs_itself_alone(tmp_path: Path) -> None:
    study = tmp_path / "in"
    for patient in ("p0", "p1"):
        series_in(study / patient / "t1", 3, patient=patient)
    (study / "p0" / "DICOMDIR").write_bytes(b"damaged")
    found = dicom_inputs.find_dicom(study)
    assert [volume.name for volume in found.volumes] == ["p1/t1"]
    assert [path for path, _ in found.faults] == [study / "p0" / "DICOMDIR"]
    with pytest.raises(DataError, match="DICOMDIR"):
        dicom_inputs.find_dicom(study / "p0")


@pytest.mark.parametrize("series", [None, "3", "3,4"])
def test_a_damaged_medium_is_told_where_folders_beside_it_hold_localisers_alone(
    tmp_path: Path, series: str | None
) -> None:
    series_in(tmp_path / "a", 1, localiser=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "DICOMDIR").write_bytes(b"damaged")
    with pytest.raises(DataError, match="DICOMDIR: damaged or truncated DICOM"):
        find_volumes(tmp_path, series=series)


@pytest.mark.parametrize(
    ("file", "name"), [("1.2.840.55", "1.2.840.55"), ("1.2.840.55.dcm", "1.2.840.55"), ("IM0001", "IM0001")]
)
def test_a_mask_is_named_as_its_dicom_file_without_a_suffix_that_is_no_part_of_a_uid(
    tmp_path: Path, file: str, name: str
) -> None:
    first, _ = series_in(tmp_path, 1)
    first.rename(tmp_path / file)
    found = find_volumes(tmp_path / file)
    assert found is not None
    assert [volume.name for volume in found.volumes] == [name]
