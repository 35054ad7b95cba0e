"""The contract of every promptable model that trains here: after a short training its prompts decide its masks.

Images of four like squares, of which only the box says which one is meant: a model that ignores its prompts can at best
find all squares or none.
"""

import numpy as np
import pytest
import torch
from tiny_models import tiny
from tiny_vit import tiny_vit
from torch.nn import functional

from segmed.models.object_prompts import ObjectPrompts
from segmed.models.sam.network import PromptableSam
from segmed.prompts.value import Prompts

SIDE = 64


def squares(rng: np.random.Generator, images: int) -> tuple[torch.Tensor, list[list[tuple[int, int, int, int]]]]:
    """Noise with a bright square somewhere in each quarter, and their boxes."""
    pictures = rng.normal(0, 0.2, (images, 3, SIDE, SIDE)).astype(np.float32)
    boxes = []
    for picture in pictures:
        corners = [(int(x + rng.integers(2, 14)), int(y + rng.integers(2, 14))) for y in (0, 32) for x in (0, 32)]
        boxes.append([(x, y, x + 14, y + 14) for x, y in corners])
        for x, y, right, bottom in boxes[-1]:
            picture[:, y:bottom, x:right] += 1.5
    return torch.from_numpy(pictures), boxes


def filled(boxes: list[tuple[int, int, int, int]]) -> torch.Tensor:
    masks = torch.zeros(len(boxes), SIDE, SIDE)
    for mask, (x, y, right, bottom) in zip(masks, boxes, strict=True):
        mask[y:bottom, x:right] = 1
    return masks


def train(model: PromptableSam, steps: int, rng: np.random.Generator) -> None:
    model.train()
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-3)
    for _ in range(steps):
        image, boxes = squares(rng, 4)
        asked = [[every[number] for number in rng.choice(4, 2, replace=False)] for every in boxes]
        decoded = model.decode(model.embed(image), ObjectPrompts.of([Prompts(boxes=some) for some in asked]))
        target = filled([box for some in asked for box in some])
        logits = model.enlarged(decoded.logits)
        overlap = (logits.sigmoid() * target).sum((1, 2)) / (logits.sigmoid() + target).sum((1, 2))
        loss = functional.binary_cross_entropy_with_logits(logits, target) + 1 - 2 * overlap.mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()


def mean_iou(masks: torch.Tensor, targets: torch.Tensor) -> float:
    first, second = masks > 0, targets > 0
    return float(((first & second).sum((1, 2)) / (first | second).sum((1, 2))).mean())


@pytest.mark.parametrize("build", [tiny, tiny_vit], ids=["sam-tiny", "sam-vit"])
def test_another_box_gives_another_mask_and_shuffled_boxes_cost_iou(build: type[PromptableSam]) -> None:
    model, rng = build(presence=False), np.random.default_rng(0)
    train(model, 45, rng)
    image, boxes = squares(rng, 6)
    with torch.inference_mode():
        embedding = model.encode(image)
        asked = ObjectPrompts.of([Prompts(boxes=every) for every in boxes])
        masks = model.enlarged(model.decode(embedding, asked).logits).view(6, 4, SIDE, SIDE)
    targets = torch.stack([filled(every) for every in boxes])
    own, shuffled = (
        mean_iou(masks.flatten(0, 1), targets.flatten(0, 1)),
        mean_iou(masks.flatten(0, 1), targets.roll(1, dims=1).flatten(0, 1)),
    )
    assert own > 0.5, own
    assert own > shuffled + 0.4
    different = ((masks[:, 0] > 0) != (masks[:, 1] > 0)).float().mean((1, 2))
    assert (different > 0.02).all()
