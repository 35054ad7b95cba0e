"""The objective of promptable models: many questions about each slice in one decoding, the IoU head, the presence."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from segmed.core.errors import ModelError
from segmed.core.image import Size
from segmed.data.decoded import DecodedDataset
from segmed.data.loading import Batch
from segmed.layers.embedding import Embedding
from segmed.losses import Loss
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.promptable import Decoded, Promptable, prompted_logits, require_promptable
from segmed.prompts.grid import PromptGrid, prompt_grid
from segmed.prompts.masks import correction_point
from segmed.prompts.proposals import propose
from segmed.prompts.sampling import slice_generator
from segmed.prompts.value import NO_POINT, Prompts
from segmed.training.prompting import (
    PROPOSALS,
    PromptingConfig,
    Task,
    TaskDrawer,
    correcting,
    validation_prompter,
)

HALF = 0.5
"""Share of a pixel's area from which soft targets count as the object where prompts and their targets are made."""


@dataclass(frozen=True)
class Questions:
    """All objects that a batch is asked for, and their targets, on the network's grid if nothing else is said."""

    prompts: ObjectPrompts
    targets: Float[Tensor, "m h w"]


class PromptedObjective:
    """Trains what takes prompts on those drawn from the augmented masks; validates it under stated prompts."""

    def __init__(self, config: PromptingConfig, loss: Loss, decoded: DecodedDataset) -> None:
        self.config, self._loss, self._decoded = config, loss, decoded
        self._drawer = TaskDrawer(config)
        self._prompter = validation_prompter(config)
        self._masks = config.mix.get(PROPOSALS, 0) > 0 and config.proposals.mask_share > 0

    def loss(self, model: nn.Module, batch: Batch, *, seed: int) -> Float[Tensor, ""]:
        """Mask loss over all objects, and after each decoding, plus the errors of the IoU and presence heads."""
        promptable = require_promptable(model)
        rng = np.random.default_rng(seed)
        cells = _mask_grid(promptable) if self._masks else None
        questions = self._gridded(promptable, self.questions(batch, rng, cells))
        embedding = embedded(promptable, batch)
        decoded = promptable.decode(embedding, questions.prompts)
        total, logits = self._compare(promptable, decoded, questions)
        prompts = questions.prompts
        for corrected in correcting(self.config, rng):
            if corrected:
                points, labels = correction_points(logits > 0, questions.targets > 0, rng)
                prompts = prompts.with_points(points * (batch.mask.shape[-1] / logits.shape[-1]), labels)
            decoded = promptable.decode(embedding, prompts.with_logits(decoded.logits))
            loss, logits = self._compare(promptable, decoded, questions)
            total = total + loss
        present = promptable.presence_logits(embedding)
        if present is not None:
            shown = (batch.mask.amax((1, 2, 3)) >= HALF).float()
            error = functional.binary_cross_entropy_with_logits(present.float(), shown)
            total = total + self.config.presence_weight * error
        return total / (1 + self.config.refinements)

    def questions(self, batch: Batch, rng: np.random.Generator, cells: Size | None = None) -> Questions:
        """Draw the tasks of every slice of a batch, from its masks at `HALF`.

        `cells` is the size of mask prompts, where some have them.
        """
        images, masks = batch.image.float().cpu().numpy(), batch.mask[:, 0].cpu().numpy() >= HALF
        maps = [None] * len(masks) if batch.proposal is None else list(batch.proposal[:, 0].float().cpu().numpy())
        prompts: list[ObjectPrompts] = []
        targets = []
        for index, (image, mask, proposal) in enumerate(zip(images, masks, maps, strict=True)):
            for task in self._drawer(image, mask, rng, proposal):
                prompts.append(ObjectPrompts.of([_coarse(task, cells)]).in_image(index))
                targets.append(task.targets)
        device = batch.image.device
        stacked = torch.from_numpy(np.concatenate(targets)).float()
        return Questions(ObjectPrompts.concatenate(prompts).to(device), stacked.to(device))

    def validate(self, model: nn.Module, batch: Batch) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, ""]]:
        """Logits under the validation prompts, the largest of a slice's objects; `NOTHING` where none is asked for."""
        promptable = require_promptable(model)
        embedding = embedded(promptable, batch)
        if self._prompter is None and self.config.validation != PROPOSALS:
            logits = promptable.unprompted(embedding).float()
        else:
            prompts = [self._prompts(slice_id, index, batch) for index, slice_id in enumerate(batch.slice_ids)]
            logits = prompted_logits(promptable, embedding, prompts)[:, None]
        return logits, self._loss(logits, batch.mask)

    def _prompts(self, slice_id: str, index: int, batch: Batch) -> Prompts:
        """The prompts of a slice, the same in every epoch, on the network's grid."""
        if self._prompter is None and batch.proposal is not None:
            size = (batch.image.shape[2], batch.image.shape[3])
            found = propose(batch.proposal[index, 0].float().cpu().numpy(), self.config.proposals.middle)
            return found.prompts("box", PromptGrid(size, size, size))
        if self._prompter is None:
            return Prompts()
        mask = np.asarray(self._decoded.mask(slice_id)) > 0
        grid = prompt_grid(batch.undo[index], (batch.mask.shape[2], batch.mask.shape[3]))
        return grid.to_network(self._prompter(mask, slice_generator(0, slice_id)).prompts)

    def _gridded(self, model: Promptable, questions: Questions) -> Questions:
        """Targets on the grid of the comparison: a cell of the mask grid is what most of its pixels are."""
        if self.config.compare_at == "network":
            return questions
        shares = functional.interpolate(questions.targets[:, None], _mask_grid(model), mode="area")
        return replace(questions, targets=(shares[:, 0] >= 0.5).float())

    def _compare(
        self, model: Promptable, decoded: Decoded, questions: Questions
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "m h w"]]:
        """The loss of a decoding, and its logits on the grid of the targets, without a graph."""
        at_network = self.config.compare_at == "network"
        logits = model.enlarged(decoded.logits) if at_network else decoded.logits
        loss: Tensor = self._loss(logits[:, None], questions.targets[:, None])
        truth = intersection_over_union(logits.detach() > 0, questions.targets > 0)
        return loss + self.config.iou_weight * functional.mse_loss(decoded.iou, truth), logits.detach()


def correction_points(
    predictions: Bool[Tensor, "m h w"], targets: Bool[Tensor, "m h w"], rng: np.random.Generator
) -> tuple[Float[Tensor, "m 2"], Int[Tensor, " m"]]:
    """A point where each prediction is wrong and its label, 1 where the object was missed and 0 where it was invented;
    label -1 where nothing is wrong. In pixels of the masks' grid, at their centres."""
    points, labels = np.zeros((len(predictions), 2), np.float32), np.full(len(predictions), NO_POINT, np.int64)
    chances = rng.random(len(predictions))
    for row, (predicted, target) in enumerate(zip(predictions.cpu().numpy(), targets.cpu().numpy(), strict=True)):
        found, label = correction_point(target, predicted, float(chances[row]))
        if len(found):
            points[row], labels[row] = found[0], label[0]
    return torch.from_numpy(points).to(predictions.device), torch.from_numpy(labels).to(predictions.device)


def embedded(model: Promptable, batch: Batch) -> Embedding:
    """The embedding of a batch; where features are cached the image encoder does not run."""
    if batch.embedding is None:
        return model.embed(batch.image)
    return model.completed(batch.embedding.float(), batch.image)


def _mask_grid(model: Promptable) -> Size:
    """Rows and columns of mask prompts; raises `ModelError` where the model takes none."""
    if model.mask_side is None:
        raise ModelError(
            f"{type(model).__name__} takes no mask prompts. Set prompting.compare_at to network, and leave masks out."
        )
    return model.mask_side, model.mask_side


def _coarse(task: Task, cells: Size | None) -> Prompts:
    """A task's prompts with its mask prompts on the decoder's grid."""
    if task.masks is None or cells is None:
        return task.prompts
    size = (task.masks.shape[1], task.masks.shape[2])
    return task.prompts.with_logits(PromptGrid(size, size, size).mask_prompt(task.masks, cells))


def intersection_over_union(first: Tensor, second: Tensor) -> Float[Tensor, " m"]:
    """IoU of masks `m h w`, row by row; an empty prediction of an empty mask counts as correct, 1."""
    union = (first | second).sum((1, 2)).float()
    common = (first & second).sum((1, 2)).float()
    return torch.where(union > 0, common / union.clamp_min(1), torch.ones_like(union))
