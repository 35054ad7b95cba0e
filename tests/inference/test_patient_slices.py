"""A patient's slices as one value: neighbours and normalisation come from the whole volume, wherever that is known."""

from pathlib import Path

import numpy as np
import pytest

from box_filler import filler
from segmed.core.errors import DataError, ModelError
from segmed.data.degrade import Degradation, degrade_volume
from segmed.inference import PatientSlices
from segmed.inference.from_data import patient_slices
from toydata import toy

VOLUME = [np.full((3, 5), level, np.uint8) for level in range(6)]


def levels(stacks: list[tuple[np.ndarray, ...]]) -> list[list[int]]:
    return [[int(image.flat[0]) for image in stack] for stack in stacks]


def test_images_alone_are_the_whole_volume_and_consecutive() -> None:
    slices = PatientSlices.of(VOLUME[:3])
    assert levels(slices.stacks(1)) == [[0, 0, 1], [0, 1, 2], [1, 2, 2]]
    assert slices.everything is slices.images
    assert PatientSlices.of(slices) is slices


def test_neighbours_come_from_the_whole_volume_in_any_order_but_not_over_gaps() -> None:
    asked = PatientSlices([VOLUME[4], VOLUME[1]], [7, 2], VOLUME, [1, 2, 3, 5, 7, 8])
    assert levels(asked.stacks(1)) == [[4, 4, 5], [0, 1, 2]]
    reversed_volume = PatientSlices([VOLUME[4], VOLUME[1]], [7, 2], VOLUME[::-1], [8, 7, 5, 3, 2, 1])
    assert levels(reversed_volume.stacks(2)) == [[4, 4, 4, 5, 5], [0, 0, 1, 2, 2]]


def test_some_of_the_slices_stay_within_the_volume_that_they_came_from() -> None:
    for slices in (PatientSlices(VOLUME[:4]), PatientSlices(VOLUME[:4], range(4), VOLUME[:4], range(4))):
        some = slices.some([2, 0])
        assert levels(some.stacks(1)) == [[1, 2, 3], [0, 0, 1]]
        assert len(some.everything) == 4
    unplaced = PatientSlices(VOLUME[:4], whole=VOLUME).some([3])
    assert unplaced.positions is None
    assert levels(unplaced.stacks(0)) == [[3]]


def test_arrays_of_slices_and_positions_are_as_good_as_lists() -> None:
    volume, places = np.stack(VOLUME), np.array([1, 2, 3, 5, 7, 8])
    asked = PatientSlices(volume[[4, 1]], places[[4, 1]], volume, places)
    assert levels(asked.stacks(1)) == [[4, 4, 5], [0, 1, 2]]
    assert levels(PatientSlices(volume[:3], places[:3]).some([1]).stacks(1)) == [[0, 1, 2]]


def test_positions_are_needed_only_for_neighbours_in_a_whole_volume() -> None:
    assert levels(PatientSlices(VOLUME[1:2], whole=VOLUME).stacks(0)) == [[1]]
    for half in ({"positions": [1]}, {"whole_positions": range(6)}, {}):
        with pytest.raises(ModelError, match="Give both positions"):
            PatientSlices(VOLUME[1:2], whole=VOLUME, **half).stacks(1)
    with pytest.raises(ModelError, match="not in its whole volume"):
        PatientSlices(VOLUME[1:2], [9], VOLUME, range(6)).stacks(1)
    with pytest.raises(DataError, match="each place once"):
        PatientSlices(VOLUME[:2], [1, 1]).stacks(1)


def test_grey_slices_get_a_channel_and_what_is_no_slice_is_refused() -> None:
    slices = PatientSlices(VOLUME[:1], whole=[VOLUME[0], np.zeros((4, 2, 3))]).channels_last()
    assert [image.shape for image in (*slices.images, *slices.everything)] == [(3, 5, 1), (3, 5, 1), (4, 2, 3)]
    with pytest.raises(ModelError, match=r"got shape \(1, 3, 5, 3\)"):
        PatientSlices(VOLUME[:1], whole=[np.zeros((1, 3, 5, 3))]).channels_last()


def test_some_slices_are_encoded_as_in_their_whole_volume() -> None:
    volume = [np.full((8, 8, 1), level, np.uint8) for level in (50, 100, 200)]
    predictor = filler()
    together = predictor.encode_volume(volume)
    (within,) = predictor.encode_volume(PatientSlices(volume[1:2], whole=volume))
    (alone,) = predictor.encode_volume(volume[1:2])
    assert np.array_equal(within.embedding.first, together[1].embedding.first)
    assert not np.array_equal(alone.embedding.first, together[1].embedding.first)


def test_records_of_a_data_set_bring_all_slices_of_their_patient(tmp_path: Path) -> None:
    decoded = toy(tmp_path, patients=2, slices=4)
    records = [record for record in decoded.dataset.records if record.patient == decoded.dataset.patients[1]]
    asked = [records[3], records[1]]
    slices = patient_slices(decoded, asked)
    assert slices.positions == [record.slice_index for record in asked]
    assert slices.whole_positions == [record.slice_index for record in records]
    for image, record in zip([*slices.images, *slices.everything], [*asked, *records], strict=True):
        assert np.array_equal(image, decoded.image(record.slice_id))


def test_degradation_is_that_of_the_whole_patient(tmp_path: Path) -> None:
    decoded = toy(tmp_path, patients=2, slices=4)
    records = [record for record in decoded.dataset.records if record.patient == decoded.dataset.patients[0]]
    noise = Degradation("noise", 0.2)
    whole = {record.slice_id: np.array(decoded.image(record.slice_id)) for record in records}
    expected = degrade_volume(whole, noise, patient=records[0].patient)
    slices = patient_slices(decoded, records[2:3], noise)
    assert np.array_equal(slices.images[0], expected[records[2].slice_id])
    assert not np.array_equal(slices.images[0], whole[records[2].slice_id])


@pytest.mark.parametrize("arguments", [(VOLUME[:2], [1]), (VOLUME[:1], [1], VOLUME[:3], [1, 2])])
def test_positions_are_one_for_each_slice(arguments: tuple[object, ...]) -> None:
    with pytest.raises(DataError, match=r"positions for [23] slices\. Give one position per slice"):
        PatientSlices(*arguments)  # type: ignore[arg-type]
