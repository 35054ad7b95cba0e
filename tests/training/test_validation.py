"""The threshold is chosen by volumetric Dice of patients, equal to counting by brute force."""

import numpy as np
import pytest
import torch

from segmed.models.prediction import THRESHOLDS
from segmed.training.validation import ThresholdCounts


def brute_force(slices: list[tuple[torch.Tensor, np.ndarray]], label: int, threshold: float) -> float:
    hits = predicted = reference = 0
    for probabilities, truth in slices:
        best, which = probabilities.max(0)
        mine = ((which == label) & (best >= threshold)).numpy()
        hits += int((mine & (truth == label + 1)).sum())
        predicted += int(mine.sum())
        reference += int((truth == label + 1).sum())
    return 2 * hits / (predicted + reference)


@pytest.mark.parametrize("labels", [1, 3])
def test_counts_at_every_threshold_equal_brute_force(labels: int) -> None:
    rng = np.random.default_rng(0)
    counts = ThresholdCounts(2, labels)
    slices: list[list[tuple[torch.Tensor, np.ndarray]]] = [[], []]
    for patient in (0, 1, 1):
        probabilities = torch.from_numpy(rng.random((labels, 9, 7), dtype=np.float32))
        truth = rng.integers(0, labels + 1, (9, 7)).astype(np.uint8)
        slices[patient].append((probabilities, truth))
        counts.add(patient, probabilities, truth)
    dice = counts.dice()
    for patient in range(2):
        for label in range(labels):
            for index, threshold in enumerate(THRESHOLDS):
                assert dice[patient, label, index] == pytest.approx(brute_force(slices[patient], label, threshold))


def test_the_best_threshold_separates_the_foreground() -> None:
    truth = np.zeros((4, 4), np.uint8)
    truth[0] = 1
    probabilities = torch.full((1, 4, 4), 0.31)
    probabilities[0, 0] = 0.36
    counts = ThresholdCounts(1, 1)
    counts.add(0, probabilities, truth)
    assert counts.best() == (0.35, 1.0)


def test_among_equal_thresholds_the_one_nearest_a_half_is_taken() -> None:
    truth = np.eye(3, dtype=np.uint8)
    counts = ThresholdCounts(1, 1)
    counts.add(0, torch.from_numpy(truth[None].astype(np.float32)), truth)
    assert counts.best() == (0.5, 1.0)


def test_patients_count_equally_however_large_their_tumours() -> None:
    counts = ThresholdCounts(2, 1)
    counts.add(0, torch.ones(1, 10, 10), np.ones((10, 10), np.uint8))
    small = np.zeros((10, 10), np.uint8)
    small[0, 0] = 1
    counts.add(1, torch.zeros(1, 10, 10), small)
    assert counts.best()[1] == pytest.approx(0.5)


def test_a_label_in_no_reference_and_no_prediction_is_no_part_of_the_mean() -> None:
    truth = np.zeros((8, 8), np.uint8)
    truth[:4] = 1
    probabilities = torch.zeros(2, 8, 8)
    probabilities[0, :4] = 0.9
    counts = ThresholdCounts(1, 2)
    counts.add(0, probabilities, truth)
    assert counts.best() == (0.5, 1.0)


def test_a_label_in_no_reference_that_is_predicted_counts_as_wrong() -> None:
    truth = np.zeros((8, 8), np.uint8)
    truth[:4] = 1
    probabilities = torch.zeros(2, 8, 8)
    probabilities[0, :4], probabilities[1, 4:] = 0.9, 0.999
    counts = ThresholdCounts(1, 2)
    counts.add(0, probabilities, truth)
    assert counts.best()[1] == pytest.approx(0.5)


def test_without_any_label_there_is_no_dice() -> None:
    counts = ThresholdCounts(1, 2)
    counts.add(0, torch.zeros(2, 5, 3), np.zeros((5, 3), np.uint8))
    threshold, dice = counts.best()
    assert threshold == 0.5
    assert np.isnan(dice)


def test_a_patient_without_tumour_or_prediction_does_not_count() -> None:
    counts = ThresholdCounts(2, 1)
    counts.add(0, torch.ones(1, 3, 3), np.ones((3, 3), np.uint8))
    counts.add(1, torch.zeros(1, 3, 3), np.zeros((3, 3), np.uint8))
    assert np.isnan(counts.dice()[1]).all()
    assert counts.best()[1] == 1.0
