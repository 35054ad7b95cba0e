from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from segmed.core.errors import SplitError
from segmed.core.labels import LabelMap
from segmed.core.records import Record, SliceDataset
from segmed.core.split import Partition, Split
from segmed.data.decoded import decode
from segmed.evaluation.floors import floor_evaluations

SIZE = (24, 17)


def write_slice(folder, patient: str, position: int) -> Record:
    """A slice whose brightness tells its patient's parity, with a stripe that widens from slice 2 to 4."""
    mask = np.zeros(SIZE, np.uint8)
    if 2 <= position <= 4:
        mask[:, : 4 * (position - 1)] = 255
    image = np.full((*SIZE, 3), 40 + 10 * position, np.uint8)
    paths = folder / f"{patient}_{position}.png", folder / f"{patient}_{position}_mask.png"
    Image.fromarray(image).save(paths[0])
    Image.fromarray(mask).save(paths[1])
    return Record(f"{patient}_{position}", patient, position, *paths)


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("floors")
    records = tuple(write_slice(folder, patient, z) for patient in "abc" for z in range(1, 6))
    return decode(SliceDataset("tiny", folder, records, LabelMap()), cache_dir=folder / "cache")


def split_of(decoded, partition: Partition, *, leaking: bool) -> Split:
    patient_of = {record.slice_id: record.patient for record in decoded.dataset.records}
    return Split("patient", 0, decoded.data_hash, leaking, patient_of, (partition,))


def by_patient(decoded) -> Split:
    slice_ids = {p: tuple(f"{p}_{z}" for z in range(1, 6)) for p in "abc"}
    return split_of(decoded, Partition(slice_ids["a"], slice_ids["b"], slice_ids["c"]), leaking=False)


def by_slice(decoded) -> Split:
    odd = tuple(f"{p}_{z}" for p in "abc" for z in (1, 2, 4, 5))
    return split_of(decoded, Partition(odd, (), tuple(f"{p}_3" for p in "abc")), leaking=True)


def test_under_a_split_by_patient_only_copying_predicts_anything(decoded):
    nothing, between, copied = floor_evaluations(decoded, by_patient(decoded), resamples=20)
    assert nothing.metrics["iou_per_image_empty_one"].value == pytest.approx(2 / 5)
    assert between.metrics["iou_per_image_empty_one"].value == pytest.approx(2 / 5)
    assert "predicts nothing" in between.provenance.remark
    assert copied.metrics["dice"].value == 1.0


def test_under_a_split_by_slice_interpolation_finds_everything_without_an_image(decoded):
    _, between, _ = floor_evaluations(decoded, by_slice(decoded), resamples=20)
    assert between.metrics["dice"].value == 1.0
    assert "3 of 3 patients" in between.provenance.remark


def test_a_floor_under_a_leaking_split_is_marked_and_carries_the_leak_figures(decoded):
    for floor in floor_evaluations(decoded, by_slice(decoded), resamples=20):
        assert floor.leaking
        assert floor.kind == "floor"
        assert floor.split.share_with_train_neighbour == 1.0
        assert floor.split.patients_also_in_train == 3


def test_a_split_of_other_data_is_refused(decoded):
    other = replace(by_patient(decoded), data_hash="f" * 64)
    with pytest.raises(SplitError, match="made for data ffff"):
        floor_evaluations(decoded, other)
