"""Test-time flips average what the network says of the image and its mirror images, on the image's own grid."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from segmed.core.labels import LabelMap
from segmed.inference import Predictor
from segmed.inference.tta import probabilities_by_pass
from segmed.models.checkpoint import RunConfig, TrainedModel
from segmed.models.config import ModelConfig
from segmed.models.prediction import PredictionConfig
from segmed.preprocess import PreprocessConfig, Undo


class Leaning(nn.Module):
    """Logits that depend on where a pixel is: 4 in the first column, -4 elsewhere."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.full((images.shape[0], 1, *images.shape[2:]), -4.0)
        logits[..., 0] = 4.0
        return logits


def predictor(config: PredictionConfig, **options: object) -> Predictor:
    model = ModelConfig(name="unet", encoder_weights="none", channels=1)
    run = RunConfig(model, PreprocessConfig(channels=(0,), divisor=1), LabelMap(), threshold=0.45, prediction=config)
    return Predictor(TrainedModel(Leaning(), run, Path()), device="cpu", **options)  # type: ignore[arg-type]


def test_probabilities_are_averaged_over_both_mirror_axes() -> None:
    undo = [Undo((3, 5), (3, 5))]
    found = next(probabilities_by_pass(Leaning(), torch.zeros(1, 1, 3, 5), undo, "flips")).mean(dim=0)
    high, low = torch.tensor(4.0).sigmoid(), torch.tensor(-4.0).sigmoid()
    expected = torch.full((1, 3, 5), float(low))
    expected[..., [0, 4]] = float((high + low) / 2)
    assert torch.allclose(found, expected)


def test_mirror_averages_left_and_right_alone() -> None:
    class Corner(nn.Module):
        """Sure of the upper left pixel, whatever the image."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = torch.full((1, 1, 3, 5), -40.0)
            logits[..., 0, 0] = 40.0
            return logits

    found = next(probabilities_by_pass(Corner(), torch.zeros(1, 1, 3, 5), [Undo((3, 5), (3, 5))], "mirror")).mean(dim=0)
    assert found[0].round(decimals=6).tolist() == [[0.5, 0, 0, 0, 0.5], [0] * 5, [0] * 5]


def test_flips_are_the_runs_own_choice_unless_another_is_given() -> None:
    image = np.ones((3, 5), np.uint8)
    flipped = predictor(PredictionConfig(tta="flips"))
    assert flipped.predict(image).array[:, 4].all()
    assert not predictor(PredictionConfig(tta="flips"), tta="none").predict(image).array[:, 4].any()


def test_post_processing_of_the_run_is_applied_to_its_masks() -> None:
    image = np.ones((3, 5), np.uint8)
    assert predictor(PredictionConfig(smallest_in_slice=3)).predict(image).array.sum() == 3
    assert predictor(PredictionConfig(smallest_in_slice=4)).predict(image).array.sum() == 0
    assert sum(int(each.array.sum()) for each in predictor(PredictionConfig(smallest_in_volume=7)).predict_volume(
        [image] * 2
    )) == 0  # fmt: skip
