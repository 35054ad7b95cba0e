"""What a step minimises and what validation looks at: a value beside the model, so that one module trains all."""

from dataclasses import replace
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from segmed.data.decoded import DecodedDataset
from segmed.data.loading import Batch
from segmed.losses import Loss, build_loss
from segmed.models.zoo import takes_prompts
from segmed.training.recipe import Recipe


@runtime_checkable
class Objective(Protocol):
    """How a model is trained on a batch and judged on another. Both calls are pure: chance comes in as a seed."""

    def loss(self, model: nn.Module, batch: Batch, *, seed: int) -> Float[Tensor, ""]:
        """The loss of an augmented batch."""
        ...

    def judge(self, model: nn.Module, batch: Batch) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, ""]]:
        """Logits at the network's size, from which the validation Dice is taken, and the validation loss."""
        ...


class DenseObjective:
    """A model that maps images to logits, and a loss between these and the mask."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def loss(self, model: nn.Module, batch: Batch, *, seed: int) -> Float[Tensor, ""]:
        """Compare the logits with the mask."""
        loss: Tensor = self._loss(model(batch.image).float(), batch.mask)
        return loss

    def judge(self, model: nn.Module, batch: Batch) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, ""]]:
        """The logits and their loss."""
        logits: Tensor = model(batch.image).float()
        return logits, self._loss(logits, batch.mask)


def build_objective(recipe: Recipe, decoded: DecodedDataset) -> Objective:
    """The objective of this kind of model."""
    loss = build_loss(recipe.loss)
    if takes_prompts(recipe.model):
        from segmed.training.prompted import PromptedObjective  # imports transformers

        config = recipe.prompting
        if recipe.model.box_channel:  # it has neither head
            config = replace(config, iou_weight=0.0, presence_weight=0.0)
        return PromptedObjective(config, loss, decoded)
    return DenseObjective(loss)
