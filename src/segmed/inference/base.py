"""What every predictor does, whatever computes its probabilities: label them, clean them, return masks."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import nn

from segmed.core.errors import DataError, ModelError
from segmed.core.image import Geometry, Image, Mask, PixelSpacing
from segmed.core.volume import Volume
from segmed.data.cutting import cut_volumes
from segmed.inference.components import removed
from segmed.inference.from_data import cut_slices
from segmed.inference.slices import PatientSlices, Positions, ReadImages
from segmed.models.joint_config import SystemConfig
from segmed.models.prediction import Tta


@dataclass(frozen=True, eq=False)
class Opinions:
    """The probabilities of a slice, and those that they are the mean of: of an ensemble's members, or of the passes of
    test-time augmentation.
    """

    mean: Float[np.ndarray, "k h w"]
    each: Float[np.ndarray, "n k h w"]


class VolumePredictor(ABC):
    """Probabilities of a patient's slices, and masks from them. Stateless: calls do not affect each other.

    Example:
        >>> predictor = segmed.load("runs/unet", device="cpu")
        >>> volume = [segmed.read_image("slice.tif").array] * 3
        >>> [mask.array.shape for mask in predictor.predict_volume(volume)]
        [(64, 64), (64, 64), (64, 64)]
    """

    config: SystemConfig
    folder: Path
    device: torch.device
    tta: Tta

    @abstractmethod
    def iterate(self, slices: PatientSlices, *, batch_size: int = 8) -> Iterator[Float[np.ndarray, "k h w"]]:
        """`probabilities`, one slice at a time, so that a long volume need not fit memory at once.

        Raises `ModelError` where a 2.5D model cannot tell a slice's neighbours.
        """

    def opinions(self, slices: PatientSlices, *, batch_size: int = 8) -> Iterator[Opinions]:
        """As `iterate`, with what the probabilities are the mean of; one opinion where there is no other."""
        for mean in self.iterate(slices, batch_size=batch_size):
            yield Opinions(mean, mean[None])

    @property
    def ttas(self) -> tuple[Tta, ...]:
        """The kinds of test-time augmentation under which it can predict, from the cheapest to the dearest."""
        return (self.tta,)

    def iterate_ttas(
        self, slices: PatientSlices, ttas: Sequence[Tta], *, batch_size: int = 8
    ) -> Iterator[Mapping[Tta, Float[np.ndarray, "k h w"]]]:
        """`iterate` under several kinds of test-time augmentation at once: each pass that they share is made once.

        Args:
            slices: A patient's slices, normalised together.
            ttas: Which of `self.ttas`, whatever the run's own is.
            batch_size: How many slices the network sees at once.

        Returns:
            Per slice the probabilities under each, float32 from 0 to 1.

        Raises:
            ModelError: It predicts under no others than `self.ttas`.
        """
        self.require_ttas(ttas)
        for mean in self.iterate(slices, batch_size=batch_size):
            yield {self.tta: mean}

    def require_ttas(self, ttas: Sequence[Tta]) -> None:
        """Raise `ModelError` for test-time augmentation under which it cannot predict."""
        if strange := [tta for tta in ttas if tta not in self.ttas]:
            raise ModelError(
                f"{self.folder}: predicts under test-time augmentation {' or '.join(self.ttas)}, not "
                f"{' or '.join(strange)}."
            )

    def require_unprompted(self) -> None:
        """Raise `ModelError` for published weights as they are, which answer to boxes and points alone."""
        if self.config.training.as_published:
            raise ModelError(
                f"{self.folder}: holds published weights as they are, which answer to boxes and points alone. Give "
                "some (`segmed predict --boxes`, `segmed evaluate --prompts`), or let a dense run propose them "
                "(`segmed cascade`)."
            )

    @abstractmethod
    def networks(self) -> Sequence[nn.Module]:
        """The networks that are run, for counting parameters."""

    def predict(self, image: Shaped[np.ndarray, "h w *c"] | Image) -> Mask:
        """The mask of one image, as `read_image` gives it or `h w c` or grey `h w`: labels 0 … K on its own grid.

        Intensities are normalised by this image alone, and a 2.5D model sees it in place of the neighbours that it has
        not got; give a patient's slices to `predict_volume` together, as training did, wherever they are at hand.
        """
        return self.predict_volume([image])[0]

    @overload
    def predict_volume(self, volume: Volume | Sequence[Volume], *, batch_size: int = 8) -> Volume: ...

    @overload
    def predict_volume(
        self,
        volume: ReadImages,
        *,
        batch_size: int = 8,
        positions: Positions | None = None,
        spacing: PixelSpacing | None = None,
    ) -> list[Mask]: ...

    def predict_volume(
        self,
        volume: Volume | Sequence[Volume] | ReadImages,
        *,
        batch_size: int = 8,
        positions: Positions | None = None,
        spacing: PixelSpacing | None = None,
    ) -> Volume | list[Mask]:
        """The mask of a volume, or the masks of a patient's slices, normalised together.

        Args:
            volume: What `read_volume` gives, of several sequences one each: it is cut as the run was trained. Or
                slices, as `read_image` gives them or `h w c` or grey `h w` each, or one array with the slices first,
                `d h w c` or `d h w`; any real dtype, as it was read.
            batch_size: Slices that go through the network at a time.
            positions: Where each slice lies in the patient's volume; consecutive by default. Volumes know theirs.
            spacing: Millimetres per pixel of slices, rows and columns, for a run with `preprocess.spacing`. Volumes
                and images that were read know theirs.

        Returns:
            Of volumes, labels 0 … K on the grid of the first. Else those of each slice, in order, on its own grid.

        Raises:
            DataError: An array is no volume, or volumes are given among other things, positions are not one for each
                slice, or the run needs a spacing that is not known.
            ModelError: A slice is no image, or a 2.5D model cannot tell a slice's neighbours.

        Example:
            masks = segmed.load("runs/unet").predict_volume(np.load("scan.npy"))
        """
        sequences = as_sequences(volume)
        if sequences:
            names = [f"sequence {number}" for number, _ in enumerate(sequences, start=1)]
            cut = cut_volumes(sequences, self.config.plane, names=names)
            masks = self._masks(cut_slices(cut), batch_size)
            return cut.as_stored(np.stack([mask.array for mask in masks]))
        read: ReadImages = volume  # type: ignore[assignment]  # none of them is a Volume
        given = PatientSlices.of(read)
        given = replace(given, positions=positions, spacing=given.spacing if spacing is None else spacing)
        masks = self._masks(given, batch_size)
        return [
            Mask(mask.array, each.geometry) if isinstance(each, Image) else mask
            for each, mask in zip(read, masks, strict=True)
        ]

    def _masks(self, slices: PatientSlices, batch_size: int) -> list[Mask]:
        labelled = [self.label(each) for each in self.iterate(slices, batch_size=batch_size)]
        return self.cleaned(labelled, slices.positions)

    def probabilities(
        self, volume: PatientSlices | ReadImages, *, batch_size: int = 8
    ) -> list[Float[np.ndarray, "k h w"]]:
        """Foreground probabilities of a patient's slices, one channel per label, on each slice's own grid.

        `volume` is as for `predict_volume`; where these are only some of the patient's slices, or have gaps, give
        `PatientSlices`, which says so. Raises as `predict_volume` does.
        """
        return list(self.iterate(PatientSlices.of(volume), batch_size=batch_size))

    def label(self, probabilities: Float[np.ndarray, "k h w"]) -> Mask:
        """Labels from probabilities: the most probable label where it reaches the run's threshold, else background.

        Raises `ModelError` for probabilities that are no numbers, whose mask would be empty in silence.
        """
        best = probabilities.max(axis=0)
        self.require_numbers(best)
        labels = np.where(best >= self.config.threshold, probabilities.argmax(axis=0) + 1, 0).astype(np.uint8)
        return Mask(labels, Geometry((labels.shape[0], labels.shape[1])))

    def require_numbers(self, probabilities: Float[np.ndarray, "*any"]) -> None:
        """Raise `ModelError` for probabilities that are no numbers, of which no mask, score or choice can be made."""
        if not np.isfinite(probabilities).all():
            raise ModelError(
                f"{self.folder}: the network's answer is not a number. Its weights are damaged, or the image holds "
                "values far from those it was trained on."
            )

    def cleaned(self, masks: list[Mask], positions: Positions | None = None) -> list[Mask]:
        """The masks of a patient's slices after the run's post-processing; `positions` are consecutive by default."""
        chosen = self.config.prediction
        if not chosen.removes:
            return masks
        places = list(range(len(masks)) if positions is None else positions)
        arrays = removed([mask.array for mask in masks], places, chosen)
        return [Mask(array, mask.geometry) for array, mask in zip(arrays, masks, strict=True)]


def as_sequences(volume: Volume | Sequence[Volume] | ReadImages) -> list[Volume]:
    """The volumes that `predict_volume` is given; none where it is given slices. Raises `DataError` for both in one."""
    if isinstance(volume, Volume):
        return [volume]
    if isinstance(volume, np.ndarray):
        return []
    found = [each for each in volume if isinstance(each, Volume)]
    if 0 < len(found) < len(volume):
        other = next(type(each).__name__ for each in volume if not isinstance(each, Volume))
        raise DataError(
            f"{len(found)} of {len(volume)} sequences are volumes, and the others are not, such as one of type "
            f"{other}. Give each sequence as segmed.read_volume does: a Volume, with its grid."
        )
    return found
