"""What a training run will take, measured on a few batches of the real thing before it starts."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.data.embeddings import EmbeddingCache
from segmed.data.loading import Batch
from segmed.data.splits import require_fit
from segmed.inference.embedding import autocast
from segmed.inference.memory import PeakMemory
from segmed.training.build import fit_recipe, prepare
from segmed.training.module import SegmentationModule
from segmed.training.precision import choose_precision
from segmed.training.recipe import Recipe
from segmed.training.run_log import explained_failures

WARMUP = 2
MIB = 2**20


@dataclass(frozen=True)
class Estimate:
    """Time in seconds, memory and disk in MiB, and what they were measured or computed from."""

    device: str
    precision: str
    parameters: int
    steps_per_epoch: int
    epochs: int
    seconds_per_step: float
    validation_seconds: float
    """Of the whole validation after an epoch; 0 where nothing is validated (`train_on: all`)."""
    memory_mib: float | None
    """Peak of this process (CPU) or of the GPU during the measured steps; None where the system does not tell."""
    disk_mib: float
    """The decoded data set, the best weights, and two resume checkpoints (weights, average and optimiser state)."""

    @property
    def seconds_per_epoch(self) -> float:
        """Training steps and validation of one epoch."""
        return self.steps_per_epoch * self.seconds_per_step + self.validation_seconds

    @property
    def seconds(self) -> float:
        """The whole run."""
        return self.epochs * self.seconds_per_epoch


def estimate(
    recipe: Recipe,
    *,
    data: DecodedDataset,
    split: Split,
    fold: int = 0,
    steps: int = 4,
    embeddings: EmbeddingCache | None = None,
    accelerator: str = "auto",
) -> Estimate:
    """Measure `steps` training steps of `recipe`, after two to warm up, and one validation batch where it has any.

    `accelerator` is auto, cpu, gpu or mps as for a training; where there is no CUDA, the CPU is measured. Raises
    `ModelError` where the memory is too small.
    """
    with explained_failures(recipe, Path()):
        return _measured(fit_recipe(recipe, data), data, require_fit(split, data), fold, steps, embeddings, accelerator)


def _measured(
    recipe: Recipe,
    data: DecodedDataset,
    split: Split,
    fold: int,
    steps: int,
    embeddings: EmbeddingCache | None,
    accelerator: str,
) -> Estimate:
    module, (training, validation) = prepare(recipe, data=data, split=split, fold=fold, embeddings=embeddings)
    device = torch.device("cuda" if accelerator in ("auto", "gpu") and torch.cuda.is_available() else "cpu")
    module.to(device)
    precision = choose_precision(recipe.precision, accelerator)
    memory = PeakMemory(str(device))
    with memory.measuring():
        seconds = _time_steps(module, training, device, precision.name, steps)
        validated = 0.0 if validation is None else _time_validation(module, validation, device, precision.name)
    parameters = sum(parameter.numel() for parameter in module.model.parameters())
    return Estimate(
        device=torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        precision=f"{precision.name} ({precision.reason})",
        parameters=parameters,
        steps_per_epoch=len(training),
        epochs=recipe.epochs,
        seconds_per_step=seconds,
        validation_seconds=validated,
        memory_mib=memory.mib,
        disk_mib=(data.bytes + parameters * 4 * (1 + 2 * (4 if recipe.ema_decay else 3))) / MIB,
    )


def _time_steps(module: SegmentationModule, loader: Any, device: torch.device, precision: str, steps: int) -> float:
    trained = [parameter for parameter in module.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6)
    generator = torch.Generator(device).manual_seed(0)
    started = 0.0
    done = 0
    while done < WARMUP + steps:
        for batch in loader:
            if done == WARMUP:
                _wait(device)
                started = time.perf_counter()
            augmented = module.augmented(batch.to(device), generator)
            with autocast(device, precision):
                loss = module.objective.loss(module.model, augmented, seed=done)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            if done == WARMUP + steps:
                break
    _wait(device)
    return (time.perf_counter() - started) / steps


def _time_validation(module: SegmentationModule, loader: Any, device: torch.device, precision: str) -> float:
    """Seconds of a validation, from those of its first batch."""
    batch: Batch = next(iter(loader)).to(device)
    module.eval()
    started = time.perf_counter()
    with torch.inference_mode(), autocast(device, precision):
        module.objective.validate(module.model, batch)
    _wait(device)
    return (time.perf_counter() - started) * len(loader)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
