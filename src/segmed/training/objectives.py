"""What a step minimises and what validation looks at: a value beside the model, so that one module trains all."""

from dataclasses import replace
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from segmed.core.errors import ConfigError
from segmed.data.decoded import DecodedDataset
from segmed.data.loading import Batch
from segmed.losses import Loss, build_loss
from segmed.training.recipe import Recipe


@runtime_checkable
class Objective(Protocol):
    """How a model is trained on a batch and validated on another. Both calls are pure: chance comes in as a seed."""

    def loss(self, model: nn.Module, batch: Batch, *, seed: int) -> Float[Tensor, ""]:
        """The loss of an augmented batch."""
        ...

    def validate(self, model: nn.Module, batch: Batch) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, ""]]:
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

    def validate(self, model: nn.Module, batch: Batch) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, ""]]:
        """The logits and their loss."""
        logits: Tensor = model(batch.image).float()
        return logits, self._loss(logits, batch.mask)


def build_objective(recipe: Recipe, decoded: DecodedDataset, model: nn.Module) -> Objective:
    """The objective of this recipe and kind of model; raises `ConfigError` where the two do not go together."""
    loss = build_loss(recipe.loss)
    if not recipe.model.takes_prompts and recipe.objective == "masks":
        return DenseObjective(loss)
    from segmed.training.prompted import PromptedObjective  # imports transformers

    config = recipe.prompting
    if recipe.model.box_channel:  # it has neither head
        config = replace(config, iou_weight=0.0, presence_weight=0.0)
    prompted = PromptedObjective(config, loss, decoded)
    if recipe.objective == "masks":
        return prompted
    if recipe.start is None:
        raise ConfigError(
            f"objective {recipe.objective} needs start: the run whose features are learned. Use `segmed distil`."
        )
    if recipe.objective == "distil":
        from segmed.training.featup import DistilObjective, load_teacher

        return DistilObjective(recipe.featup, prompted, load_teacher(recipe.start))
    from segmed.training.multiview import MultiViewObjective

    return MultiViewObjective(recipe.featup, prompted, model)
