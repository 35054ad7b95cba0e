"""Threshold, flips and post-processing are chosen by validation patients, the simplest of equals."""

import numpy as np
import pytest
import tiny_runs as tiny

from segmed.evaluation.run import plan_evaluation
from segmed.evaluation.tune import patient_dice, tune
from segmed.inference.components import remove_small
from segmed.models.prediction import PredictionConfig


def test_every_candidate_scores_what_its_masks_score() -> None:
    generator = np.random.default_rng(0)
    probabilities = [generator.random((2, 9, 11)) for _ in range(4)]
    reference = [generator.integers(0, 3, (9, 11)).astype(np.uint8) for _ in range(4)]
    positions = (1, 2, 4, 5)
    candidates = [
        (0.6, "volume", 0), (0.9, "slice", 3), (0.8, "volume", 6), (0.95, "volume", 3), (0.9, "share", 0.5),
        (0.9, "share", 1.0),
    ]  # fmt: skip
    found = patient_dice(probabilities, reference, positions, candidates)
    for value, (threshold, kind, smallest) in zip(found, candidates, strict=True):
        masks = [np.where(each.max(0) >= threshold, each.argmax(0) + 1, 0).astype(np.uint8) for each in probabilities]
        masks = remove_small(masks, positions, **{"share" if kind == "share" else f"in_{kind}": smallest})
        guess, truth = np.stack(masks), np.stack(reference)
        dice = [2 * ((guess == k) & (truth == k)).sum() / ((guess == k).sum() + (truth == k).sum()) for k in (1, 2)]
        assert value == pytest.approx(np.mean(dice))


def test_of_equal_candidates_the_simplest_is_chosen_and_the_former_is_told(tmp_path) -> None:
    decoded = tiny.decoded_of(tiny.kaggle_folder(tmp_path / "kaggle_3m"))
    tiny.by_patient(decoded).save(tmp_path / "split.json")
    config = tiny.config_of(decoded, threshold=0.3)
    predictor = tiny.predictor_of(tmp_path, config)
    plan = plan_evaluation(tmp_path, config, decoded, part="validation")
    found = tune({"none": predictor, "flips": predictor}, decoded, plan)
    assert found.best.dice == 1.0
    assert (found.best.threshold, found.best.prediction) == (0.5, PredictionConfig())
    assert (found.before.threshold, found.patients) == (0.3, 1)
