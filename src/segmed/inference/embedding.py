"""One pass of an image encoder over a data set, into an embedding cache: what it will take, and doing it."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmed.core.config import config_to_mapping
from segmed.core.errors import ConfigError, ModelError
from segmed.core.files import refuse_links
from segmed.core.progress import Progress
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.data.embeddings import EmbeddingCache, EmbeddingKey, EmbeddingPlan
from segmed.data.embeddings.build import (
    alone,
    fill,
    require_room,
    require_same_plan,
    whole_shards,
)
from segmed.data.embeddings.plan import Entry
from segmed.data.loading import PreprocessedSlices
from segmed.data.views import View, viewed
from segmed.layers.embedding import Embedding, Shape
from segmed.models.checkpoint import weights_digest
from segmed.models.promptable import Promptable, require_promptable
from segmed.preprocess import Preprocess, PreprocessConfig

MEASURED, MEASURED_SECONDS = 3, 20.0
"""Embeddings that are timed before the pass, and seconds after which no further one is."""


@dataclass(frozen=True)
class EmbeddingCost:
    """What a pass will take, said before it starts."""

    entries: int
    """Embeddings in the whole cache, views counted."""
    missing: int
    """Those still to be made."""
    bytes: int
    """Size of the whole cache."""
    entry_bytes: int
    """Size of one embedding."""
    seconds_each: float
    """Measured on a few slices; 0 where nothing is missing."""
    damaged: tuple[str, ...]
    """A line on each shard that is there and not whole: it is made anew."""

    @property
    def seconds(self) -> float:
        """The whole pass."""
        return self.missing * self.seconds_each


def embedding_key(model: nn.Module, preprocess: PreprocessConfig, data: DecodedDataset) -> EmbeddingKey:
    """What the embeddings of `data` by the image encoder of `model` depend on.

    Raises `ModelError` for a model that has no image encoder of its own.
    """
    read = preprocess.with_channels(data.shape(data.dataset.records[0].slice_id)[2])
    return EmbeddingKey(data.data_hash, weights_digest(_encoder(model)), config_to_mapping(read))


def entries_of(data: DecodedDataset, views: Sequence[View], split: Split | None = None, fold: int = 0) -> list[Entry]:
    """What to embed: all views of a fold's training slices and its validation slices as they are; without a split, all
    views of every slice."""
    if split is None:
        return [(record.slice_id, view) for record in data.dataset.records for view in views]
    partition = split.fold(fold)
    training: list[Entry] = [(slice_id, view) for slice_id in partition.train for view in views]
    return [*training, *((slice_id, "identity") for slice_id in partition.validation)]


def embed(
    model: nn.Module,
    preprocess: PreprocessConfig,
    *,
    data: DecodedDataset,
    entries: Sequence[Entry],
    out: Path,
    precision: str = "32-true",
    device: torch.device | None = None,
    batch: int | None = None,
    max_gib: float | None = None,
    announce: Callable[[EmbeddingCost], None] | None = None,
    progress: Progress | None = None,
) -> EmbeddingCache:
    """Embed `entries` into the folder `out`, or go on where an earlier call was stopped.

    `precision` is the encoder's arithmetic as Lightning names it; `announce` is told the cost before the pass.
    Raises `DataError` where `out` holds another cache, the disk or `max_gib` is too small, or a value is not finite,
    and `ConfigError` for a `batch` of less than one slice.
    """
    if batch is not None and batch < 1:
        raise ConfigError(f"{batch} slices cannot be encoded together. Use 1 or more.")
    refuse_links(out)
    device = device or torch.device("cpu")
    encoder = SliceEncoder(
        model.to(device).eval(), preprocess, data, [slice_id for slice_id, _ in entries], device, precision
    )
    key = embedding_key(model, preprocess, data)
    with alone(out):
        plan = EmbeddingPlan(key, tuple(entries), encoder.shapes, precision)
        require_same_plan(plan, out)
        whole, damaged = whole_shards(plan, out)
        missing = len(entries) - sum(len(plan.shard_entries(number)) for number in whole)
        require_room(plan, out, missing=missing, max_gib=max_gib)
        if announce is not None:
            each = encoder.measure(entries) if missing else 0.0
            announce(EmbeddingCost(len(entries), missing, plan.bytes, plan.entry_bytes, each, tuple(damaged)))
        return fill(
            plan,
            out,
            encoder,
            whole=whole,
            batch=default_batch(plan.shapes, device) if batch is None else batch,
            progress=progress,
        )


class SliceEncoder:
    """Preprocess slices, turn them to their views, and run the image encoder, without a graph."""

    def __init__(
        self,
        model: nn.Module,
        preprocess: PreprocessConfig,
        data: DecodedDataset,
        slice_ids: Sequence[str],
        device: torch.device,
        precision: str,
    ) -> None:
        _encoder(model)
        self._model = require_promptable(model)
        self._slices = PreprocessedSlices(data, tuple(dict.fromkeys(slice_ids)), Preprocess(preprocess))
        self._number = {slice_id: number for number, slice_id in enumerate(self._slices.slice_ids)}
        self._device, self._precision = device, precision
        self._last: tuple[str, Tensor] | None = None

    def __call__(self, entries: Sequence[Entry]) -> Embedding:
        """The embeddings of entries."""
        images = torch.stack([viewed(self._image(slice_id), view) for slice_id, view in entries]).to(self._device)
        with torch.inference_mode(), autocast(self._device, self._precision):
            return self._model.features(images)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The levels of an embedding: what the image encoder gives, before any upsampling."""
        return self._model.feature_shapes

    def measure(self, entries: Sequence[Entry]) -> float:
        """Seconds for one embedding, the least of a few."""
        times: list[float] = []
        for entry in entries[: MEASURED + 1]:
            started = time.perf_counter()
            self([entry]).to(torch.device("cpu"))
            times.append(time.perf_counter() - started)
            if sum(times) > MEASURED_SECONDS:
                break
        return min(times)

    def _image(self, slice_id: str) -> Float[Tensor, "c h w"]:
        """The preprocessed slice; the last is kept, since its views follow each other."""
        if self._last is None or self._last[0] != slice_id:
            self._last = slice_id, self._slices[self._number[slice_id]].image
        return self._last[1]


def default_batch(shapes: Sequence[Shape], device: torch.device) -> int:
    """Entries encoded together: as many as have the cells of eight 32 x 32 maps on their first level, four times that
    on a GPU."""
    cells = 8 * 32 * 32 * (1 if device.type == "cpu" else 4)
    return max(1, cells // (shapes[0][1] * shapes[0][2]))


def _encoder(model: nn.Module) -> nn.Module:
    encoder = model.image_encoder if isinstance(model, Promptable) else None
    if encoder is None:
        raise ModelError(
            f"{type(model).__name__} has no image encoder of its own whose embeddings could be kept. "
            "Choose a promptable model, such as sam-tiny."
        )
    return encoder


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The arithmetic of Lightning's `precision` by name: 32-true, bf16-mixed or 16-mixed."""
    dtype = torch.float16 if precision.startswith("16") else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=not precision.startswith("32"))
