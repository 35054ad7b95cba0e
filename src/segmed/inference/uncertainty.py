"""How much an answer depends on how the box was drawn: several boxes around the one given, on one encoded image.

After SAM-U (Deng et al., 2023, arXiv 2307.04973), with boxes whose sides move rather than whole boxes. Only the
decoder runs again, so that sixteen boxes cost little more than one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from segmed.core.errors import DataError
from segmed.core.image import Size
from segmed.inference.prompted import Answer, EncodedImage, PromptedPredictor
from segmed.prompts.boxes import kept_in_image, sides_moved
from segmed.prompts.value import Prompts

SHARE = 0.1
"""How far each side moves at most, in or out, as a share of the box's height or width."""


@dataclass(frozen=True, eq=False)
class Spread:
    """The mean of several answers, and the standard deviation of their probabilities at each pixel."""

    answer: Answer
    deviation: Float32[np.ndarray, "1 h w"]


def jittered(
    prompts: Prompts, size: Size, count: int, generator: np.random.Generator, *, share: float = SHARE
) -> list[Prompts]:
    """The prompts themselves and `count - 1` versions whose boxes' sides moved by up to `share` of the box, either way.

    Boxes stay in an image of `size` (height, width) and at least a pixel wide. Raises `DataError` where there is no
    box to move, or less than one version is asked for.
    """
    if count < 1:
        raise DataError(f"At least one box is needed, got {count}.")
    if not len(prompts.boxes):
        raise DataError("There is no box whose sides could be moved. Give prompts with boxes.")
    extent = np.tile(prompts.boxes[:, 2:] - prompts.boxes[:, :2], 2)
    versions = [prompts]
    for _ in range(count - 1):
        moved = sides_moved(prompts.boxes, generator.uniform(-share, share, extent.shape) * extent)
        versions.append(replace(prompts, boxes=kept_in_image(moved, size)))
    return versions


def decode_jittered(
    predictor: PromptedPredictor,
    encoded: EncodedImage,
    prompts: Prompts,
    count: int,
    generator: np.random.Generator,
    *,
    batch_size: int = 8,
) -> Spread:
    """Decode `count` versions of the boxes, `batch_size` at a time, and average the probabilities."""
    versions = jittered(prompts, encoded.size, count, generator)
    return averaged(predictor.decode_volume([encoded] * count, versions, batch_size=batch_size))


def averaged(answers: Sequence[Answer]) -> Spread:
    """The mean of answers about the same objects of one image."""

    def mean(arrays: Sequence[Float32[np.ndarray, "..."]]) -> Float32[np.ndarray, "..."]:
        return np.asarray(np.mean(arrays, axis=0, dtype=np.float32))

    together = replace(
        answers[0],
        probabilities=mean([answer.probabilities for answer in answers]),
        objects=mean([answer.objects for answer in answers]),
        iou=mean([answer.iou for answer in answers]),
        logits=mean([answer.logits for answer in answers]),
    )
    deviation = np.std([answer.probabilities for answer in answers], axis=0, dtype=np.float32)
    return Spread(together, np.asarray(deviation))
