"""The Kaggle layout: each slice once, in numeric order, with what the clinical table says."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.records import Record, SliceDataset
from segmed.data.layouts.lgg import channel_names, copies_of_flair, institution_of, is_lgg, list_lgg, patient_of
from segmed.data.sources import open_dataset

STUDY = "TCGA_DU_0001_19990101"
OTHER = "TCGA_HT_0002_20010203"


def make_tree(root: Path, slices: tuple[int, ...] = (1, 2, 10), studies: tuple[str, ...] = (STUDY, OTHER)) -> Path:
    """Files with names only: listing reads no pixel."""
    for study in studies:
        (root / study).mkdir(parents=True)
        for number in slices:
            (root / study / f"{study}_{number}.tif").write_bytes(b"image" + bytes(number))
            (root / study / f"{study}_{number}_mask.tif").write_bytes(b"mask" + bytes(number))
    return root


def test_slices_are_in_numeric_order_and_patients_together(tmp_path: Path) -> None:
    dataset = open_dataset(make_tree(tmp_path))
    assert [record.slice_index for record in dataset.records] == [1, 2, 10, 1, 2, 10]
    assert dataset.patients == ("TCGA_DU_0001", "TCGA_HT_0002")


def test_a_record_names_slice_patient_and_both_files(tmp_path: Path) -> None:
    record = open_dataset(make_tree(tmp_path)).records[2]
    folder = tmp_path / STUDY
    assert (record.slice_id, record.patient) == (f"{STUDY}_10", "TCGA_DU_0001")
    assert record.image == folder / f"{STUDY}_10.tif"
    assert record.mask == folder / f"{STUDY}_10_mask.tif"


@pytest.mark.parametrize("inner", ["", "kaggle_3m", "archive/kaggle_3m", "lgg-mri-segmentation/kaggle_3m"])
def test_the_data_is_found_in_its_folder_and_in_parents(tmp_path: Path, inner: str) -> None:
    make_tree(tmp_path / inner)
    assert len(open_dataset(tmp_path).records) == 6


def test_the_doubled_tree_counts_each_slice_once(tmp_path: Path) -> None:
    make_tree(tmp_path / "kaggle_3m")
    shutil.copytree(tmp_path / "kaggle_3m", tmp_path / "lgg-mri-segmentation" / "kaggle_3m")
    listing = list_lgg(tmp_path, LabelMap())
    assert len(listing.dataset.records) == 6
    assert all("lgg-mri-segmentation" not in str(record.image) for record in listing.dataset.records)
    assert all("lgg-mri-segmentation" not in str(record.mask) for record in listing.dataset.records)
    assert len(listing.copies) == 12
    assert {finding.code for finding in listing.findings} == {"doubled-tree"}


def test_a_second_copy_of_another_size_is_refused(tmp_path: Path) -> None:
    make_tree(tmp_path / "a")
    make_tree(tmp_path / "b")
    (tmp_path / "b" / STUDY / f"{STUDY}_1.tif").write_bytes(b"other content")
    with pytest.raises(DataError, match=rf"b/{STUDY}/{STUDY}_1\.tif: a second image of slice {STUDY}_1"):
        open_dataset(tmp_path)


def test_another_data_set_with_the_same_names_and_sizes_is_no_copy(tmp_path: Path) -> None:
    make_tree(tmp_path / "a")
    make_tree(tmp_path / "b")
    for path in (tmp_path / "b").rglob("*_1.tif"):
        path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(DataError, match=f"a second image of slice {STUDY}_1"):
        open_dataset(tmp_path)


def test_archive_debris_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    make_tree(tmp_path / "kaggle_3m")
    make_tree(tmp_path / "__MACOSX" / "kaggle_3m", slices=(7,))
    make_tree(tmp_path / ".hidden", slices=(8,))
    (tmp_path / "kaggle_3m" / STUDY / f"._{STUDY}_9.tif").touch()
    assert {record.slice_index for record in open_dataset(tmp_path).records} == {1, 2, 10}


def test_two_studies_of_one_patient_are_one_patient(tmp_path: Path) -> None:
    make_tree(tmp_path, studies=(STUDY, "TCGA_DU_0001_20050505"))
    assert open_dataset(tmp_path).patients == ("TCGA_DU_0001",)


def test_a_missing_mask_is_refused_with_its_expected_name(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / STUDY / f"{STUDY}_2_mask.tif").unlink()
    with pytest.raises(DataError, match=rf"{STUDY}_2\.tif: has no mask, expected {STUDY}_2_mask\.tif"):
        open_dataset(tmp_path)


def test_images_without_any_mask_can_be_listed_to_predict_on(tmp_path: Path) -> None:
    make_tree(tmp_path)
    for mask in tmp_path.rglob("*_mask.tif"):
        mask.unlink()
    assert [record.mask for record in open_dataset(tmp_path).records] == [None] * 6


def test_a_mask_without_image_is_refused(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / STUDY / f"{STUDY}_2.tif").unlink()
    with pytest.raises(DataError, match=r"_2_mask\.tif: a mask without its image"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(("name", "what"), [("_1_mask.tiff", "mask"), ("_01.tif", "image")])
def test_a_doubled_file_is_refused(tmp_path: Path, name: str, what: str) -> None:
    make_tree(tmp_path)
    (tmp_path / STUDY / f"{STUDY}{name}").write_bytes(b"again")
    with pytest.raises(DataError, match=f"a second {what} of slice {STUDY}_1"):
        open_dataset(tmp_path)


def test_a_slice_in_the_folder_of_another_patient_is_refused(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / OTHER / f"{OTHER}_2.tif").rename(tmp_path / STUDY / f"{OTHER}_2.tif")
    with pytest.raises(DataError, match=f"a slice of {OTHER} in the folder of {STUDY}"):
        open_dataset(tmp_path)


def test_the_number_of_further_errors_is_told(tmp_path: Path) -> None:
    make_tree(tmp_path)
    for number in (1, 2, 10):
        (tmp_path / STUDY / f"{STUDY}_{number}_mask.tif").unlink()
    with pytest.raises(DataError, match=r"\(2 more; see `segmed data check`\.\)"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_clinical_table_becomes_attributes_whatever_its_delimiter(tmp_path: Path, delimiter: str) -> None:
    make_tree(tmp_path)
    rows = [["Patient", "gender", "age"], ["TCGA_DU_0001", "2", ""], ["TCGA_HT_0002", "1", "44"]]
    (tmp_path / "data.csv").write_text("\n".join(delimiter.join(row) for row in rows))
    attributes = open_dataset(tmp_path).attributes
    assert attributes["TCGA_DU_0001"] == {"institution": "DU", "gender": "2"}
    assert attributes["TCGA_HT_0002"] == {"institution": "HT", "gender": "1", "age": "44"}


def test_clinical_rows_that_are_missing_empty_or_unused_are_found(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "data.csv").write_text("Patient,age\nTCGA_DU_0001,\nTCGA_XX_0009,50\nTCGA_XX_0009,51\n")
    found = {(finding.severity, finding.code) for finding in list_lgg(tmp_path, LabelMap()).findings}
    assert found == {
        ("warning", "clinical-empty"),
        ("warning", "clinical-missing"),
        ("warning", "clinical-doubled"),
        ("note", "clinical-unused"),
    }


def test_a_clinical_table_with_a_torn_row_is_refused(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "data.csv").write_text("Patient,age\nTCGA_DU_0001\n")
    with pytest.raises(DataError, match=r"data\.csv, line 2: has 1 value but the header has 2 columns"):
        open_dataset(tmp_path)


def test_a_patient_is_a_study_without_its_date() -> None:
    assert patient_of("TCGA_CS_4941_19960909") == "TCGA_CS_4941"
    assert patient_of("volunteer_7") == "volunteer_7"


def test_the_institution_is_read_from_the_patient_where_it_is_there() -> None:
    assert institution_of("TCGA_CS_4941") == "CS"
    assert institution_of("volunteer_7") is None


@pytest.mark.parametrize(
    ("name", "patient", "expected"), [("lgg", "p1", True), ("list", "TCGA_CS_4941", True), ("list", "p1", False)]
)
def test_lgg_is_told_by_layout_or_patients(name: str, patient: str, expected: bool) -> None:
    record = Record("a", patient, 1, Path("a.png"), None)
    assert is_lgg(SliceDataset(name, Path(), (record,))) == expected


def test_a_missing_sequence_is_a_copy_of_flair_and_of_nothing_else() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert copies_of_flair(image) == (False, False)
    assert copies_of_flair(image[..., [1, 1, 2]]) == (True, False)
    assert copies_of_flair(image[..., [0, 1, 0]]) == (False, False)
    assert copies_of_flair(image[..., [1, 1]]) == (False, False)


def test_only_three_channels_of_lgg_are_its_sequences() -> None:
    assert channel_names(3, is_lgg=True) == ("pre-contrast", "FLAIR", "post-contrast")
    assert channel_names(3, is_lgg=False) == ("channel 1", "channel 2", "channel 3")
    assert channel_names(1, is_lgg=True) == ("channel 1",)
