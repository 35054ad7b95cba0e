"""Splits are by patient, stratified and repeatable; the report's is by slice and says that it leaks."""

import math
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segmed.core.errors import DataError, SplitError
from segmed.core.records import Record
from segmed.core.split import PARTS, Partition
from segmed.data.decoded import DecodedDataset
from segmed.data.splits import (
    leak_figures,
    require_fit,
    split_by_institution,
    split_by_patient,
    split_by_slice,
    split_within,
)
from toydata import toy


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    return toy(tmp_path_factory.mktemp("toy"), patients=20, slices=2, size=(40, 36))


def patients(data: DecodedDataset, fold: Partition, part: str) -> set[str]:
    records = data.dataset.by_slice_id()
    return {records[slice_id].patient for slice_id in fold.part(part)}  # type: ignore[arg-type]


def test_no_patient_is_in_two_parts_and_all_are_in_one(data: DecodedDataset) -> None:
    fold = split_by_patient(data).fold(0)
    parts = [patients(data, fold, part) for part in PARTS]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == 20


def test_parts_have_the_sizes_asked_for(data: DecodedDataset) -> None:
    fold = split_by_patient(data, ratios=(0.5, 0.2, 0.3)).fold(0)
    assert [len(patients(data, fold, part)) for part in PARTS] == [10, 4, 6]


def test_every_patient_is_tested_once_over_the_folds(data: DecodedDataset) -> None:
    split = split_by_patient(data, folds=5)
    tested = [patient for fold in split.folds for patient in patients(data, fold, "test")]
    assert sorted(tested) == sorted(data.dataset.patients)
    assert [len(patients(data, fold, "test")) for fold in split.folds] == [4] * 5


def test_every_fold_has_both_institutions_in_proportion(data: DecodedDataset) -> None:
    for fold in split_by_patient(data, folds=5, seed=1).folds:
        sites = [data.dataset.attributes[patient]["institution"] for patient in patients(data, fold, "test")]
        assert sorted(sites) == ["AA", "AA", "BB", "BB"]


def test_small_and_large_tumours_are_spread_over_the_folds(data: DecodedDataset) -> None:
    volume = {
        patient: sum(int(data.mask(r.slice_id).sum()) for r in data.dataset.records if r.patient == patient)
        for patient in data.dataset.patients
    }
    means = [
        np.mean([volume[patient] for patient in patients(data, fold, "test")])
        for fold in split_by_patient(data, folds=4).folds
    ]
    assert max(means) / min(means) < 1.25


def test_the_same_seed_gives_the_same_split_and_another_gives_another(data: DecodedDataset) -> None:
    assert split_by_patient(data, seed=4) == split_by_patient(data, seed=4)
    assert split_by_patient(data, seed=4).folds != split_by_patient(data, seed=5).folds


def test_over_the_seeds_every_patient_gets_to_be_tested(data: DecodedDataset) -> None:
    tested = {
        patient for seed in range(20) for patient in patients(data, split_by_patient(data, seed=seed).fold(0), "test")
    }
    assert tested == set(data.dataset.patients)


def test_too_few_patients_for_a_part_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="2 patients are too few"):
        split_by_patient(toy(tmp_path, patients=2))


def test_each_fold_of_a_small_data_set_has_someone_to_validate_on(tmp_path: Path) -> None:
    split = split_by_patient(toy(tmp_path, patients=6), folds=3)
    assert [len(fold.validation) for fold in split.folds] == [4, 4, 4]


@pytest.mark.parametrize("folds", [1, 21])
def test_an_impossible_number_of_folds_is_refused(data: DecodedDataset, folds: int) -> None:
    with pytest.raises(SplitError, match="Use 2 to 20"):
        split_by_patient(data, folds=folds)


def test_ratios_that_do_not_sum_to_one_are_refused(data: DecodedDataset) -> None:
    with pytest.raises(SplitError, match="sum to 1"):
        split_by_patient(data, ratios=(0.7, 0.2, 0.2))


@pytest.mark.parametrize("ratios", [(math.nan, 0.5, 0.5), (0.5, 0.5, math.nan), (math.inf, 0.5, 0.5)])
def test_ratios_that_are_no_numbers_are_refused(data: DecodedDataset, ratios: tuple[float, float, float]) -> None:
    with pytest.raises(SplitError, match="sum to 1"):
        split_by_patient(data, ratios=ratios)


def test_institutions_are_not_held_out_where_nobody_said_which_images_are_of_one_patient(data: DecodedDataset) -> None:
    unknown = copy(data)
    records = tuple(replace(record, patient=record.slice_id) for record in data.dataset.records)
    attributes = {record.slice_id: {"institution": str(record.slice_index % 2)} for record in records}
    unknown.dataset = replace(data.dataset, records=records, attributes=attributes, patients_known=False)
    with pytest.raises(DataError, match="look like slices of one patient"):
        split_by_institution(unknown)


def test_the_slice_split_has_the_reports_proportions_and_is_marked_leaking(data: DecodedDataset) -> None:
    split = split_by_slice(data)
    assert split.leaking
    assert [len(split.fold(0).part(part)) for part in PARTS] == [29, 7, 4]


def test_a_split_that_gives_a_patient_several_names_is_refused(data: DecodedDataset) -> None:
    slices = split_by_slice(data)
    disguised = replace(slices, leaking=False, patient_of={slice_id: slice_id for slice_id in slices.patient_of})
    disguised.validate()
    with pytest.raises(SplitError, match=r"is of patient \w+_1, the data says TOY"):
        require_fit(disguised, data)


def test_leak_figures_count_neighbours_and_shared_patients() -> None:
    path = Path("x")
    records = [Record(f"p{z}", "p", z, path, None) for z in range(1, 6)]
    records += [Record(f"q{z}", "q", z, path, None) for z in range(1, 3)]
    fold = Partition(train=("p1", "p2"), validation=("p5",), test=("p3", "p4", "q1", "q2"))
    figures = leak_figures(records, fold)
    assert (figures.test_slices, figures.with_train_neighbour) == (4, 1)
    assert (figures.test_patients, figures.patients_also_in_train) == (2, 1)
    assert figures.share == 0.25


def test_a_split_by_patient_has_no_neighbour_in_train(data: DecodedDataset) -> None:
    split = split_by_patient(data)
    assert leak_figures(data.dataset.records, split.fold(0)).with_train_neighbour == 0


def test_folds_within_the_training_part_hold_training_patients_alone_and_test_each_once(data: DecodedDataset) -> None:
    split = split_by_patient(data)
    inner = split_within(data, split, 0, folds=4)
    trained = patients(data, split.fold(0), "train")
    tested = [patient for fold in inner.folds for patient in sorted(patients(data, fold, "test"))]
    assert sorted(tested) == sorted(trained)
    for fold in inner.folds:
        assert set.union(*(patients(data, fold, part) for part in PARTS)) == trained
    assert split_within(data, split, 0, folds=4) == inner


def test_a_split_that_leaks_has_no_folds_within(data: DecodedDataset) -> None:
    with pytest.raises(SplitError, match="would leak as well"):
        split_within(data, split_by_slice(data), 0, folds=2)


def with_records(data: DecodedDataset, records: tuple[Record, ...]) -> DecodedDataset:
    other = copy(data)
    other.dataset = replace(data.dataset, records=records)
    return other


def test_slices_without_a_mask_are_in_no_part(data: DecodedDataset) -> None:
    first = data.dataset.records[0]
    records = (replace(first, mask=None), *data.dataset.records[1:])
    partly = with_records(data, records)
    for split in (split_by_patient(partly, folds=3), split_by_slice(partly)):
        dealt = {slice_id for fold in split.folds for part in PARTS for slice_id in fold.part(part)}
        assert dealt == {record.slice_id for record in records[1:]}
        require_fit(split, partly)


def test_data_without_any_mask_is_not_split(data: DecodedDataset) -> None:
    records = tuple(replace(record, mask=None) for record in data.dataset.records)
    with pytest.raises(SplitError, match="no slice has a mask"):
        split_by_patient(with_records(data, records))
