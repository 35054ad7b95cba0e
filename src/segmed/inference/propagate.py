"""A box on one slice or several, carried through the volume: each mask prompts the next slice, until the model stops.

Each object goes its own way, up and down from its slice. The next slice gets the box of the mask before it, with a
margin, and where the run was trained with mask prompts that mask's logits too.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from segmed.core.config import config_dataclass
from segmed.core.errors import DataError
from segmed.inference.prompted import Answer, EncodedImage, PromptedPredictor
from segmed.prompts.boxes import kept_in_image, sides_moved
from segmed.prompts.masks import tight_boxes
from segmed.prompts.value import Prompts


@config_dataclass
class PropagateConfig:
    """How a mask is carried to the next slice, and what stops it there. The slice with the box is never stopped."""

    margin: Annotated[float, Field(ge=0, le=2)] = 0.1
    """How far each side of the mask's tight box moves out, as a share of the box's sides."""
    pixels: Annotated[float, Field(ge=0)] = 2.0
    """And by so many pixels of the image more."""
    masks: bool | None = None
    """Whether the next slice gets the logits of the mask before it; None is as the run was trained."""
    iou: Annotated[float, Field(ge=0, le=1)] = 0.5
    """A mask with a lower expected IoU stops, and is not kept."""
    presence: Annotated[float, Field(ge=0, le=1)] = 0.2
    """So does a slice that shows the object with a lower probability, where the model says so."""
    smallest: Annotated[int, Field(ge=1)] = 4
    """So does a mask of fewer pixels."""
    furthest: Annotated[int, Field(ge=1)] | None = None
    """Slices at most, in either direction; None goes on to the end of the volume."""


def propagate(
    predictor: PromptedPredictor,
    encoded: Sequence[EncodedImage],
    prompts: Sequence[Prompts],
    config: PropagateConfig | None = None,
    *,
    positions: Sequence[int] | None = None,
    owners: Sequence[Sequence[int]] | None = None,
    batch_size: int = 8,
) -> list[Answer]:
    """Answers for all slices of a volume, in order, from prompts on some of them.

    `prompts` has one value per slice, `Prompts()` where nothing was drawn. An answer's objects are those drawn on its
    slice, then those that reached it; all together they are the most probable of each pixel. `positions` says where
    each slice lies in the volume; nothing is carried over a gap. `owners` says of each slice which
    object of the volume each drawn one is: none is carried to a slice on which it was drawn itself, as by a box of
    several slices. Without it each is an object of its own. `batch_size` slices at a time are decoded with what was
    drawn on them; what is carried goes slice by slice. Raises `DataError` where slices differ in size or number from
    their prompts.
    """
    config = config or PropagateConfig()
    if len(prompts) != len(encoded):
        raise DataError(f"{len(prompts)} prompts for {len(encoded)} slices. Give one Prompts per slice.")
    sizes = {image.size for image in encoded}
    if len(sizes) > 1:
        raise DataError(f"Slices of one volume differ in size: {sorted(sizes)}. Nothing can be carried between them.")
    places = list(range(len(encoded)) if positions is None else positions)
    answers = predictor.decode_volume(encoded, prompts, batch_size=batch_size)
    reached: list[list[Answer]] = [[] for _ in encoded]
    for index, drawn in enumerate(answers):
        for number in range(len(drawn.objects)):
            free = [True] * len(encoded)
            if owners is not None:
                free = [owners[index][number] not in some for some in owners]
            for step in (1, -1):
                _carry(predictor, encoded, index, _alone(drawn, number), step, places, free, config, reached)
    return [_together([drawn, *more]) for drawn, more in zip(answers, reached, strict=True)]


def _carry(
    predictor: PromptedPredictor,
    encoded: Sequence[EncodedImage],
    start: int,
    answer: Answer,
    step: int,
    places: Sequence[int],
    free: Sequence[bool],
    config: PropagateConfig,
    reached: list[list[Answer]],
) -> None:
    """Add to `reached` what an object becomes slice by slice from `start` in one direction, while slices are `free`."""
    masks = takes_masks(predictor) if config.masks is None else config.masks
    index = start + step
    while 0 <= index < len(encoded) and free[index]:
        gone = abs(places[index] - places[start])
        if abs(places[index] - places[index - step]) != 1 or (config.furthest is not None and gone > config.furthest):
            return
        if answer.masks[0].sum() < config.smallest:
            return
        asked = Prompts(boxes=_next_box(answer, config), logits=answer.logits if masks else None)
        answer = predictor.decode(encoded[index], asked)
        unsure = answer.iou[0] < config.iou or (answer.presence is not None and answer.presence < config.presence)
        if unsure or answer.masks[0].sum() < config.smallest:
            return
        reached[index].append(answer)
        index += step


def takes_masks(predictor: PromptedPredictor) -> bool:
    """Whether the run was trained with mask prompts, by what its config says; else they would be noise to it."""
    return predictor.promptable.mask_side is not None and bool(predictor.config.training.mask_prompts)


def _next_box(answer: Answer, config: PropagateConfig) -> Float64[np.ndarray, "1 4"]:
    tight = tight_boxes(answer.masks)
    sides = np.tile(tight[:, 2:] - tight[:, :2], 2) * config.margin + config.pixels
    return kept_in_image(sides_moved(tight, sides), (answer.masks.shape[1], answer.masks.shape[2]))


def _alone(answer: Answer, number: int) -> Answer:
    """One object of an answer."""
    mine = slice(number, number + 1)
    return Answer(
        probabilities=answer.objects[mine],
        objects=answer.objects[mine],
        iou=answer.iou[mine],
        presence=answer.presence,
        logits=answer.logits[mine],
        threshold=answer.threshold,
    )


def _together(several: Sequence[Answer]) -> Answer:
    """Answers about one slice as one; the first is kept as it is where it is alone."""
    first = several[0]
    if len(several) == 1:
        return first
    return Answer(
        probabilities=np.maximum.reduce([each.probabilities for each in several]),
        objects=np.concatenate([each.objects for each in several]),
        iou=np.concatenate([each.iou for each in several]),
        presence=first.presence,
        logits=np.concatenate([each.logits for each in several]),
        threshold=first.threshold,
    )
