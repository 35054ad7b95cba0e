"""Training from an embedding cache: when it is possible, and the slices and their order then."""

from torch import nn

from segmed.core.errors import ConfigError, DataError
from segmed.core.split import Partition
from segmed.data.augment import PRESETS
from segmed.data.decoded import DecodedDataset
from segmed.data.embeddings import EmbeddingCache
from segmed.data.embeddings.slices import EmbeddedSlices, ViewedBatches
from segmed.inference.embedding import embedding_key
from segmed.models.families import FAMILIES
from segmed.models.promptable import require_promptable
from segmed.models.sam_config import FROZEN_ENCODER
from segmed.preprocess import Preprocess
from segmed.training.recipe import Recipe


def cached_slices(
    recipe: Recipe,
    model: nn.Module,
    cache: EmbeddingCache,
    *,
    data: DecodedDataset,
    partition: Partition,
    rank: int = 0,
    world: int = 1,
) -> tuple[EmbeddedSlices, EmbeddedSlices, ViewedBatches]:
    """Training slices in every view of the cache, validation slices as they are, and the order of the first.

    Raises `ConfigError` where the recipe cannot train from a cache, and `DataError` where this one is stale.
    """
    require_cacheable(recipe)
    slice_ids = (*partition.train, *partition.validation)
    cache.require(embedding_key(model, recipe.preprocess, data), slice_ids)
    _require_shapes(recipe, model, cache)
    views = cache.views(partition.train)
    preprocess, guided = Preprocess(recipe.preprocess), require_promptable(model).guided
    images = guided or recipe.prompting.regions > 0
    training = EmbeddedSlices(data, partition.train, preprocess, cache, views=views, with_images=images)
    validation = EmbeddedSlices(data, partition.validation, preprocess, cache, with_images=guided)
    batches = ViewedBatches(
        training.drawn(), recipe.sampling, views=len(views), seed=recipe.seed, rank=rank, world=world
    )
    return training, validation, batches


def require_cacheable(recipe: Recipe) -> None:
    """Raise `ConfigError` where embeddings made once cannot serve this recipe, with the reason."""
    require_frozen(recipe)
    if recipe.objective != "masks":
        raise ConfigError(
            f"objective {recipe.objective} compares features of changed images, which no cache holds. Leave it out."
        )
    if recipe.prompting.proposes:
        raise ConfigError(
            "prompting draws proposals, whose maps are not kept beside cached embeddings. Train without a cache, or "
            "leave proposals out of prompting.mix and prompting.validation."
        )
    if recipe.augment != PRESETS["none"]:
        raise ConfigError(
            "augment is not none, but cached embeddings are those of unchanged images. Set augment=none; for "
            "variety make the cache with `segmed embed --views flips` (or all): a view is drawn in every step."
        )


def require_frozen(recipe: Recipe) -> None:
    """Raise `ConfigError` unless training leaves an image encoder of its own unchanged."""
    if recipe.model.name not in FAMILIES:
        raise ConfigError(
            f"{recipe.model.name} has no image encoder of its own whose embeddings could be kept. "
            f"Choose a promptable model: {', '.join(sorted(FAMILIES))}."
        )
    trains = recipe.model.sam.trains if recipe.model.sam is not None else "all"
    if trains not in FROZEN_ENCODER:
        raise ConfigError(
            f"model.sam.trains is {trains}: training changes the image encoder, so its embeddings would be stale after "
            "one step. Set it to decoder or decoder+prompts, or train without a cache."
        )


def cache_hint(recipe: Recipe) -> str | None:
    """One line that says how training gets cheaper, where a cache is possible and none is used; else None."""
    sam = recipe.model.sam
    if recipe.model.name not in FAMILIES or sam is None or sam.trains not in FROZEN_ENCODER:
        return None
    augment = "" if recipe.augment == PRESETS["none"] else " --set augment=none"
    return (
        "The image encoder is frozen: run it once with `segmed embed` and train with "
        f"--embeddings CACHE{augment}; a step is then the decoder's alone."
    )


def _require_shapes(recipe: Recipe, model: nn.Module, cache: EmbeddingCache) -> None:
    wanted = require_promptable(model).feature_shapes
    if cache.plan.shapes != wanted:
        raise DataError(
            f"{cache.folder}: holds levels of {cache.plan.shapes}, but {recipe.model.name} decodes {wanted} (channels, "
            "rows, columns). Set model.sam.size to preprocess.size."
        )
