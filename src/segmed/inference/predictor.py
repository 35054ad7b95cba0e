"""Apply a trained run: preprocess by its contract, predict logits, return to the original grid, label."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped

from segmed.core.errors import ModelError
from segmed.core.image import Geometry, Mask
from segmed.core.volumes import neighbour_indices
from segmed.models.checkpoint import RunConfig, TrainedModel, load_run
from segmed.preprocess import Preprocess, Statistics


def load(path_or_hub_id: str | Path, *, device: str = "auto") -> "Predictor":
    """Load a run folder, or a hub id `owner/name`, ready to predict on `device` (auto, cpu, cuda, mps)."""
    return Predictor(load_run(path_or_hub_id), device=device)


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

        Intensities are normalised by this image alone, and a 2.5D model sees it in place of the neighbours that it has
        not got; give a patient's slices to `predict_volume` together, as training did, wherever they are at hand.
        """
        return self.predict_volume([image])[0]

    def predict_volume(
        self,
        volume: Sequence[Shaped[np.ndarray, "..."]],
        *,
        batch_size: int = 8,
        positions: Sequence[int] | None = None,
    ) -> list[Mask]:
        """The masks of a patient's slices, normalised together; `positions` as in `iterate`."""
        return [self.label(each) for each in self.iterate(volume, batch_size=batch_size, positions=positions)]

    def probabilities(
        self,
        volume: Sequence[Shaped[np.ndarray, "..."]],
        *,
        batch_size: int = 8,
        whole: Sequence[Shaped[np.ndarray, "..."]] | None = None,
        positions: Sequence[int] | None = None,
        whole_positions: Sequence[int] | None = None,
    ) -> list[Float[np.ndarray, "k h w"]]:
        """Foreground probabilities of a patient's slices, one channel per label, on each slice's own grid.

        The other arguments are those of `iterate`.
        """
        return list(
            self.iterate(
                volume, batch_size=batch_size, whole=whole, positions=positions, whole_positions=whole_positions
            )
        )

    def iterate(
        self,
        volume: Sequence[Shaped[np.ndarray, "..."]],
        *,
        batch_size: int = 8,
        whole: Sequence[Shaped[np.ndarray, "..."]] | None = None,
        positions: Sequence[int] | None = None,
        whole_positions: Sequence[int] | None = None,
    ) -> Iterator[Float[np.ndarray, "k h w"]]:
        """`probabilities`, one slice at a time, so that a long volume need not fit memory at once.

        Where `volume` holds only some of the patient's slices, give all of them as `whole`: intensities are then
        normalised by these, and neighbours taken from them, as in training. `positions` says where each slice lies in
        the patient's volume (consecutive by default), `whole_positions` the same of `whole`. Raises `ModelError`
        where a 2.5D model cannot tell a slice's neighbours.
        """
        if not volume:
            return
        slices = [_with_channels(image) for image in volume]
        everything = [_with_channels(image) for image in whole] if whole else slices
        statistics = self._preprocess.statistics(everything)
        reach = self.config.preprocess.neighbours
        stacks = (
            [(image,) for image in slices]
            if not reach
            else _stacks(slices, positions, everything if whole else None, whole_positions, reach)
        )
        for start in range(0, len(stacks), batch_size):
            yield from self._batch(stacks[start : start + batch_size], statistics)

    def label(self, probabilities: Float[np.ndarray, "k h w"]) -> Mask:
        """Labels from probabilities: the most probable label where it reaches the run's threshold, else background."""
        best = probabilities.max(axis=0)
        labels = np.where(best >= self.config.threshold, probabilities.argmax(axis=0) + 1, 0).astype(np.uint8)
        return Mask(labels, Geometry((labels.shape[0], labels.shape[1])))

    def _batch(
        self, stacks: Sequence[tuple[Shaped[np.ndarray, "..."], ...]], statistics: Statistics
    ) -> Iterator[Float[np.ndarray, "k h w"]]:
        inputs, undos = zip(*(self._preprocess.apply_stack(images, statistics) for images in stacks), strict=True)
        for group in _same_size(inputs):
            stacked = torch.stack([inputs[index] for index in group])
            with torch.inference_mode():
                logits = self.model(stacked.to(self.device, memory_format=torch.channels_last)).float().cpu()
            for position, index in enumerate(group):
                yield undos[index](logits[position]).sigmoid().numpy()


def _stacks(
    slices: Sequence[Shaped[np.ndarray, "..."]],
    positions: Sequence[int] | None,
    whole: Sequence[Shaped[np.ndarray, "..."]] | None,
    whole_positions: Sequence[int] | None,
    reach: int,
) -> list[tuple[Shaped[np.ndarray, "..."], ...]]:
    """Each slice with its neighbours, from the whole volume where that is given."""
    if whole is None:
        whole, whole_positions = slices, positions or range(len(slices))
        positions = whole_positions
    if positions is None or whole_positions is None:
        raise ModelError("A 2.5D model needs the positions of the slices in their volume. Give both positions.")
    order = sorted(range(len(whole)), key=lambda index: whole_positions[index])
    near = neighbour_indices([whole_positions[index] for index in order], reach)
    found = {whole_positions[order[index]]: indices for index, indices in enumerate(near)}
    if any(position not in found for position in positions):
        raise ModelError("A slice's position is not in its whole volume. Give all of the patient's slices.")
    return [tuple(whole[order[index]] for index in found[position]) for position in positions]


def _same_size(inputs: Sequence[torch.Tensor]) -> list[list[int]]:
    """Consecutive runs of inputs of one size: they go through the network together, in order."""
    groups: list[list[int]] = []
    for index, each in enumerate(inputs):
        if groups and inputs[groups[-1][-1]].shape == each.shape:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _with_channels(image: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "h w c"]:
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
