"""FairSeg's npz files are read in both sets of keys; nothing pickled is ever loaded."""

from pathlib import Path

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.data.decoded import decode
from segmed.data.layouts.manifest import write_manifest
from segmed.data.sources import holds_pairs, layout_of, list_dataset, open_dataset
from segmed.evaluation.masks.folders import evaluate_pairs, pair_folders
from segmed.inference.inputs import find_inputs

SIZE = (20, 25)


def fundus() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)


def cup_in_disc(dtype: str = "float64") -> np.ndarray:
    mask = np.zeros(SIZE, dtype)
    mask[4:16, 5:20] = -1
    mask[8:12, 9:15] = -2
    return mask


def released(path: Path, **changes: object) -> None:
    values = {
        "slo_fundus": fundus(), "disc_cup_mask": cup_in_disc(), "age": 61.5, "gender": 0, "race": 1,
        "ethnicity": -1, "language": 0, "maritalstatus": 3,
    }  # fmt: skip
    np.savez(path, **{**values, **changes})


def published(path: Path, pid: int) -> None:
    np.savez(
        path, fundus_slo=fundus(), disc_cup=cup_in_disc("int8"), pid=pid, age=365 * 50, male=1, race=7, hispanic=1
    )  # fmt: skip


def test_both_sets_of_keys_give_images_labels_and_facts(tmp_path: Path) -> None:
    released(tmp_path / "data_00001.npz")
    (tmp_path / "Test").mkdir()
    published(tmp_path / "Test" / "data_00002.npz", pid=77)
    dataset = open_dataset(tmp_path)
    assert dataset.labels.names == ("rim", "cup")
    assert dataset.patients == ("pid_77", "data_00001") or dataset.patients == ("data_00001", "pid_77")
    assert dataset.attributes["data_00001"] == {
        "age": "61.5", "gender": "female", "race": "Black", "language": "English", "maritalstatus": "3",
    }  # fmt: skip
    assert dataset.attributes["pid_77"] == {
        "age": "50.0", "gender": "male", "race": "White", "ethnicity": "Hispanic",
    }  # fmt: skip
    data = decode(dataset, cache_dir=tmp_path / "cache")
    for slice_id in ("data_00001", "data_00002"):
        assert np.array_equal(data.image(slice_id)[..., 0], fundus())
        assert np.array_equal(data.mask(slice_id), np.abs(cup_in_disc()).astype(np.uint8))


def test_two_files_of_one_patient_stay_together(tmp_path: Path) -> None:
    for number in (1, 2):
        published(tmp_path / f"data_0000{number}.npz", pid=5)
    dataset = open_dataset(tmp_path)
    assert dataset.patients == ("pid_5",)
    assert [record.slice_index for record in dataset.records] == [1, 2]


def test_a_pickled_fact_is_refused_unread(tmp_path: Path) -> None:
    released(tmp_path / "data_00001.npz", race=np.array({"a": 1}, dtype=object))
    released(tmp_path / "data_00002.npz")
    listing = list_dataset(tmp_path)
    assert [record.slice_id for record in listing.dataset.records] == ["data_00002"]
    assert "pickled objects" in listing.findings[0].message


@pytest.mark.parametrize("value", [3, -3, 0.5])
def test_a_mask_with_other_values_is_refused(tmp_path: Path, value: float) -> None:
    mask = cup_in_disc()
    mask[0, 0] = value
    released(tmp_path / "data_00001.npz", disc_cup_mask=mask)
    with pytest.raises(DataError, match="a FairSeg mask holds 0, -1 and -2"):
        decode(open_dataset(tmp_path), cache_dir=tmp_path / "cache")


def test_a_file_without_fairsegs_keys_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "data_00001.npz", image=fundus())
    with pytest.raises(DataError, match=r"data_00001\.npz: no FairSeg file; expected slo_fundus"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(("gender", "said"), [("male", "gender is 'male', expected a number"), (np.nan, "")])
def test_a_fact_that_is_no_number_is_named_with_its_file_and_nan_is_unknown(
    tmp_path: Path, gender: object, said: str
) -> None:
    released(tmp_path / "data_00001.npz", gender=gender)
    listing = list_dataset(tmp_path)
    assert [found.message for found in listing.findings] == ([f"{said}. Check the file."] if said else [])
    assert [("gender" in facts) for facts in listing.dataset.attributes.values()] == ([] if said else [False])


def test_a_damaged_fact_is_a_finding_of_its_file(tmp_path: Path) -> None:
    released(tmp_path / "data_00001.npz")
    content = bytearray((tmp_path / "data_00001.npz").read_bytes())
    start = content.index(b"\x93NUMPY", content.index(b"age.npy"))
    content[start : start + 6] = b"nothin"
    (tmp_path / "data_00001.npz").write_bytes(bytes(content))
    (found,) = list_dataset(tmp_path).findings
    assert found.where == str(tmp_path / "data_00001.npz")
    assert "damaged or truncated" in found.message


def test_a_manifest_of_files_that_hold_image_and_mask_lists_them_again(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    released(tmp_path / "set" / "data_00001.npz")
    released(tmp_path / "set" / "data_00002.npz")
    dataset = open_dataset(tmp_path / "set")
    write_manifest(tmp_path / "set.csv", dataset)
    again = open_dataset(tmp_path / "set.csv", labels=dataset.labels)
    assert [(each.slice_id, each.image) for each in again.records] == [
        (each.slice_id, each.image) for each in dataset.records
    ]
    assert decode(again, cache_dir=tmp_path / "cache").mask("data_00001").max() == 2


def two_of_one_patient(folder: Path) -> Path:
    folder.mkdir()
    for number in (1, 2):
        published(folder / f"data_0000{number}.npz", pid=5)
    return folder


def test_references_and_what_is_predicted_may_be_in_the_layout_too(tmp_path: Path) -> None:
    references, predictions = two_of_one_patient(tmp_path / "references"), tmp_path / "predictions"
    predictions.mkdir()
    for path in references.iterdir():
        np.savez(predictions / path.name, mask=np.abs(cup_in_disc("int8")).astype(np.uint8))
    pairs = pair_folders(predictions, references)
    assert pairs.patients_known
    result = evaluate_pairs(pairs, open_dataset(references).labels, name="other tool", resamples=20)
    assert result.by_patient("dice") == {"pid_5": 1.0}
    assert {record.patient for record in find_inputs(references).records} == {"pid_5"}


def test_arrays_that_are_only_named_alike_are_loose_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "data_00001.npz", mask=np.zeros(SIZE, np.uint8))
    (tmp_path / "data_00002.npz").write_bytes(b"no archive")
    assert layout_of(tmp_path) == "fairseg"
    assert not holds_pairs(tmp_path, "fairseg")
    assert {record.patient for record in find_inputs(tmp_path).records} == {"data_00001.npz", "data_00002.npz"}
    assert not pair_folders(tmp_path, tmp_path).patients_known
