import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.slice_neighbours import stacked
from segmed.evaluation.volume import PatientVolume


def blank(height: int = 5, width: int = 7) -> np.ndarray:
    return np.zeros((height, width), np.uint8)


def test_two_studies_of_a_patient_with_the_same_slice_numbers_are_no_volume():
    with pytest.raises(DataError, match="first_1 and second_1 are slice 1 and then 1 of one volume"):
        PatientVolume("p", ("first_1", "second_1"), [blank()] * 2, [blank()] * 2, None, (1, 1))


def test_a_prediction_on_another_grid_names_its_slice():
    with pytest.raises(DataError, match=r"b: the prediction is \(5, 8\)"):
        PatientVolume("p", ("a", "b"), [blank(), blank()], [blank(), blank(5, 8)])


def test_slices_of_different_size_within_a_patient_are_refused():
    with pytest.raises(DataError, match=r"b: .* differs from"):
        PatientVolume("p", ("a", "b"), [blank(), blank(6)], [blank(), blank(6)])


def test_a_lost_prediction_is_refused_by_number():
    with pytest.raises(DataError, match="2 slices but 2 references and 1 predictions"):
        PatientVolume("p", ("a", "b"), [blank(), blank()], [blank()])


@pytest.mark.parametrize("bad", [np.nan, 1.5, -0.1])
def test_logits_or_nan_in_place_of_probabilities_are_refused(bad):
    with pytest.raises(DataError, match="a: probabilities must be 0 to 1"):
        PatientVolume("p", ("a",), [blank()], [blank()], [np.full((1, 5, 7), bad, np.float32)])


def test_a_patient_without_slices_is_refused():
    with pytest.raises(DataError, match="patient p: no slices"):
        PatientVolume("p", (), [], [])


def test_slices_that_are_not_neighbours_are_kept_apart():
    one = np.ones((2, 3), bool)
    assert stacked([one, one, one], (4, 5, 9)).any(axis=(1, 2)).tolist() == [True, True, False, True]
