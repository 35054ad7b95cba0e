"""Apply a promptable run: encode an image once, then decode any number of prompts, nothing remembered in between."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Shaped, UInt8
from torch import Tensor

from segmed.core.errors import DataError, ModelError
from segmed.core.image import Image, Size
from segmed.inference.predictor import Predictor, same_size
from segmed.inference.slices import PatientSlices, ReadImages
from segmed.inference.tta import PASSES, Axes, flipped
from segmed.layers.embedding import Embedding
from segmed.models.checkpoint import TrainedModel
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.prediction import ONE_SIZE_TTAS, Tta
from segmed.models.promptable import Promptable, largest_logits
from segmed.preprocess import Undo
from segmed.prompts.grid import PromptGrid, prompt_grid
from segmed.prompts.value import Prompts


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image after the image encoder, and the way back to its own grid. It knows no prompt; keep it and ask again."""

    embedding: Embedding
    """Of one image."""
    undo: Undo
    network: Size
    """Height and width of what the network read, padding included."""
    mirrored: tuple["EncodedImage", ...] = ()
    """The same of the image's mirror images, in the order of `tta.PASSES`; none without test-time augmentation."""

    @property
    def size(self) -> Size:
        """Height and width of the image itself, on which prompts are given and masks returned."""
        return self.undo.original

    @property
    def grid(self) -> PromptGrid:
        """The way of prompts between the image's grid and the network's."""
        return prompt_grid(self.undo, self.network)


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model says of one image under some prompts, on the image's own grid; n is the number of objects.

    Without prompts the whole image is one object. Probabilities and `iou` are from 0 to 1.
    """

    probabilities: Float32[np.ndarray, "1 h w"]
    """Of all objects together: pixel by pixel that of the most probable one, before any resizing to the image."""
    objects: Float32[np.ndarray, "n h w"]
    """Of each object, in the order of the prompts."""
    iou: Float32[np.ndarray, " n"]
    """The IoU that the model expects of each object's mask."""
    presence: float | None
    """How probable the model thinks it that the image shows the object at all; None without such a head."""
    logits: Float32[np.ndarray, "n gh gw"]
    """The decoder's own, on the network's low-resolution grid: mask prompts for another `decode` of this image."""
    threshold: float
    """Probability from which a pixel is foreground, the run's."""

    @property
    def mask(self) -> UInt8[np.ndarray, "h w"]:
        """All objects together, as label 1."""
        return np.asarray(self.probabilities[0] >= self.threshold, np.uint8)

    @property
    def masks(self) -> Bool[np.ndarray, "n h w"]:
        """Each object."""
        return self.objects >= self.threshold


class PromptedPredictor(Predictor):
    """A trained promptable model. Without prompts it is a `Predictor` like all others, and finds the object itself.

    A dense model with a box channel is asked in the same way, with boxes alone.

    Example:
        >>> predictor = segmed.load("runs/sam-tiny", device="cpu")
        >>> encoded = predictor.encode(segmed.read_image("slice.tif").array)
        >>> answer = predictor.decode(encoded, segmed.Prompts(boxes=[(10, 12, 40, 44)]))
        >>> answer.masks.shape, answer.iou.shape
        ((1, 64, 64), (1,))
    """

    promptable: Promptable
    """The network, as what takes prompts."""

    def __init__(self, trained: TrainedModel, *, device: str = "auto", tta: Tta | None = None) -> None:
        """Raises `ModelError` where the run's model takes no prompts."""
        if not isinstance(trained.model, Promptable):
            raise ModelError(f"{trained.folder}: {trained.config.model.name} takes no prompts. Use segmed.load.")
        super().__init__(trained, device=device, tta=tta)
        self.promptable = trained.model

    @property
    def mask_cells(self) -> Size:
        """Height and width of mask prompts: `encoded.grid.mask_prompt(logits, predictor.mask_cells)` makes them.

        Raises `ModelError` where the model takes none.
        """
        side = self.promptable.mask_side
        if side is None:
            raise ModelError(f"{self.config.model.name} with a box channel takes no mask prompts. Give it boxes.")
        return side, side

    def encode(self, image: Shaped[np.ndarray, "h w *c"] | Image) -> EncodedImage:
        """Encode one image, normalised by itself alone; see `encode_volume`.

        Args:
            image: As `read_image` gives it, or `h w c` or `h w` in any numeric dtype.

        Returns:
            Its embedding, and how to get back to its pixels: for any number of calls of `decode`.
        """
        return self.encode_volume([image])[0]

    def encode_volume(self, volume: PatientSlices | ReadImages, *, batch_size: int = 8) -> list[EncodedImage]:
        """Encode a patient's slices, normalised together; what is given, and raised, is as for `probabilities`.

        Args:
            volume: The slices, as `read_image` gives them, or `h w c` or `h w` each.
            batch_size: How many slices the encoder sees at once.

        Returns:
            An embedding per slice, in their order.
        """
        return list(self.iterate_encoded(PatientSlices.of(volume), batch_size=batch_size))

    def iterate_encoded(self, slices: PatientSlices, *, batch_size: int = 8) -> Iterator[EncodedImage]:
        """`encode_volume`, one slice at a time.

        Args:
            slices: A patient's slices.
            batch_size: How many slices the encoder sees at once.

        Returns:
            The embeddings one after the other, so that they need not all be in memory.
        """
        if not slices.images:
            return
        stacks, statistics = self._read(slices)
        for start in range(0, len(stacks), batch_size):
            some = stacks[start : start + batch_size]
            applied = [self._preprocess.apply_stack(stack, statistics, slices.spacing) for stack in some]
            for group in same_size([tensor for tensor, _ in applied]):
                stacked = torch.stack([applied[index][0] for index in group])
                undos = [applied[index][1] for index in group]
                passes = [self._encoded(flipped(stacked, axes), undos) for axes in _axes(self.tta)]
                for plain, *mirrored in zip(*passes, strict=True):
                    yield replace(plain, mirrored=tuple(mirrored))

    def _encoded(self, stacked: Float[Tensor, "b c h w"], undos: Sequence[Undo]) -> list[EncodedImage]:
        with torch.inference_mode():
            read = stacked.to(self.device, memory_format=torch.channels_last)
            embedding = self.promptable.encode(read)
        network = (stacked.shape[2], stacked.shape[3])
        each = [slice(index, index + 1) for index in range(len(undos))]
        return [EncodedImage(embedding[one], undo, network) for one, undo in zip(each, undos, strict=True)]

    def decode(self, encoded: EncodedImage, prompts: Prompts | None = None) -> Answer:
        """The masks of what the prompts ask for; without prompts that of what the model finds itself.

        Args:
            encoded: What `encode` returned; it can be decoded any number of times.
            prompts: In pixels of the image; mask logits on the network's low-resolution grid (`mask_cells`).
                `Prompts()` asks for nothing and gets an empty mask.

        Returns:
            Probabilities and masks on the image's own grid, and what a further `decode` needs.

        Raises:
            DataError: A prompt outside the image, or mask logits of another size.
            ModelError: The network's answer is not a number, or no prompts are given to what answers to these alone.
        """
        return self.decode_volume([encoded], None if prompts is None else [prompts])[0]

    def decode_volume(
        self, encoded: Sequence[EncodedImage], prompts: Sequence[Prompts] | None = None, *, batch_size: int = 8
    ) -> list[Answer]:
        """`decode` for several images, each with its own prompts, or all without.

        Args:
            encoded: What `encode_volume` gave.
            prompts: One value per image, in pixels of the image; None decodes all without a prompt.
            batch_size: How many images are decoded at once.

        Returns:
            An answer per image, in their order.

        Raises:
            DataError: Another number of prompts than of images, or prompts outside their image.
            ModelError: The network's answer is not a number, or no prompts are given to what answers to these alone.
        """
        if prompts is not None and len(prompts) != len(encoded):
            raise DataError(f"{len(prompts)} prompts for {len(encoded)} images. Give one Prompts per image.")
        answers: list[Answer] = []
        for start in range(0, len(encoded), batch_size):
            for group in same_size([image.embedding.first for image in encoded[start : start + batch_size]]):
                some = slice(start + group[0], start + group[-1] + 1)
                answers += self._decoded(encoded[some], None if prompts is None else prompts[some])
        return answers

    def _decoded(self, encoded: Sequence[EncodedImage], prompts: Sequence[Prompts] | None) -> list[Answer]:
        unprompted = prompts is None
        if unprompted:
            self.require_unprompted()
        given = [Prompts()] * len(encoded) if prompts is None else list(map(self._on_network, encoded, prompts))
        passes = [
            self._pass([image if turn == 0 else image.mirrored[turn - 1] for image in encoded], given, axes, unprompted)
            for turn, axes in enumerate(_flips_of(encoded))
        ]
        objects = ObjectPrompts.of(given, ask_all=unprompted)
        answers = []
        for index, image in enumerate(encoded):
            mine = objects.image == index
            present = [each.presence[index] for each in passes if each.presence is not None]
            answer = Answer(
                probabilities=_probabilities([each.merged[index : index + 1] for each in passes], image.undo),
                objects=_probabilities([each.objects[mine] for each in passes], image.undo),
                iou=_mean([each.iou[mine] for each in passes]).clamp(0, 1).numpy(),
                presence=float(_mean(present)) if present else None,
                logits=_mean([each.logits[mine] for each in passes]).numpy(),
                threshold=self.config.threshold,
            )
            for numbers in (answer.probabilities, answer.objects, answer.iou):
                self.require_numbers(numbers)
            answers.append(answer)
        return answers

    def _pass(self, encoded: Sequence[EncodedImage], given: Sequence[Prompts], axes: Axes, unprompted: bool) -> "_Pass":
        """Decode images that are mirrored along `axes`, and mirror what comes back."""
        mirror = {"rows": 2 in axes, "columns": 3 in axes}
        here = [prompts.mirrored(image.network, **mirror) for image, prompts in zip(encoded, given, strict=True)]
        objects = ObjectPrompts.of(here, ask_all=unprompted).to(self.device)
        with torch.inference_mode():
            embedding = Embedding.join([image.embedding for image in encoded])
            decoded = self.promptable.decode(embedding, objects)
            present = self.promptable.presence_logits(embedding)
            logits = self.promptable.enlarged(decoded.logits)
            merged = largest_logits(self.promptable, decoded, objects, len(encoded))
            if unprompted and present is not None:
                logits = torch.minimum(logits, present[objects.image, None, None])
                merged = torch.minimum(merged, present[:, None, None])
        back = tuple(axis - 1 for axis in axes)
        return _Pass(
            merged=flipped(merged, back).float().cpu(),
            objects=flipped(logits, back).float().cpu(),
            iou=decoded.iou.float().cpu(),
            presence=None if present is None else present.float().sigmoid().cpu(),
            logits=flipped(decoded.logits, back).float().cpu(),
        )

    def _on_network(self, image: EncodedImage, prompts: Prompts) -> Prompts:
        if prompts.logits is not None and prompts.logits.shape[1:] != self.mask_cells:
            raise DataError(
                f"Mask prompts are {prompts.logits.shape[1:]}, but the model reads {self.mask_cells}. Give an answer's "
                "logits, or make them with encoded.grid.mask_prompt(logits, predictor.mask_cells)."
            )
        return image.grid.to_network(prompts)


@dataclass(frozen=True, eq=False)
class _Pass:
    """What one pass over images says, the right way round again; n objects of b images, on the processor."""

    merged: Float[Tensor, "b h w"]
    objects: Float[Tensor, "n h w"]
    iou: Float[Tensor, " n"]
    presence: Float[Tensor, " b"] | None
    logits: Float[Tensor, "n gh gw"]


def _flips_of(encoded: Sequence[EncodedImage]) -> tuple[Axes, ...]:
    """The passes that all images were encoded for."""
    counts = {len(image.mirrored) for image in encoded}
    for tta in ONE_SIZE_TTAS:
        if counts == {len(PASSES[tta]) - 1}:
            return _axes(tta)
    raise DataError(
        "Images encoded with and without test-time augmentation cannot be decoded together. Encode them alike."
    )


def _axes(tta: Tta) -> tuple[Axes, ...]:
    """The mirror images of each pass; all are of one size."""
    return tuple(each.axes for each in PASSES[tta])


def _probabilities(passes: Sequence[Float[Tensor, "n _h _w"]], undo: Undo) -> Float32[np.ndarray, "n h w"]:
    """Logits back on the image's grid first, then probabilities, as everywhere; the mean over passes."""
    if not len(passes[0]):
        return np.zeros((0, *undo.original), np.float32)
    return np.asarray(_mean([undo(logits).sigmoid() for logits in passes]).numpy())


def _mean(passes: Sequence[Tensor]) -> Tensor:
    return passes[0] if len(passes) == 1 else torch.stack(list(passes)).mean(0)
