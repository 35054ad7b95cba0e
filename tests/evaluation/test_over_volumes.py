"""A patient with several volumes is scored over these first, so that each patient counts once."""

import numpy as np
import pytest
import torch

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.evaluation.compare import compare
from segmed.evaluation.evaluate import evaluate
from segmed.evaluation.report.notes import notes
from segmed.evaluation.volume import PatientVolume
from segmed.training.validation import ThresholdCounts

TRUTH = np.zeros((3, 5), np.uint8)
TRUTH[1, 1:3] = 1


def volume(patient: str, name: str | None, guess: np.ndarray, count: int = 1) -> PatientVolume:
    return PatientVolume(
        patient=patient,
        slice_ids=tuple(f"{name or patient}_{number}" for number in range(count)),
        reference=[TRUTH] * count,
        prediction=[guess] * count,
        volume=name,
    )


def test_errors_of_two_volumes_of_a_patient_do_not_cancel_out() -> None:
    less, more = TRUTH.copy(), TRUTH.copy()
    less[1, 1], more[2, 1] = 0, 1  # of two pixels one and three
    result = evaluate(
        [volume("a", "a1", less), volume("a", "a2", more), volume("b", None, TRUTH)], LabelMap(), name="x"
    )
    assert result.metrics["volume_error"].value == 0.25
    assert result.metrics["volume_bias"].value == 0


def test_a_patient_counts_once_however_many_volumes_there_are() -> None:
    right, nothing = TRUTH, np.zeros_like(TRUTH)
    result = evaluate(
        [volume("a", "a1", right, 4), volume("a", "a2", nothing), volume("b", None, right)], LabelMap(), name="x"
    )
    assert result.by_patient("dice") == {"a": 0.5, "b": 1.0}  # not 0.8 of 5 slices
    assert result.metrics["dice"].value == 0.75
    row = next(row for row in result.patients if row.patient == "a")
    assert (row.slices, row.reference_px, row.tp, row.missed) == (5, 10, 8, False)
    assert result.provenance.volumes == 3
    assert notes(compare([result]))[0].startswith("3 volumes of 2 patients: each patient's score is the mean over")


def test_a_patient_of_one_volume_is_scored_as_ever() -> None:
    alone = evaluate([volume("a", None, TRUTH)], LabelMap(), name="x")
    named = evaluate([volume("a", "v", TRUTH)], LabelMap(), name="x")
    assert alone.patients == named.patients
    assert named.provenance.volumes is None


def test_one_volume_cannot_come_twice() -> None:
    with pytest.raises(DataError, match="a1 comes twice"):
        evaluate([volume("a", "a1", TRUTH), volume("a", "a1", TRUTH)], LabelMap(), name="x")


def test_training_chooses_by_the_same_mean_over_volumes() -> None:
    counts = ThresholdCounts(3, 1, [0, 0, 1])
    sure, none = torch.from_numpy(TRUTH).float()[None], torch.zeros(1, 3, 5)
    for number, probabilities in enumerate((sure, none, sure)):
        counts.add(number, probabilities, TRUTH)
    assert counts.best()[1] == pytest.approx(0.75)
