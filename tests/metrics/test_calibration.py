import math

import numpy as np
import pytest

from segmed.metrics.calibration import expected_calibration_error, reliability, tumour_band

ONE = np.zeros((31, 40), bool)
ONE[15, 20] = True


def ece(sums) -> float:
    return float(expected_calibration_error(sums.pixels.astype(float), sums.probability, sums.positive))


def test_the_band_is_a_disc_around_one_pixel():
    assert tumour_band(ONE, 1.0).sum() == 5
    assert tumour_band(ONE, 2.0).sum() == 13


def test_a_slice_without_tumour_has_no_band():
    assert not tumour_band(np.zeros((4, 5), bool)).any()


def test_a_certain_and_right_prediction_has_no_error():
    sums = reliability([ONE], [ONE.astype(np.float32)])
    assert ece(sums) == 0.0
    assert sums.brier == 0.0


def test_a_certain_and_wrong_prediction_has_error_one():
    sums = reliability([ONE], [1.0 - ONE.astype(np.float32)])
    assert ece(sums) == 1.0
    assert sums.brier == 1.0


def test_predicting_the_true_share_everywhere_is_calibrated_but_not_sharp():
    band = tumour_band(ONE)
    share = float(ONE[band].mean())
    sums = reliability([ONE], [np.full(ONE.shape, share)])
    assert ece(sums) == pytest.approx(0.0, abs=1e-12)
    assert sums.brier == pytest.approx(share * (1 - share))


def test_pixels_far_from_the_tumour_do_not_count():
    guess = ONE.astype(np.float32)
    guess[0, 0] = 1.0
    assert reliability([ONE], [guess]).squared_error == 0.0


def test_a_patient_without_tumour_has_no_calibration():
    empty = np.zeros((4, 5), bool)
    sums = reliability([empty], [np.ones((4, 5), np.float32)])
    assert math.isnan(ece(sums))
    assert math.isnan(sums.brier)


def test_sums_of_two_slices_are_the_sums_of_each():
    guess = np.random.default_rng(0).random(ONE.shape)
    both = reliability([ONE, ONE], [guess, guess])
    one = reliability([ONE], [guess])
    np.testing.assert_allclose((one + one).probability, both.probability)
    assert both.pixels.sum() == 2 * tumour_band(ONE).sum()
