"""Everything a training needs, built and checked before its first step: the fitted recipe, the module, the loaders."""

import dataclasses
import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from segmed.core.errors import ConfigError, ModelError
from segmed.core.split import Partition, Split
from segmed.data.augment import augment_for
from segmed.data.decoded import DecodedDataset
from segmed.data.embeddings import EmbeddingCache
from segmed.data.input_size import fit_size
from segmed.data.intensities import fit_intensities
from segmed.data.loading import Item, OrderedBatches, PreprocessedSlices, TrainingBatches, make_loader
from segmed.data.oof_maps import ProposalMaps
from segmed.inference.memory import ran_out
from segmed.inference.room import Room
from segmed.models.dense import stride
from segmed.models.filtering import fit_filter
from segmed.preprocess import Preprocess
from segmed.training.cached import cached_slices
from segmed.training.channels import fit_channels
from segmed.training.module import SegmentationModule
from segmed.training.prompting import open_maps
from segmed.training.recipe import Recipe
from segmed.training.warm_start import begun_from, initial_model


def fit_recipe(recipe: Recipe, data: DecodedDataset) -> Recipe:
    """The recipe with what the data decides: the channels that are read, the number of labels, the augmentation where
    that is `auto`, which intensities are black and white, and the network's input size for a spacing and for a learned
    filter.

    Raises `DataError` where an image lacks a sequence or a needed spacing or is cut along another plane, `ConfigError`
    for an augmentation that is for other data.
    """
    data.dataset.require_plane(recipe.preprocess.plane, "the recipe")
    recipe = fit_channels(recipe, data)
    model = dataclasses.replace(recipe.model, labels=len(data.dataset.labels.names))
    preprocess = fit_size(recipe.preprocess, data)
    first = data.dataset.records[0]
    size = Preprocess(preprocess).network_size(data.shape(first.slice_id)[:2], data.pixel_spacing(first.volume))
    return dataclasses.replace(
        recipe,
        model=fit_filter(model, size),
        augment=augment_for(data, recipe.augment),
        preprocess=fit_intensities(preprocess, data),
    )


def split_for(recipe: Recipe, split: Split) -> Split:
    """The split that the recipe is trained on: without validation patients for `train_on: all`."""
    return split.without_validation() if recipe.train_on == "all" else split


def prepare(
    recipe: Recipe,
    *,
    data: DecodedDataset,
    split: Split,
    fold: int,
    rank: int = 0,
    world: int = 1,
    embeddings: EmbeddingCache | None = None,
) -> tuple[SegmentationModule, tuple[Any, Any]]:
    """Build the module and its training and validation loaders, for process `rank` of `world`.

    The second loader is None where the recipe trains on all patients that are not tested.
    """
    if recipe.model.sam is not None and recipe.model.sam.multimask:
        raise ConfigError(
            "model.sam.multimask is for published weights as they are (`segmed pretrained`): training is of the one "
            "mask that SAM gives for all other prompts. Leave it out."
        )
    split = split_for(recipe, split)
    maps = open_maps(recipe.prompting, data.data_hash, split, fold) if recipe.model.takes_prompts else None
    begun_from(recipe, split, fold, data)  # refuses, whoever calls: `estimate` builds without training
    model = _begun_model(recipe).to(memory_format=torch.channels_last)
    if recipe.preprocess.divisor % stride(model):
        raise ConfigError(
            f"preprocess.divisor {recipe.preprocess.divisor} is not a multiple of the stride {stride(model)} of "
            f"{recipe.model.name}. Set it to {stride(model)}."
        )
    partition = split.fold(fold)
    if recipe.train_on == "train" and not partition.validation:
        raise ConfigError(
            f"Fold {fold} of the split has no validation patients. Set train_on: all, or make another split."
        )
    if 0 < len(partition.validation) < world:
        raise ConfigError(
            f"Fold {fold} of the split has {len(partition.validation)} validation slices for {world} devices, each of "
            "which validates some. Train on fewer devices."
        )
    training, validation, batches = _slices(
        recipe, model, data=data, partition=partition, rank=rank, world=world, embeddings=embeddings, maps=maps
    )
    ordered = OrderedBatches(len(partition.validation), recipe.sampling.batch_size, rank=rank, world=world)
    labels, workers = recipe.model.labels, _workers(recipe)
    steps = -(-batches.steps // recipe.optim.accumulate) * recipe.epochs
    module = SegmentationModule(model, recipe, decoded=data, validation_slice_ids=partition.validation, steps=steps)
    return module, (
        make_loader(training, batches, labels=labels, workers=workers),
        make_loader(validation, ordered, labels=labels, workers=workers) if partition.validation else None,
    )


def _begun_model(recipe: Recipe) -> nn.Module:
    """The network that training begins with, and of it only that to be trained which the objective trains."""
    model = initial_model(recipe)
    if recipe.objective != "masks":
        from segmed.training.featup import train_upsampler_only  # imports transformers

        train_upsampler_only(model, encoder=recipe.objective == "distil" and recipe.featup.train_encoder)
    return model


def _slices(
    recipe: Recipe,
    model: nn.Module,
    *,
    data: DecodedDataset,
    partition: Partition,
    rank: int,
    world: int,
    embeddings: EmbeddingCache | None,
    maps: ProposalMaps | None,
) -> tuple[Dataset[Item], Dataset[Item], TrainingBatches]:
    """Training and validation slices, from pixels or from the cache, and the order of the first."""
    if embeddings is not None:
        if recipe.targets != "nearest":
            raise ConfigError("targets: area is for training from images, not from embeddings. Use targets: nearest.")
        return cached_slices(recipe, model, embeddings, data=data, partition=partition, rank=rank, world=world)
    preprocess = Preprocess(recipe.preprocess)
    training = PreprocessedSlices(data, partition.train, preprocess, maps, soft=recipe.targets == "area")
    _try_size(model, training[0].image, recipe)
    batches = TrainingBatches(training.drawn(), recipe.sampling, seed=recipe.seed, rank=rank, world=world)
    return training, PreprocessedSlices(data, partition.validation, preprocess, maps), batches


def _try_size(model: nn.Module, image: Tensor, recipe: Recipe) -> None:
    """Run one image through the network, so that a size it cannot take is an error now and not in the first step."""
    channels, height, width = image.shape
    Room(model, what=recipe.model.name).require(channels, (height, width))
    model.eval()
    try:
        with torch.inference_mode():
            logits = model(image[None])
    except (AssertionError, RuntimeError) as error:
        if ran_out(error):  # at any size: `explained_failures` says what to lower
            raise
        raise ModelError(
            f"{recipe.model.name} cannot take images of {height}x{width} ({' '.join(str(error).split())}). "
            "Set a larger preprocess.size, a multiple of the stride, or the one size that the encoder was made for."
        ) from error
    finally:
        model.train()
    if logits.shape[2:] != image.shape[1:]:
        raise ModelError(f"{recipe.model.name} gives {tuple(logits.shape[2:])} for images of {height}x{width}.")


def _workers(recipe: Recipe) -> int:
    if recipe.workers is not None:
        return recipe.workers
    return min(8, (os.cpu_count() or 1) - 1) if torch.cuda.is_available() else 0
