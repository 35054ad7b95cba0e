"""Threshold, flips and post-processing are chosen by validation patients, the simplest of equals."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_runs as tiny
import torch

from segmed.data.decoded import DecodedDataset
from segmed.evaluation.run import Plan, evaluate_run, plan_evaluation
from segmed.evaluation.tune import patient_dice, tune
from segmed.inference.components import remove_small
from segmed.inference.ensemble import EnsemblePredictor
from segmed.inference.from_data import patient_slices
from segmed.inference.predictor import Predictor
from segmed.models.checkpoint import TrainedModel
from segmed.models.joint_config import EnsembleConfig
from segmed.models.prediction import THRESHOLDS, TTA_NAMES, PredictionConfig


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


def test_a_volume_in_which_no_candidate_predicts_anything_scores_nothing_or_zero() -> None:
    faint, empty = [np.full((1, 5, 7), 0.01)] * 3, [np.zeros((5, 7), np.uint8)] * 3
    marked = [np.eye(5, 7, dtype=np.uint8), *empty[1:]]
    assert np.isnan(patient_dice(faint, empty, (1, 2, 5), [(0.05, "volume", 0)])).all()
    assert patient_dice(faint, marked, (1, 2, 5), [(0.05, "volume", 0), (0.5, "slice", 3)]).tolist() == [0.0, 0.0]


def test_kinds_of_augmentation_are_scored_by_passes_that_they_share(tmp_path) -> None:
    decoded = tiny.decoded_of(tiny.kaggle_folder(tmp_path / "kaggle_3m"))
    slices = patient_slices(decoded, decoded.dataset.records[:4])
    torch.manual_seed(0)
    uneven = torch.nn.Conv2d(3, 1, 3, padding=1)
    calls: list[int] = []
    uneven.register_forward_hook(lambda *_: calls.append(1))
    trained = TrainedModel(uneven, tiny.config_of(decoded), tmp_path)
    own = {tta: Predictor(trained, device="cpu", tta=tta).probabilities(slices) for tta in TTA_NAMES}
    assert not np.array_equal(own["none"][0], own["mirror"][0])
    joint = EnsembleConfig(networks=tiny.config_of(decoded).networks, labels=decoded.dataset.labels)
    members = [Predictor(trained, device="cpu") for _ in range(2)]
    for predictor in (members[0], EnsemblePredictor(members, joint, tmp_path)):
        calls.clear()
        for place, found in enumerate(predictor.iterate_ttas(slices, TTA_NAMES)):
            assert all(np.array_equal(found[tta], own[tta][place]) for tta in TTA_NAMES)
        assert len(calls) == 6 * len(predictor.networks())


def test_of_equal_candidates_the_simplest_is_chosen_and_the_former_is_told(tmp_path) -> None:
    decoded = tiny.decoded_of(tiny.kaggle_folder(tmp_path / "kaggle_3m"))
    tiny.by_patient(decoded).save(tmp_path / "split.json")
    config = tiny.config_of(decoded, threshold=0.3)
    predictor = tiny.predictor_of(tmp_path, config)
    plan = plan_evaluation(tmp_path, config, decoded, part="validation")
    found = tune(predictor, decoded, plan)
    assert found.best.dice == 1.0
    assert (found.best.threshold, found.best.prediction) == (0.5, PredictionConfig())
    assert (found.before.threshold, found.patients) == (0.3, 1)


class Noisy(torch.nn.Module):
    """Probabilities by chance, the same at every call for images of one size, and others for each kind of image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        drawn = torch.rand((1, 1, *images.shape[2:]), generator=torch.Generator().manual_seed(images.shape[3]))
        return (drawn.expand(len(images), -1, -1, -1) * 0.6 + (images.mean(dim=1, keepdim=True) > 1) * 0.2).logit()


def dice_of(predictor: Predictor, decoded: DecodedDataset, plan: Plan) -> float:
    return evaluate_run(predictor, decoded, plan, name="noisy", resamples=20).metrics["dice"].value


def test_what_is_not_to_be_chosen_stays_and_the_former_is_scored_as_it_was(tmp_path) -> None:
    decoded = tiny.decoded_of(tiny.kaggle_folder(tmp_path / "kaggle_3m"))
    tiny.by_patient(decoded).save(tmp_path / "split.json")
    own = PredictionConfig(tta="mirror", smallest_in_slice=3, smallest_share=0.1)
    config = replace(tiny.config_of(decoded, threshold=0.62), prediction=own)
    predictor = Predictor(TrainedModel(Noisy(), config, tmp_path), device="cpu")
    plan = plan_evaluation(tmp_path, config, decoded, part="validation")
    former = dice_of(predictor, decoded, plan)
    found = tune(predictor, decoded, plan, ttas=["mirror"], components=False)
    assert found.best.prediction == own
    assert (found.before.threshold, found.before.prediction) == (0.62, own)
    assert found.before.dice == pytest.approx(former)
    best = {}
    for threshold in THRESHOLDS:
        predictor.config = replace(config, threshold=threshold)
        best[threshold] = dice_of(predictor, decoded, plan)
    assert found.best.dice == pytest.approx(max(*best.values(), former))
    predictor.config = replace(config, threshold=found.best.threshold)
    assert dice_of(predictor, decoded, plan) == pytest.approx(found.best.dice)
    predictor.config = config
    wider = tune(predictor, decoded, plan)
    assert wider.before == found.before
    assert wider.best.dice >= found.best.dice
    assert wider.candidates == 5 * 19 * (1 + 5 + 6 + 5 + 1)
