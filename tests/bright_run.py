"""A run with a known answer: what is brighter than the middle of its volume's range is the object."""

from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from torch import Tensor, nn

from segmed.core.labels import LabelMap
from segmed.inference.predictor import Predictor
from segmed.models.checkpoint import RunConfig, TrainedModel
from segmed.models.config import ModelConfig
from segmed.preprocess import PreprocessConfig

PLAIN = PreprocessConfig(channels=(0,), clip_percentiles=(0, 100), normalisation="minmax", divisor=1)
MODEL = ModelConfig(name="unet", encoder="resnet18", encoder_weights="none", channels=1)
REGEX = r"^(?P<patient>p\d+)_(?P<slice>\d+)$"


class Bright(nn.Module):
    """Logits of what is brighter than the middle, at 0.5 after normalisation."""

    def forward(self, image: Tensor) -> Tensor:
        return 40 * (image - 0.5)


def bright(folder: Path, *, volumes: bool | None = True) -> Predictor:
    config = RunConfig(MODEL, PLAIN, LabelMap(), threshold=0.5, volumes=volumes)
    return Predictor(TrainedModel(Bright(), config, folder), device="cpu")


def slices(patients: int = 3, count: int = 3, size: tuple[int, int] = (13, 18)) -> dict[str, np.ndarray]:
    """Slices `p0_1`, …, each patient brighter than the last, and each slice than the one below."""
    ramp = np.linspace(0.2, 1, size[0] * size[1]).reshape(size)
    return {
        f"p{patient}_{number}": np.asarray(ramp * 70 * (patient + 1) * (number + 1) / (count + 1), np.uint8)
        for patient in range(patients)
        for number in range(1, count + 1)
    }


def written(folder: Path, *, masks: bool = False, nested: bool = False) -> Path:
    """The slices in `images/`, with `masks/` beside where wanted, or in a folder for each patient."""
    for name, pixels in slices().items():
        patient, _, number = name.partition("_")
        save(folder / patient / f"{number}.png" if nested else folder / "images" / f"{name}.png", pixels)
        if masks:
            save(folder / "masks" / f"{name}.png", np.zeros_like(pixels))
    return folder


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels).save(path)
    return path
