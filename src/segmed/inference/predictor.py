"""Apply a trained run: preprocess by its contract, predict logits, return to the original grid, label."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Shaped

from segmed.core.errors import ModelError
from segmed.core.image import PixelSpacing
from segmed.inference.base import Opinions, VolumePredictor
from segmed.inference.memory import ran_out
from segmed.inference.room import OF_ANOTHER_SIZE, Room
from segmed.inference.slices import PatientSlices, Stack
from segmed.inference.tta import PASSES, ZOOM, Pass, logits_of, passes_of
from segmed.models.checkpoint import RunConfig, TrainedModel
from segmed.models.prediction import ONE_SIZE_TTAS, TTA_NAMES, Tta
from segmed.preprocess import Preprocess, Statistics


class Predictor(VolumePredictor):
    """A trained model with its preprocessing contract and threshold. Stateless: calls do not affect each other.

    `segmed.load` makes it from a run folder.

    Example:
        >>> predictor = segmed.load("runs/unet", device="cpu")
        >>> scan = np.stack([segmed.read_image("slice.tif").array] * 3)
        >>> [mask.array.shape for mask in predictor.predict_volume(scan)]
        [(64, 64), (64, 64), (64, 64)]
        >>> predictor.probabilities(scan)[0].shape
        (1, 64, 64)
    """

    def __init__(self, trained: TrainedModel, *, device: str = "auto", tta: Tta | None = None) -> None:
        """Put the model on a device.

        Args:
            trained: What `load_run` returned.
            device: auto, cpu, cuda, cuda:1 (any number) or mps.
            tta: Test-time augmentation in place of the run's own choice.

        Raises:
            ModelError: There is no such device, or the model reads images of one size and scales are asked for.
        """
        self.config: RunConfig = trained.config
        self.folder = trained.folder
        self.device = chosen_device(device)
        self.tta = tta or trained.config.prediction.tta
        self.model = trained.model.to(self.device).to(memory_format=torch.channels_last).eval()
        self._preprocess = Preprocess(trained.config.preprocess)
        self._room = Room(self.model, what=str(self.folder))
        if trained.config.training.as_published and self.tta != "none":
            raise ModelError(
                f"{trained.folder}: holds published weights as they are, which have no test-time augmentation: each "
                "mirror image could choose another mask. Leave --tta out."
            )
        if self.tta not in ONE_SIZE_TTAS and self._reads_one_size:
            raise ModelError(
                f"{trained.folder}: {trained.config.model.name} reads images of one size, so it has no test-time "
                f"augmentation {self.tta!r}. Choose {', '.join(self.ttas)}."
            )

    @property
    def ttas(self) -> tuple[Tta, ...]:
        """All, but of a network that reads images of one size those at one size, and of published weights none."""
        if self.config.training.as_published:
            return ("none",)
        return ONE_SIZE_TTAS if self._reads_one_size else TTA_NAMES

    @cached_property
    def _reads_one_size(self) -> bool:
        """Whether the network cannot be shown a larger image: promptable ones, and encoders made for one size, which
        say so in ways of their own, so that a blank image is tried."""
        size = Preprocess(self._preprocess.config, ZOOM).fixed_size
        if self.config.model.takes_prompts or size is None:
            return self.config.model.takes_prompts
        try:
            with torch.inference_mode():
                self.model(torch.zeros(1, self.config.model.channels, *size, device=self.device))
        except OF_ANOTHER_SIZE as error:
            return not ran_out(error)
        return False

    def iterate(self, slices: PatientSlices, *, batch_size: int = 8) -> Iterator[Float[np.ndarray, "k h w"]]:
        """Probabilities, one slice at a time, as `VolumePredictor.iterate` says.

        Args:
            slices: A patient's slices, normalised together.
            batch_size: How many slices the network sees at once.

        Returns:
            Per slice `k h w`, float32 from 0 to 1, at the size of the image.

        Raises:
            ModelError: The network's answer is not a number.
        """
        for passes in self._passes(slices, batch_size, PASSES[self.tta]):
            yield passes.mean(dim=0).numpy()

    def opinions(self, slices: PatientSlices, *, batch_size: int = 8) -> Iterator[Opinions]:
        """Probabilities with those of each pass of the test-time augmentation.

        Args:
            slices: A patient's slices, normalised together.
            batch_size: How many slices the network sees at once.

        Returns:
            Per slice the mean and what each pass gives, `k h w`, float32 from 0 to 1.
        """
        for passes in self._passes(slices, batch_size, PASSES[self.tta]):
            yield Opinions(passes.mean(dim=0).numpy(), passes.numpy())

    def iterate_ttas(
        self, slices: PatientSlices, ttas: Sequence[Tta], *, batch_size: int = 8
    ) -> Iterator[Mapping[Tta, Float[np.ndarray, "k h w"]]]:
        """Probabilities under several kinds of test-time augmentation, slice by slice; each pass is made once for all.

        Args:
            slices: The slices of one volume.
            ttas: The kinds that are wanted, at least one, of `self.ttas`.
            batch_size: Slices that go through the network at a time.

        Returns:
            For each slice, in order, float32 `k h w` from 0 to 1 by kind, on the image's own grid.

        Raises:
            ModelError: The model reads images of one size, and scales are asked for.
        """
        self.require_ttas(ttas)
        wanted = passes_of(ttas)
        places = {tta: [wanted.index(each) for each in PASSES[tta]] for tta in ttas}
        for passes in self._passes(slices, batch_size, wanted):
            yield {tta: passes[places[tta]].mean(dim=0).numpy() for tta in ttas}

    def _passes(
        self, slices: PatientSlices, batch_size: int, wanted: Sequence[Pass]
    ) -> Iterator[Float[torch.Tensor, "passes k h w"]]:
        self.require_unprompted()
        if not slices.images:
            return
        stacks, statistics = self._read(slices)
        for start in range(0, len(stacks), batch_size):
            yield from self._batch(stacks[start : start + batch_size], statistics, slices.spacing, wanted)

    def prepared(
        self, image: Shaped[np.ndarray, "h w *c"], spacing: PixelSpacing | None = None
    ) -> Float[torch.Tensor, "1 k p q"]:
        """What the network reads of one image of this spacing, normalised by itself, on this predictor's device.

        Args:
            image: `h w c`, or grey `h w`, in any numeric dtype.
            spacing: Millimetres per pixel, for a run that resamples; None where they are not known.

        Returns:
            float32 `1 k p q` at the network's size.
        """
        (stack,), statistics = self._read(PatientSlices([image]))
        read, _ = self._preprocess.apply_stack(stack, statistics, spacing)
        return read[None].to(self.device, memory_format=torch.channels_last)

    def _read(self, slices: PatientSlices) -> tuple[list[Stack], Statistics]:
        """Each slice with the neighbours that the network sees, and the statistics of the whole volume."""
        slices = slices.channels_last()
        statistics = self._preprocess.statistics(slices.everything)
        return slices.stacks(self.config.preprocess.neighbours), statistics

    def networks(self) -> Sequence[torch.nn.Module]:
        """The one network."""
        return [self.model]

    def _batch(
        self,
        stacks: Sequence[Stack],
        statistics: Statistics,
        spacing: PixelSpacing | None,
        wanted: Sequence[Pass],
    ) -> Iterator[Float[torch.Tensor, "passes k h w"]]:
        found: list[dict[Pass, Float[torch.Tensor, "k h w"]]] = [{} for _ in stacks]
        for zoom in dict.fromkeys(each.zoom for each in wanted):
            preprocess = Preprocess(self._preprocess.config, zoom)
            applied = [preprocess.apply_stack(images, statistics, spacing) for images in stacks]
            inputs, undos = zip(*applied, strict=True)
            for group in same_size(inputs):
                channels, height, width = inputs[group[0]].shape
                self._room.require(channels, (height, width), len(group))
                images = torch.stack([inputs[index] for index in group]).to(self.device)
                for each in (some for some in wanted if some.zoom == zoom):
                    with torch.inference_mode():
                        logits = logits_of(self.model, images, each.axes)
                    for index, one in zip(group, logits, strict=True):
                        found[index][each] = undos[index](one).sigmoid()
        for mine in found:
            passes = torch.stack([mine[each] for each in wanted])
            self.require_numbers(passes.numpy())
            yield passes


def same_size(inputs: Sequence[torch.Tensor]) -> list[list[int]]:
    """Consecutive runs of inputs of one size: they go through the network together, in order."""
    groups: list[list[int]] = []
    for index, each in enumerate(inputs):
        if groups and inputs[groups[-1][-1]].shape == each.shape:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def chosen_device(name: str) -> torch.device:
    """The device called `name`, or the best there is for `auto`; raises `ModelError` where there is no such one."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    wanted = re.fullmatch(r"(cpu|mps|cuda)|cuda:(0|[1-9]\d*)", name)
    if wanted is None:
        raise ModelError(f"Unknown device {name!r}. Use auto, cpu, cuda, cuda:1 (any number) or mps.")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError("This machine has no CUDA device that torch can use. Use --device cpu.")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ModelError("This machine has no MPS device (Apple's GPU) that torch can use. Use --device cpu.")
    count = torch.cuda.device_count()
    if wanted[2] and int(wanted[2]) >= count:
        raise ModelError(f"There is no {name}: the last of this machine's {count} CUDA devices is cuda:{count - 1}.")
    return torch.device(name)
