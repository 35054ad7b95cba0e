"""A split is a value that refuses to leak."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from segmed.core.errors import DataError, SplitError
from segmed.core.split import Partition, Split

PATIENTS = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}


def make(train: tuple[str, ...], test: tuple[str, ...], *, leaking: bool = False) -> Split:
    return Split("patient", 3, "f" * 64, leaking, PATIENTS, (Partition(train, ("b1",), test),))


def test_a_patient_in_two_parts_is_refused_by_name() -> None:
    with pytest.raises(SplitError, match="patient a is in both train and test"):
        make(("a1",), ("a2",)).validate()


def test_a_patient_in_two_parts_is_accepted_when_the_split_is_marked_leaking() -> None:
    make(("a1",), ("a2",), leaking=True).validate()


def test_a_slice_in_two_parts_is_refused_even_when_marked_leaking() -> None:
    with pytest.raises(SplitError, match="slice a1 is in both"):
        make(("a1",), ("a1",), leaking=True).validate()


def test_a_slice_without_patient_is_refused() -> None:
    with pytest.raises(SplitError, match="slice z1 has no patient"):
        make(("a1",), ("z1",)).validate()


def test_saving_and_loading_gives_an_equal_split(tmp_path: Path) -> None:
    split = make(("a1", "a2"), ("c1",))
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split


def test_a_place_that_cannot_be_written_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"split\.json: cannot be written"):
        make(("a1",), ("c1",)).save(tmp_path / "file" / "split.json")


def test_the_file_of_a_leaking_split_says_so_in_capitals(tmp_path: Path) -> None:
    make(("a1",), ("a2",), leaking=True).save(tmp_path / "split.json")
    assert json.loads((tmp_path / "split.json").read_text())["LEAKING"] is True


def test_a_loaded_split_that_leaks_is_refused_naming_the_file(tmp_path: Path) -> None:
    make(("a1",), ("a2",)).save(tmp_path / "split.json")
    with pytest.raises(SplitError, match=r"split\.json: fold 0: patient a is in both"):
        Split.load(tmp_path / "split.json")


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"format": 1}', "not json", '{"format": 1, "folds": [], "strategy": "x", "seed": "a"}']
)
def test_a_file_that_is_no_split_is_refused_naming_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(ValueError, match=r"split\.json"):
        Split.load(tmp_path / "split.json")


def test_a_split_of_other_data_is_refused_with_the_remedy() -> None:
    with pytest.raises(SplitError, match="make a new one"):
        make(("a1",), ("c1",)).require_data("0" * 64)


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SplitError, match="folds 0 to 0"):
        make(("a1",), ("c1",)).fold(1)


def test_a_split_of_unknown_patients_says_so_in_its_file_and_claims_no_split_by_patient(tmp_path: Path) -> None:
    unknown = replace(
        make(("a1", "a2"), ("c1",)), patient_of={slice_id: slice_id for slice_id in PATIENTS}, patients_known=False
    )
    unknown.save(tmp_path / "split.json")
    stored = json.loads((tmp_path / "split.json").read_text())
    assert stored["patients_known"] is False
    assert "by_patient" not in stored
    assert Split.load(tmp_path / "split.json") == unknown


@pytest.mark.parametrize("named", [True, False])
def test_a_file_of_an_earlier_version_knows_patients_where_it_names_any(tmp_path: Path, named: bool) -> None:
    split = make(("a1", "a2"), ("c1",))
    (split if named else replace(split, patient_of={slice_id: slice_id for slice_id in PATIENTS})).save(
        tmp_path / "split.json"
    )
    stored = json.loads((tmp_path / "split.json").read_text())
    del stored["patients_known"]
    (tmp_path / "split.json").write_text(json.dumps(stored))
    assert Split.load(tmp_path / "split.json").patients_known is named
