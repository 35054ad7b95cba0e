"""Predictors with known answers: one that fills the box it is given, one that finds half of what is bright."""

from pathlib import Path

import torch
from torch import Tensor, nn

from segmed.core.labels import LabelMap
from segmed.inference.predictor import Predictor
from segmed.inference.prompted import PromptedPredictor
from segmed.models.boxed import BoxedDense
from segmed.models.checkpoint import RunConfig, TrainedModel
from segmed.models.config import ModelConfig
from segmed.preprocess import PreprocessConfig

PLAIN = PreprocessConfig(channels=(0,), clip_percentiles=(0, 100), normalisation="minmax", divisor=1)
MODEL = ModelConfig(name="unet", encoder="resnet18", encoder_weights="none", channels=1)


class FillsBoxes(nn.Module):
    """Surely the object in the box and surely not outside; with `answer`, that is said everywhere instead."""

    requires_divisible_input_shape = False

    def __init__(self, sureness: float = 20.0, answer: float | None = None) -> None:
        super().__init__()
        self.sureness, self.answer = sureness, answer
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor) -> Tensor:
        drawn = self.sureness * (2 * image[:, -1:] - 1)
        return drawn if self.answer is None else torch.full_like(drawn, self.answer)


class BrightInBox(nn.Module):
    """Bright pixels in the box are surely the object; in a slice of middling brightness nothing is sure."""

    requires_divisible_input_shape = False

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor) -> Tensor:
        bright, box = image[:, :1] > 0.8, image[:, -1:] >= 0.5
        unsure = ((image[:, :1] > 0.4) & ~bright).any((2, 3), keepdim=True)
        return torch.where(unsure, 0.1, 20.0) * torch.where(bright & box, 1.0, -1.0)


class EverySecondBrightPixel(nn.Module):
    """Bright pixels of a checkerboard: connected (by corners), with the tight box of all that is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.6))

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        board = (torch.arange(height)[:, None] + torch.arange(width)) % 2 == 0
        bright = images.mean(1, keepdim=True) > self.level
        return torch.where(bright & board, 4.0, -4.0)


def config_of(**changes: object) -> RunConfig:
    settings = {"model": MODEL, "preprocess": PLAIN, "labels": LabelMap(), "threshold": 0.5, "seen": {"train": ["t"]}}
    return RunConfig(**{**settings, **changes})  # type: ignore[arg-type]


def filler(sureness: float = 20.0, answer: float | None = None, **changes: object) -> PromptedPredictor:
    """A promptable predictor that fills the box; its expected IoU is near 1 where it is sure."""
    network = BoxedDense(FillsBoxes(sureness, answer))
    return PromptedPredictor(TrainedModel(network, config_of(**changes), Path("filler")), device="cpu")


def half_finder(**changes: object) -> Predictor:
    """A dense predictor that finds every second bright pixel, with probability 0.982."""
    return Predictor(TrainedModel(EverySecondBrightPixel(), config_of(**changes), Path("half")), device="cpu")


def bright_finder(**changes: object) -> PromptedPredictor:
    """A promptable predictor that finds what is bright in the box."""
    return PromptedPredictor(
        TrainedModel(BoxedDense(BrightInBox()), config_of(**changes), Path("bright")), device="cpu"
    )
