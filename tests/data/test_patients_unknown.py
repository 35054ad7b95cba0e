"""Nobody said which images are of one patient: then none is counted as one, from the folder to the evaluation."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from segmed.core.errors import DataError
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.layouts.manifest import write_manifest
from segmed.data.patients import alike, each_image_a_patient, require_told
from segmed.data.sources import open_dataset
from segmed.data.splits import patients_known, split_by_patient, split_by_slice, split_within
from segmed.evaluation.part import split_facts

NAMES = ("ann", "bob", "cem", "dot", "eva", "fay", "gus")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    return decode(open_dataset(pictures(tmp_path_factory.mktemp("pictures"), NAMES)))


def pictures(root: Path, names: tuple[str, ...]) -> Path:
    """An images/ + masks/ folder; every mask has a square."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in names:
        mask = np.zeros((20, 26), np.uint8)
        mask[4:12, 5:14] = 255
        Pillow.fromarray(mask).save(root / "masks" / f"{name}.png")
        Pillow.fromarray(mask // 2 + rng.integers(1, 60, mask.shape, np.uint8)).save(root / "images" / f"{name}.png")
    return root


def test_every_split_of_images_says_that_patients_are_unknown(data: DecodedDataset) -> None:
    split = split_by_patient(data)
    assert not split.patients_known
    assert not split_by_slice(data).patients_known
    assert not split_within(data, split, 0, folds=2).patients_known
    assert not patients_known(split, data)


def test_the_facts_of_a_split_count_images_and_claim_nothing_of_a_leak(data: DecodedDataset) -> None:
    facts = split_facts(data, split_by_patient(data), 0, "test")
    told = facts.to_json()
    assert (told["images"], told["train_images"], told["patients_known"]) == (1, 5, False)
    assert not [name for name in told if "patients" in name.replace("patients_known", "") or "neighbour" in name]


def test_an_expression_makes_patients_known(tmp_path: Path) -> None:
    root = pictures(tmp_path, ("a_1", "a_2", "b_1", "c_1"))
    dataset = open_dataset(root, patient_regex="^(.)_")
    assert dataset.patients_known
    assert split_by_patient(decode(dataset)).patients_known


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        (("p01_003", "p02_001", "p01_004"), ("p01_003", "p01_004")),
        (("scan-12", "scan-7"), ("scan-12", "scan-7")),
        (("a b slice3", "a b slice10"), ("a b slice3", "a b slice10")),
        (("eye.z1", "eye.z2"), ("eye.z1", "eye.z2")),
        (("ann_1", "bob_1", "cem_1"), None),
        (("p1", "p2", "p3"), None),
        (("1", "2", "003"), None),
        (("3_left", "3_right"), None),
    ],
)
def test_names_ask_where_two_differ_in_their_number_alone(names: tuple[str, ...], pair: tuple[str, str] | None) -> None:
    assert alike(names) == pair


def test_a_split_asks_who_is_a_patient_and_takes_the_word_of_the_user(tmp_path: Path) -> None:
    dataset = open_dataset(pictures(tmp_path, ("eye_1", "eye_2", "eye_3", "eye_4")))
    with pytest.raises(DataError, match=r"eye_1 and eye_2 look like slices.*--patient-regex.*--each-image"):
        split_by_patient(decode(dataset))
    decoded = decode(each_image_a_patient(dataset))
    split = split_by_patient(decoded)
    assert (split.patients_known, split.strategy) == (True, "patient")
    assert patients_known(split, decode(dataset))  # the split keeps the word for all that comes after


def test_the_word_is_refused_where_the_data_names_patients(tmp_path: Path) -> None:
    dataset = open_dataset(pictures(tmp_path, ("a_1", "b_1")), patient_regex="^(.)_")
    with pytest.raises(DataError, match="patients are known already"):
        each_image_a_patient(dataset)


def test_a_manifest_of_unknown_patients_names_none_and_reads_back_as_that(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.csv", open_dataset(pictures(tmp_path / "pictures", NAMES)))
    assert (tmp_path / "manifest.csv").read_text().splitlines()[0] == "slice_id,image,mask"
    again = open_dataset(tmp_path)
    assert not again.patients_known
    assert again.patients == NAMES
    assert not split_by_patient(decode(again)).patients_known


def test_a_manifest_on_the_word_of_the_user_keeps_the_word(tmp_path: Path) -> None:
    dataset = each_image_a_patient(open_dataset(pictures(tmp_path / "pictures", NAMES)))
    write_manifest(tmp_path / "manifest.csv", dataset)
    assert open_dataset(tmp_path).patients_known


def test_a_manifest_without_patients_asks_as_a_folder_does_and_takes_an_expression(tmp_path: Path) -> None:
    lines = [
        f"{slice_id},{slice_id}.png,{place},{site}" for slice_id, place, site in (("a_1", 9, "N"), ("a_2", 4, "N"))
    ]
    (tmp_path / "manifest.csv").write_text("\n".join(["slice_id,image,slice,site", *lines, "b_1,b_1.png,2,S"]))
    for name in ("a_1", "a_2", "b_1"):
        (tmp_path / f"{name}.png").write_bytes(b"pixels")
    with pytest.raises(DataError, match="a_1 and a_2 look like slices of one patient"):
        require_told(open_dataset(tmp_path))
    dataset = open_dataset(tmp_path, patient_regex="^(.)_")
    assert dataset.patients_known
    found = [(record.slice_id, record.patient, record.slice_index) for record in dataset.records]
    assert found == [("a_2", "a", 4), ("a_1", "a", 9), ("b_1", "b", 2)]
    assert dataset.attributes == {"a": {"site": "N"}, "b": {"site": "S"}}


@pytest.mark.parametrize("name", ["Patient", "patient_id", "subject"])
def test_a_column_of_patients_under_another_name_is_not_passed_by(tmp_path: Path, name: str) -> None:
    (tmp_path / "manifest.csv").write_text(f"slice_id,{name},image\na,p,a.png")
    with pytest.raises(DataError, match=f"has no column patient, but '{name}'"):
        open_dataset(tmp_path)


def test_a_manifest_that_names_patients_takes_no_expression(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("slice_id,patient,image\na,p,a.png")
    with pytest.raises(DataError, match="its manifest says who the patients are, so --patient-regex says nothing"):
        open_dataset(tmp_path, patient_regex="(.)")
