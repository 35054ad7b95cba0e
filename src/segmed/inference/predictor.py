"""Apply a trained run: preprocess by its contract, predict logits, return to the original grid, label."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped

from segmed.core.errors import ModelError
from segmed.core.image import Geometry, Mask
from segmed.models.checkpoint import RunConfig, TrainedModel, load_run
from segmed.models.zoo import takes_prompts
from segmed.preprocess import Preprocess, Statistics


def load(path_or_hub_id: str | Path, *, device: str = "auto") -> "Predictor":
    """Load a run's or a cascade's folder, or a hub id `owner/name`, to predict on `device` (auto, cpu, cuda, mps).

    A promptable run comes as a `PromptedPredictor`, which takes prompts as well.
    """
    if (Path(path_or_hub_id) / "cascade.json").is_file():
        from segmed.inference.cascade import load_cascade

        return load_cascade(Path(path_or_hub_id), device=device)
    trained = load_run(path_or_hub_id)
    if not takes_prompts(trained.config.model):
        return Predictor(trained, device=device)
    from segmed.inference.prompted import PromptedPredictor  # imports transformers

    return PromptedPredictor(trained, device=device)


class Predictor:
    """A trained model with its preprocessing contract and threshold. Stateless: calls do not affect each other."""

    def __init__(self, trained: TrainedModel, *, device: str = "auto") -> None:
        self.config: RunConfig = trained.config
        self.folder = trained.folder
        self.device = _device(device)
        self.model = trained.model.to(self.device).to(memory_format=torch.channels_last).eval()
        self._preprocess = Preprocess(trained.config.preprocess)

    def predict(self, image: Shaped[np.ndarray, "h w *c"]) -> Mask:
        """The mask of one image, `h w c` or grey `h w`, as labels 0 … K on the image's own grid.

        Intensities are normalised by this image alone; give a patient's slices to `predict_volume` together, as
        training did, wherever the whole volume is at hand.
        """
        return self.predict_volume([image])[0]

    def predict_volume(self, volume: Sequence[Shaped[np.ndarray, "..."]], *, batch_size: int = 8) -> list[Mask]:
        """The masks of a patient's slices, normalised together."""
        return [self.label(each) for each in self.iterate(volume, batch_size=batch_size)]

    def probabilities(
        self,
        volume: Sequence[Shaped[np.ndarray, "..."]],
        *,
        batch_size: int = 8,
        whole: Sequence[Shaped[np.ndarray, "..."]] | None = None,
    ) -> list[Float[np.ndarray, "k h w"]]:
        """Foreground probabilities of a patient's slices, one channel per label, on each slice's own grid.

        Where `volume` holds only some of the patient's slices, give all of them as `whole`: intensities are then
        normalised by these, as in training.
        """
        return list(self.iterate(volume, batch_size=batch_size, whole=whole))

    def iterate(
        self,
        volume: Sequence[Shaped[np.ndarray, "..."]],
        *,
        batch_size: int = 8,
        whole: Sequence[Shaped[np.ndarray, "..."]] | None = None,
    ) -> Iterator[Float[np.ndarray, "k h w"]]:
        """`probabilities`, one slice at a time, so that a long volume need not fit memory at once."""
        if not volume:
            return
        slices = [with_channels(image) for image in volume]
        statistics = self._preprocess.statistics([with_channels(image) for image in whole] if whole else slices)
        for start in range(0, len(slices), batch_size):
            yield from self._batch(slices[start : start + batch_size], statistics)

    def prepared(self, image: Shaped[np.ndarray, "h w *c"]) -> Float[torch.Tensor, "1 k p q"]:
        """What the network reads of one image, normalised by itself, on this predictor's device."""
        read, _ = self._preprocess.apply(with_channels(image), self._preprocess.statistics([with_channels(image)]))
        return read[None].to(self.device, memory_format=torch.channels_last)

    def label(self, probabilities: Float[np.ndarray, "k h w"]) -> Mask:
        """Labels from probabilities: the most probable label where it reaches the run's threshold, else background."""
        best = probabilities.max(axis=0)
        labels = np.where(best >= self.config.threshold, probabilities.argmax(axis=0) + 1, 0).astype(np.uint8)
        return Mask(labels, Geometry((labels.shape[0], labels.shape[1])))

    def _batch(
        self, slices: Sequence[Shaped[np.ndarray, "..."]], statistics: Statistics
    ) -> Iterator[Float[np.ndarray, "k h w"]]:
        inputs, undos = zip(*(self._preprocess.apply(image, statistics) for image in slices), strict=True)
        for group in same_size(inputs):
            stacked = torch.stack([inputs[index] for index in group])
            with torch.inference_mode():
                logits = self.model(stacked.to(self.device, memory_format=torch.channels_last)).float().cpu()
            for position, index in enumerate(group):
                yield undos[index](logits[position]).sigmoid().numpy()


def same_size(inputs: Sequence[torch.Tensor]) -> list[list[int]]:
    """Consecutive runs of inputs of one size: they go through the network together, in order."""
    groups: list[list[int]] = []
    for index, each in enumerate(inputs):
        if groups and inputs[groups[-1][-1]].shape == each.shape:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def with_channels(image: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "h w c"]:
    """An image with its channels last, one where it is grey; raises `ModelError` for anything that is no slice."""
    if image.ndim not in (2, 3):
        raise ModelError(f"An image is height x width x channels, got shape {image.shape}. Give one slice at a time.")
    return image[..., None] if image.ndim == 2 else image


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"Unknown device {name!r}. Use auto, cpu, cuda or mps.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError("This machine has no CUDA device that torch can use. Use --device cpu.")
    return device
