"""The objective of promptable models: many questions about each slice in one decoding, the IoU head, the presence."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmed.core.grid import PromptGrid, Size
from segmed.core.prompts import Prompts
from segmed.data.decoded import DecodedDataset
from segmed.data.loading import Batch
from segmed.data.prompting import case_generator
from segmed.data.prompting_grid import prompt_grid
from segmed.data.proposing import propose
from segmed.losses import Loss
from segmed.models.sam.asked import Askable, asked_logits
from segmed.models.sam.network import Decoded
from segmed.models.sam.prompts import ObjectPrompts
from segmed.training.prompting import PROPOSALS, PromptingConfig, Task, TaskDrawer, validation_prompter


@dataclass(frozen=True)
class Questions:
    """All objects that a batch is asked for, and their targets on the network's grid."""

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
        promptable = _promptable(model)
        cells = (promptable.mask_side, promptable.mask_side) if self._masks else None
        questions = self.questions(batch, np.random.default_rng(seed), cells)
        embedding = promptable.embed(batch.image)
        fine = promptable.fine_map(embedding, batch.image)
        decoded = promptable.decode(embedding, questions.prompts, fine)
        total = self._compare(promptable, decoded, questions)
        for _ in range(self.config.refinements):
            decoded = promptable.decode(embedding, questions.prompts.with_logits(decoded.logits), fine)
            total = total + self._compare(promptable, decoded, questions)
        present = promptable.presence_logits(embedding)
        if present is not None:
            shown = batch.mask.amax((1, 2, 3))
            error = functional.binary_cross_entropy_with_logits(present.float(), shown)
            total = total + self.config.presence_weight * error
        return total / (1 + self.config.refinements)

    def questions(self, batch: Batch, rng: np.random.Generator, cells: Size | None = None) -> Questions:
        """Draw the tasks of every slice of a batch; `cells` is the size of mask prompts, where some have them."""
        images, masks = batch.image.float().cpu().numpy(), batch.mask[:, 0].cpu().numpy() > 0
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

    def judge(self, model: nn.Module, batch: Batch) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, ""]]:
        """Logits under the validation prompts, the largest of a slice's objects; `NOTHING` where none is asked for."""
        promptable = _promptable(model)
        if self._prompter is None and self.config.validation != PROPOSALS:
            logits = promptable(batch.image).float()
        else:
            prompts = [self._prompts(case, index, batch) for index, case in enumerate(batch.cases)]
            embedding = promptable.embed(batch.image)
            fine = promptable.fine_map(embedding, batch.image)
            logits = asked_logits(promptable, embedding, prompts, fine)[:, None]
        return logits, self._loss(logits, batch.mask)

    def _prompts(self, case: str, index: int, batch: Batch) -> Prompts:
        """The prompts of a case, the same in every epoch, on the network's grid."""
        if self._prompter is None and batch.proposal is not None:
            size = (batch.image.shape[2], batch.image.shape[3])
            found = propose(batch.proposal[index, 0].float().cpu().numpy(), self.config.proposals.middle)
            return found.prompts("box", PromptGrid(size, size, size))
        if self._prompter is None:
            return Prompts()
        mask = np.asarray(self._decoded.mask(case)) > 0
        grid = prompt_grid(batch.undo[index], (batch.image.shape[2], batch.image.shape[3]))
        return grid.to_network(self._prompter(mask, case_generator(0, case)).prompts)

    def _compare(self, model: Askable, decoded: Decoded, questions: Questions) -> Float[Tensor, ""]:
        logits = model.enlarged(decoded.logits)
        loss: Tensor = self._loss(logits[:, None], questions.targets[:, None])
        truth = intersection_over_union(logits.detach() > 0, questions.targets > 0)
        return loss + self.config.iou_weight * functional.mse_loss(decoded.iou, truth)


def _coarse(task: Task, cells: Size | None) -> Prompts:
    """A task's prompts with its mask prompts on the decoder's grid."""
    if task.masks is None or cells is None:
        return task.prompts
    size = (task.masks.shape[1], task.masks.shape[2])
    return task.prompts.with_logits(PromptGrid(size, size, size).mask_prompt(task.masks, cells))


def intersection_over_union(first: Tensor, second: Tensor) -> Float[Tensor, " m"]:
    """IoU of masks `m h w`, row by row; 1 where both are empty, so that saying nothing of nothing is right."""
    union = (first | second).sum((1, 2)).float()
    common = (first & second).sum((1, 2)).float()
    return torch.where(union > 0, common / union.clamp_min(1), torch.ones_like(union))


def _promptable(model: nn.Module) -> Askable:
    if not isinstance(model, Askable):
        raise TypeError(f"PromptedObjective trains what takes prompts, got {type(model).__name__}.")
    return model
