import math

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.evaluation.context import Context
from segmed.evaluation.evaluate import evaluate
from segmed.evaluation.metrics import COLUMNS, METRICS
from segmed.evaluation.volume import PatientVolume
from segmed.metrics.counts import Counts
from segmed.metrics.iou_variants import IOU_VARIANTS

LABELS = LabelMap()
SIZES = ((13, 17), (20, 9), (11, 16))


def blob(size: tuple[int, int], top: int, left: int, side: int = 4) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def patient(name: str, size: tuple[int, int], shift: int, *, probability: bool = False) -> PatientVolume:
    """Five slices: two empty, three with a square that the prediction shifts to the right."""
    truth = [np.zeros(size, np.uint8), *[blob(size, 2, 2)] * 3, np.zeros(size, np.uint8)]
    guess = [np.zeros(size, np.uint8), *[blob(size, 2, 2 + shift)] * 3, np.zeros(size, np.uint8)]
    soft = [mask[None] * np.float32(0.95) for mask in guess] if probability else None
    return PatientVolume(name, tuple(f"{name}_{i}" for i in range(5)), truth, guess, soft, tuple(range(1, 6)))


def three(shifts: tuple[int, int, int] = (0, 1, 2), **options: bool) -> list[PatientVolume]:
    return [patient(f"p{i}", size, shift, **options) for i, (size, shift) in enumerate(zip(SIZES, shifts, strict=True))]


def predicting_nothing() -> list[PatientVolume]:
    return [
        PatientVolume(
            p.patient, p.slice_ids, p.reference, [np.zeros_like(m) for m in p.reference], None, p.slice_indices
        )
        for p in three()
    ]


def test_a_perfect_prediction_scores_full_marks():
    result = evaluate(three((0, 0, 0), probability=True), LABELS, name="perfect", resamples=50)
    value = {name: metric.value for name, metric in result.metrics.items()}
    assert value["dice"] == value["iou"] == value["nsd_1px"] == value["lesion_f1"] == 1.0
    assert value["iou_pooled"] == value["iou_per_image_empty_one"] == value["specificity_empty_slices"] == 1.0
    assert value["hd95"] == value["missed"] == value["volume_error"] == value["one_sided_slices"] == 0.0
    band = sum(result.calibration.counts)
    assert value["ece"] == pytest.approx(0.05 * 3 * 3 * 16 / band)  # only tumour pixels are off


def test_patient_dice_is_of_the_volume_and_then_averaged():
    result = evaluate(three(), LABELS, name="shifted", resamples=50)
    assert result.by_patient("dice") == {"p0": 1.0, "p1": 0.75, "p2": 0.5}
    assert result.metrics["dice"].value == pytest.approx(0.75)
    assert result.metrics["dice_median"].value == 0.75
    assert result.metrics["dice"].n == 3


def test_predicting_nothing_scores_the_share_of_empty_slices_per_image_and_zero_elsewhere():
    result = evaluate(predicting_nothing(), LABELS, name="nothing", resamples=50)
    value = {name: metric.value for name, metric in result.metrics.items()}
    assert value["iou_per_image_empty_one"] == pytest.approx(2 / 5)
    assert value["dice"] == value["iou_pooled"] == value["nsd_2px"] == value["lesion_recall"] == 0.0
    assert value["missed"] == 3
    assert value["hd95"] == pytest.approx(np.mean([math.hypot(*size) for size in SIZES]))
    assert value["specificity_empty_slices"] == 1.0
    assert value["one_sided_slices"] == 1.0


def test_precision_of_predicting_nothing_is_undefined_and_counted_as_such():
    precision = evaluate(predicting_nothing(), LABELS, name="nothing", resamples=50).metrics["precision"]
    assert math.isnan(precision.value)
    assert (precision.n, precision.undefined) == (0, 3)


def test_every_reading_of_iou_equals_its_plain_formula():
    result = evaluate(three((0, 1, 9)), LABELS, name="mixed", resamples=20)
    counts = [Counts(row.tp, row.fp, row.fn, row.tn) for row in result.slices]
    for name, iou_variant in IOU_VARIANTS.items():
        assert result.metrics[name].value == pytest.approx(iou_variant(counts))


def test_intervals_surround_their_value_and_repeat_with_the_seed():
    first = evaluate(three(), LABELS, name="a", resamples=500).metrics
    again = evaluate(three(), LABELS, name="b", resamples=500).metrics
    assert first["dice"].low == 0.5 <= first["dice"].value <= first["dice"].high == 1.0
    assert repr(first) == repr(again)


def test_several_labels_are_scored_apart_and_averaged_for_the_primary_number():
    truth = blob((9, 9), 0, 0) + 2 * blob((9, 9), 5, 5)
    guess = blob((9, 9), 0, 0)
    labels = LabelMap(names=("core", "oedema"), stored=(0, 1, 2))
    result = evaluate([PatientVolume("p", ("c",), [truth], [guess])], labels, name="half", resamples=10)
    assert [(row.label, row.value("dice"), row.missed) for row in result.patients] == [
        ("core", 1.0, False),
        ("oedema", 0.0, True),
    ]
    assert result.metrics["dice"].value == 0.5
    assert result.metrics["iou_pooled"].value == 0.5
    assert result.metrics["missed"].value == 1
    assert {label: metrics["dice"].value for label, metrics in result.by_label.items()} == {"core": 1.0, "oedema": 0.0}
    assert {label: metrics["missed"].value for label, metrics in result.by_label.items()} == {"core": 0, "oedema": 1}
    assert result.by_patient("dice", "oedema") == {"p": 0.0}


def test_every_metric_is_given_for_each_label_as_if_it_were_scored_alone():
    labels = LabelMap(names=("core", "oedema"), stored=(0, 1, 2))
    volumes, alone = [], []
    for index, one in enumerate(three((0, 1, 2), probability=True)):
        both = [truth + 2 * np.roll(truth, 5, axis=0) for truth in one.reference]
        soft = [np.concatenate([p, np.zeros_like(p)]) for p in one.probability or []]
        volumes.append(PatientVolume(one.patient, one.slice_ids, both, one.prediction, soft, one.slice_indices))
        alone.append(three((0, 1, 2), probability=True)[index])
    together = evaluate(volumes, labels, name="two", resamples=50).by_label["core"]
    assert repr(together) == repr(evaluate(alone, LABELS, name="one", resamples=50).metrics)


def test_a_single_label_is_not_told_twice():
    assert evaluate(three(), LABELS, name="one", resamples=10).by_label == {}


def test_all_metrics_of_the_table_are_there_and_patients_have_all_columns():
    result = evaluate(three(probability=True), LABELS, name="all", resamples=10)
    assert tuple(result.metrics) == tuple(metric.name for metric in METRICS)
    assert all(set(row.scores) == set(COLUMNS) for row in result.patients)


def test_distances_without_penalty_leave_a_missed_patient_out_and_say_so():
    missed = predicting_nothing()[0]
    result = evaluate([missed, *three((1, 1, 1))[1:]], LABELS, name="one missed", resamples=10).metrics
    assert result["hd95_shared"].value == 1.0
    assert (result["hd95_shared"].n, result["hd95_shared"].undefined) == (2, 1)
    assert result["hd95"].value == pytest.approx((math.hypot(*SIZES[0]) + 2) / 3)
    assert result["nsd_1px_shared"].value == 1.0


def test_calibration_is_absent_without_probabilities():
    result = evaluate(three(), LABELS, name="masks", resamples=10)
    assert result.calibration is None
    assert "ece" not in result.metrics
    assert "brier" not in result.metrics


def test_a_confident_shift_is_seen_by_calibration():
    result = evaluate(three((2, 2, 2), probability=True), LABELS, name="shifted", resamples=50)
    assert result.calibration is not None
    top = result.calibration
    assert top.counts[9] == 3 * 3 * 16
    assert top.mean_probability[9] == pytest.approx(0.95)
    assert top.observed_frequency[9] == pytest.approx(0.5)
    assert math.isnan(top.mean_probability[5])


def test_every_slice_has_a_row_and_a_mask():
    result = evaluate(three(), LABELS, name="all", resamples=10)
    assert [row.slice_id for row in result.slices] == list(result.predictions)
    assert result.slices[0].slice == 1
    assert math.isnan(result.slices[0].dice)


def test_a_patient_given_in_two_pieces_is_refused():
    with pytest.raises(DataError, match="patient p0 comes twice"):
        evaluate([three()[0], three()[0]], LABELS, name="twice")


def test_a_slice_in_two_patients_is_refused():
    other = PatientVolume("q", ("p0_0",), [blob((9, 9), 0, 0)], [blob((9, 9), 0, 0)])
    with pytest.raises(DataError, match="slice p0_0 belongs to two patients"):
        evaluate([three()[0], other], LABELS, name="twice")


def test_nobody_to_evaluate_is_an_error():
    with pytest.raises(DataError, match="no patients"):
        evaluate([], LABELS, name="none")


def test_probabilities_for_some_patients_only_are_refused():
    with pytest.raises(DataError, match="only 1 of 2"):
        evaluate([three()[0], three(probability=True)[1]], LABELS, name="some")


def test_intervals_of_unknown_patients_are_over_images_and_nothing_speaks_of_patients():
    result = evaluate(
        three(probability=True), LABELS, name="images", context=Context(patients_known=False), resamples=50
    )
    told = " ".join(f"{metric.description} {metric.unit}" for metric in result.metrics.values())
    assert "patient" not in told.lower()
    assert result.metrics["dice"].description == "Volumetric Dice, mean over images"
    assert (result.metrics["missed"].unit, result.provenance.bootstrap.unit) == ("images", "image")
