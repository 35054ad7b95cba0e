"""The Lightning module: a model, an objective and an optimiser. Lightning owns everything else."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from segmed.core.errors import ConfigError, DataError
from segmed.data.augment import Augment, build_augment
from segmed.data.decoded import DecodedDataset
from segmed.data.loading import Batch
from segmed.models.former_keys import present_keys
from segmed.training.objectives import build_objective
from segmed.training.parameter_groups import leave_out_empty_groups, parameter_groups
from segmed.training.recipe import OptimConfig, Recipe
from segmed.training.validation import ThresholdCounts

Tensors = tuple[Tensor, ...] | list[Tensor]

CYCLE_START, CYCLE_RISE = 1 / 25, 0.3
"""Where one cycle begins, as a share of its peak, and the share of steps that it rises for: those of torch's
`OneCycleLR`."""


class SegmentationModule(pl.LightningModule):
    """Train `model` by `recipe`; validate its averaged weights by patient.

    All randomness of a step is seeded from the recipe's seed and the step's number, so that a resumed run
    repeats an uninterrupted one exactly.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        decoded: DecodedDataset,
        validation_slice_ids: Sequence[str],
        steps: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe, self.decoded, self.steps = recipe, decoded, steps
        self.averaged = _averaged(model, recipe.ema_decay)
        self.objective = build_objective(recipe, decoded, model)
        self.threshold, self.dice, self.validation_loss = recipe.threshold, float("nan"), float("nan")
        records = decoded.dataset.by_slice_id()
        self._volume = {slice_id: records[slice_id].volume for slice_id in validation_slice_ids}
        self._number = {volume: index for index, volume in enumerate(dict.fromkeys(self._volume.values()))}
        patients = {records[slice_id].volume: records[slice_id].patient for slice_id in validation_slice_ids}
        numbered = {patient: index for index, patient in enumerate(dict.fromkeys(patients.values()))}
        self._patients = [numbered[patients[volume]] for volume in self._number]
        self._losses: list[Tensor] = []
        self._start_counts()

    @property
    def validates(self) -> bool:
        """Whether there are validation patients."""
        return bool(self._volume)

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept: the averaged one, or the trained one where there is no average."""
        return self.model if self.averaged is None else self.averaged.module

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move tensors; ids and undo stay."""
        return batch.to(device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout and stochastic depth from the step."""
        torch.manual_seed(self._step_seed(batch_idx))

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """Augment, predict, compare. Raises `DataError`, naming the slices, when the loss is not a number."""
        seed = self._step_seed(batch_idx)
        generator = torch.Generator(batch.image.device).manual_seed(seed)
        loss = self.objective.loss(self.model, self.augmented(batch, generator), seed=seed)
        if not torch.isfinite(loss):
            raise DataError(
                f"The loss is {loss.item()} at step {self.global_step} on slices {', '.join(batch.slice_ids)}. "
                "Look at them with `segmed data check`, or lower optim.learning_rate."
            )
        self._losses.append(loss.detach())
        self.log("train/loss", loss, batch_size=len(batch.slice_ids))
        return loss * self._share_of_group(batch_idx)

    def latest_loss(self) -> float:
        """The training loss of the latest batch of this epoch, on this process."""
        return float(self._losses[-1])

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Average the weights after each optimiser step."""
        if self.averaged is not None and int(self.averaged.n_averaged) < self.global_step:
            self.averaged.update_parameters(self.model)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count hits of the averaged network on the original grid."""
        logits, loss = self.objective.validate(self.kept, batch)
        self._validation_loss.append(loss * len(batch.slice_ids))
        self._validated += len(batch.slice_ids)
        for index, (slice_id, undo) in enumerate(zip(batch.slice_ids, batch.undo, strict=True)):
            probabilities = undo(logits[index]).sigmoid()
            self._counts.add(self._number[self._volume[slice_id]], probabilities, self.decoded.mask(slice_id))

    def on_validation_epoch_end(self) -> None:
        """Choose the threshold, and log the Dice that selects the epoch."""
        for counts in self._counts.tensors():
            counts.copy_(self.trainer.strategy.reduce(counts.to(self.device), reduce_op="sum").cpu())
        self.threshold, self.dice = self._counts.best()
        loss = torch.stack(self._validation_loss).sum() / max(self._validated, 1)
        self.validation_loss = float(self.trainer.strategy.reduce(loss, reduce_op="mean"))
        self.log("validation/dice", self.dice, rank_zero_only=True)
        self._start_counts()

    def mean_training_loss(self) -> float:
        """The mean training loss since the last call, on this process."""
        mean = float(torch.stack(self._losses).mean()) if self._losses else float("nan")
        self._losses.clear()
        return mean

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read names of weights and optimiser groups of earlier versions, so that their unfinished runs continue."""
        checkpoint["state_dict"] = present_keys(checkpoint["state_dict"])
        leave_out_empty_groups(checkpoint)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with a warm-up and cosine schedule by step."""
        trained = nn.ModuleList([self.model])
        if isinstance(self.objective, nn.Module):  # it learns something too
            trained.append(self.objective)
        optimizer = torch.optim.AdamW(parameter_groups(trained, self.recipe.optim), lr=self.recipe.optim.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_share(step, self.steps, self.recipe.optim)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch under the recipe's random changes: images, masks and proposals alike."""
        planes = batch.mask if batch.proposal is None else torch.cat([batch.mask, batch.proposal], dim=1)
        image, planes = self._augment_for(batch)(batch.image, planes, generator)  # a map moves exactly as its mask does
        labels = batch.mask.shape[1]
        proposal = None if batch.proposal is None else planes[:, labels:]
        return dataclasses.replace(batch, image=image, mask=planes[:, :labels], proposal=proposal)

    def _augment_for(self, batch: Batch) -> Augment:
        if self.recipe.augment is None:
            raise ConfigError("augment is auto: fit the recipe to the data first (segmed.training.build).")
        slices = 2 * self.recipe.preprocess.neighbours + 1
        size = (batch.image.shape[2], batch.image.shape[3])
        return build_augment(self.recipe.augment, size, slices, soft=self.recipe.targets == "area")

    def _step_seed(self, batch_idx: int) -> int:
        place = (self.current_epoch * 1_000_003 + batch_idx) * self.trainer.world_size + self.global_rank
        return (self.recipe.seed * 2_147_483_659 + place) % 2**63

    def _share_of_group(self, batch_idx: int) -> float:
        """What turns Lightning's division by `accumulate` into one by the batches that the step really has."""
        return self.recipe.optim.accumulate / group_size(
            batch_idx, int(self.trainer.num_training_batches), self.recipe.optim.accumulate
        )

    def _start_counts(self) -> None:
        self._counts = ThresholdCounts(max(len(self._number), 1), self.recipe.model.labels, self._patients or None)
        self._validation_loss: list[Tensor] = []
        self._validated = 0


def group_size(batch: int, batches: int, accumulate: int) -> int:
    """Batches that share an optimiser step with number `batch` of an epoch: the last group of it may be shorter.

    >>> [group_size(batch, 5, 3) for batch in range(5)]
    [3, 3, 3, 2, 2]
    """
    first = batch - batch % accumulate
    return min(accumulate, batches - first)


def accumulation_warning(config: OptimConfig, batches: int) -> str | None:
    """What to tell a user whose `optim.accumulate` is more than an epoch has `batches`; None where it is not."""
    if config.accumulate <= batches:
        return None
    return (
        f"optim.accumulate is {config.accumulate}, but an epoch has {batches} batches, so that each optimiser step has "
        f"{batches}. Raise sampling.steps_per_epoch, which counts batches, to a multiple of {config.accumulate}, or "
        "lower optim.accumulate."
    )


def learning_rate_share(step: int, steps: int, config: OptimConfig) -> float:
    """Share of the peak learning rate at `step` of `steps`: up, then half a cosine down to `final_share`.

    Up is a linear warm-up, or for one cycle half a cosine from `CYCLE_START` over `CYCLE_RISE` of the steps.
    """
    if config.schedule == "one-cycle":
        rise = max(1.0, CYCLE_RISE * steps)
        if step < rise:
            return _half_cosine(CYCLE_START, 1.0, step / rise)
        return _half_cosine(1.0, config.final_share, min(1.0, (step - rise) / max(1.0, steps - rise)))
    warmup = max(1, min(config.warmup_steps, steps // 10))
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return _half_cosine(1.0, config.final_share, progress)


def _half_cosine(first: float, last: float, progress: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """An exponential moving average that starts short: its decay is (1 + n) / (10 + n) until that reaches `decay`.

    Without the start a short run's average still holds the weights it began with (as in TensorFlow's
    `ExponentialMovingAverage` with `num_updates`). Counters and other integers are copied.
    """

    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        done = int(count)
        share = min(decay, (1 + done) / (10 + done))
        for mean, new in zip(averaged, current, strict=True):
            if mean.data_ptr() == new.data_ptr():
                continue  # frozen, and shared with the model
            if mean.is_floating_point():
                mean.lerp_(new, 1 - share)
            else:
                mean.copy_(new)

    return update


def _averaged(model: nn.Module, decay: float) -> AveragedModel | None:
    if decay == 0:
        return None
    averaged = AveragedModel(model, multi_avg_fn=moving_average(decay), use_buffers=True)
    averaged.requires_grad_(False).eval()
    _share_frozen(model, averaged.module)
    return averaged


def _share_frozen(model: nn.Module, averaged: nn.Module) -> None:
    """Let the average use the model's own frozen parameters: a frozen encoder is held, moved and saved once."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            owner, _, leaf = name.rpartition(".")
            setattr(averaged.get_submodule(owner), leaf, parameter)
