"""Train FeatUp's upsampler, or an encoder that reads smaller images, on a run's own features at full size.

The target is exact: the features of the same encoder for the image at its full size. All recent work trains so, by
cosine and squared difference (JAFAR, LoftUp, AnyUp); FeatUp's own multi-view objective is in `multiview`.
"""

import dataclasses
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmed.core.errors import ConfigError
from segmed.data.loading import Batch
from segmed.layers.featup import GuidedKind
from segmed.models.checkpoint import RECIPE, load_config, load_run
from segmed.models.families import FAMILIES
from segmed.models.sam.network import PromptableSam
from segmed.models.sam_config import SamConfig
from segmed.training.featup_config import FeatUpConfig
from segmed.training.prompted import PromptedObjective
from segmed.training.recipe import Recipe, load_recipe


class DistilObjective:
    """Features of the smaller image, upsampled, against a teacher's of the whole one; compared by the masks they give.

    The teacher is no part of what is saved or optimised, and is moved to where the batch is.
    """

    def __init__(self, config: FeatUpConfig, prompted: PromptedObjective, teacher: PromptableSam) -> None:
        self._config, self._prompted = config, prompted
        self._teacher = teacher.eval().requires_grad_(False)

    def loss(self, model: nn.Module, batch: Batch, *, seed: int) -> Float[Tensor, ""]:
        """The distance between both embeddings."""
        with torch.no_grad():
            target = self._teacher.to(batch.image.device).upsampled_features(batch.image)
        return feature_distance(
            require_upsampler(model).upsampled_features(batch.image), target, self._config.cosine_weight
        )

    def validate(self, model: nn.Module, batch: Batch) -> tuple[Float[Tensor, "b k s s"], Float[Tensor, ""]]:
        """Logits that the unchanged decoder makes of the upsampled embedding under the validation prompts, and the
        distance."""
        logits, _ = self._prompted.validate(model, batch)
        return logits, self.loss(model, batch, seed=0)


def feature_distance(
    found: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], cosine_weight: float = 1.0
) -> Float[Tensor, ""]:
    """Mean squared difference, plus one minus the cosine between the channels of each cell, weighed."""
    cosine = functional.cosine_similarity(found.float(), target.float(), dim=1).mean()
    return functional.mse_loss(found.float(), target.float()) + cosine_weight * (1 - cosine)


def require_upsampler(model: nn.Module) -> PromptableSam:
    """The model, if its embedding is upsampled; raises `ConfigError` otherwise."""
    if not isinstance(model, PromptableSam) or model.upsampler is None:
        raise ConfigError(
            "objective distil and multiview train a promptable model that encodes a smaller image. "
            "Set model.sam.encode_at, or use `segmed distil`."
        )
    return model


def train_upsampler_only(model: nn.Module, *, encoder: bool) -> None:
    """Let gradients reach what upsamples the embedding, a filter on its guidance and, if wanted, the image encoder."""
    promptable = require_upsampler(model)
    promptable.requires_grad_(False)
    assert promptable.upsampler is not None
    promptable.upsampler.requires_grad_(True)
    if "guidance" in promptable.filters:
        promptable.filters["guidance"].requires_grad_(True)
    if encoder:
        promptable.image_encoder.requires_grad_(True)


def load_teacher(start: str) -> PromptableSam:
    """The network of the run whose features are the target.

    Raises `ConfigError` where it is not promptable, or reads a smaller image itself.
    """
    teacher = load_run(start).model
    if not isinstance(teacher, PromptableSam):
        raise ConfigError(f"start: {start} is no promptable model, so it has no embedding to distil.")
    if teacher.upsampler is not None:
        raise ConfigError(f"start: {start} encodes at {teacher.config.encode_at} px itself. Give a run at full size.")
    return teacher


FROM_THE_RUN = ("model", "preprocess", "prompting", "start")
"""What a distilled run has from the run whose features it learns."""


def distil_recipe(
    base: Recipe, run: str | Path, *, encode_at: int, upsampler: GuidedKind = "jbu", seed: int | None = None
) -> Recipe:
    """The schedule of `base` for the model, preprocessing and prompts of `run`, encoding at `encode_at` pixels.

    Raises `ConfigError` where the run has no embedding to distil.
    """
    config, folder = load_config(run)
    if config.model.name not in FAMILIES:
        raise ConfigError(f"{run}: {config.model.name} is no promptable model, so it has no embedding to distil.")
    if config.training.as_published:
        raise ConfigError(
            f"{run}: holds published weights as they are, which nothing was trained for. Train a run from them, with "
            "`segmed train --start`, and distil that."
        )
    sam = dataclasses.replace(config.model.sam or SamConfig(), encode_at=encode_at, encode_upsampler=upsampler)
    kept = folder / RECIPE
    return dataclasses.replace(
        base,
        model=dataclasses.replace(config.model, sam=sam),
        preprocess=config.preprocess,
        prompting=load_recipe(kept).prompting if kept.is_file() else base.prompting,
        start=str(folder),
        seed=base.seed if seed is None else seed,
    )
