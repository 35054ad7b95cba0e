"""From slices to batches: preprocessed tensors, and an order that depends on seed and epoch alone.

Neither the order nor the content of a batch depends on hidden random state, so that a resumed run sees exactly the
batches that the interrupted one would have seen.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from segmed.core.config import config_dataclass
from segmed.core.errors import ConfigError, DataError, SplitError
from segmed.core.records import by_volume
from segmed.core.slice_neighbours import neighbour_indices
from segmed.data.decoded import DecodedDataset
from segmed.data.oof_maps import ProposalMaps
from segmed.layers.embedding import Embedding
from segmed.preprocess import Preprocess, Statistics, Undo

EVEN = 0.1
"""What is spread evenly over a patient's slices, against what goes by the area of foreground."""


@dataclass
class Batch:
    """What a model is trained or validated on."""

    image: Float[Tensor, "b c h w"]
    mask: Float[Tensor, "b k h w"]
    """One channel per foreground label, on the network's grid: binary, or shares of each pixel's area."""
    slice_ids: tuple[str, ...]
    undo: tuple[Undo, ...]
    proposal: Float[Tensor, "b 1 h w"] | None = None
    """Out-of-fold probabilities on the network's grid, where training draws proposals from them."""
    embedding: Embedding | None = None
    """Embeddings of the images by a frozen encoder, if from a cache; the images may have no channels then."""

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device; images in channels-last memory, which convolutions prefer."""
        image = self.image.to(device, memory_format=torch.channels_last, non_blocking=True)
        proposal = None if self.proposal is None else self.proposal.to(device, non_blocking=True)
        embedding = None if self.embedding is None else self.embedding.to(device)
        mask = self.mask.to(device, non_blocking=True)
        return Batch(image, mask, self.slice_ids, self.undo, proposal, embedding)


@dataclass
class Item:
    """One preprocessed slice."""

    image: Float[Tensor, "c h w"]
    labels: Int[Tensor, "h w"]
    slice_id: str
    undo: Undo
    proposal: Float[Tensor, "h w"] | None = None
    """An out-of-fold map from 0 to 1, fitted as the mask is: nearest neighbour, 0 where padded."""
    embedding: Embedding | None = None
    """Of this one image, from an embedding cache, if one is used."""
    shares: Float[Tensor, "k h w"] | None = None
    """Soft targets: the share of each pixel's area that has each label, where training asks for these."""


@config_dataclass
class SamplingConfig:
    """How training slices are drawn."""

    batch_size: int = 16
    """Slices per batch and device."""
    positive_share: float | None = 0.5
    """Share of the slices drawn that carry foreground; 1 draws no others, None takes slices as they come."""
    by: Literal["slice", "patient"] = "slice"
    """What is drawn equally often: every `slice`, or every `patient`, and then one of its slices; of those that carry
    foreground one with more of it more often (Buda et al. 2019)."""
    steps_per_epoch: int | None = None
    """Batches between two validations, of which `optim.accumulate` make a step of the optimiser; None is as many as one
    pass over the slices that are drawn takes."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no batch."""
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}.")
        if self.positive_share is not None and not 0 < self.positive_share <= 1:
            raise ConfigError(
                f"positive_share is above 0 and at most 1, got {self.positive_share}. Use null for all slices."
            )
        if self.steps_per_epoch is not None and self.steps_per_epoch < 1:
            raise ConfigError(f"steps_per_epoch must be at least 1, got {self.steps_per_epoch}.")


class PreprocessedSlices(Dataset[Item]):
    """The slices of one part, preprocessed with the statistics of their whole volume."""

    def __init__(
        self,
        decoded: DecodedDataset,
        slice_ids: Sequence[str],
        preprocess: Preprocess,
        maps: ProposalMaps | None = None,
        *,
        soft: bool = False,
    ) -> None:
        """`maps` has out-of-fold maps of all slices, where they are wanted beside the masks; `soft` asks for shares."""
        self.decoded, self.slice_ids, self.preprocess, self.maps = decoded, tuple(slice_ids), preprocess, maps
        self._labels = len(decoded.dataset.labels.names) if soft else None
        self.statistics = volume_statistics(decoded, slice_ids, preprocess)
        records = decoded.dataset.by_slice_id()
        self._volume = {slice_id: records[slice_id].volume for slice_id in slice_ids}
        self._stack = neighbour_slice_ids(decoded, set(self._volume.values()), preprocess.config.neighbours)

    def __len__(self) -> int:
        """The number of slices."""
        return len(self.slice_ids)

    def __getitem__(self, index: int) -> Item:
        """The slice at `index`."""
        slice_id = self.slice_ids[index]
        images = [self.decoded.image(near) for near in self._stack[slice_id]]
        volume = self._volume[slice_id]
        spacing = self.decoded.pixel_spacing(volume)
        image, undo = self.preprocess.apply_stack(images, self.statistics[volume], spacing)
        proposal = (
            None if self.maps is None else self.preprocess.apply_mask(self.maps.map(slice_id), spacing).float() / 255
        )
        mask = self.decoded.mask(slice_id)
        shares = None if self._labels is None else self.preprocess.apply_mask_shares(mask, self._labels, spacing)
        return Item(image, self.preprocess.apply_mask(mask, spacing), slice_id, undo, proposal, shares=shares)

    def drawn(self) -> "Drawn":
        """What the order of training depends on."""
        return drawn_from(self.decoded, self.slice_ids)


@dataclass(frozen=True)
class Drawn:
    """Slices to draw batches from, by number."""

    foreground: Int64[np.ndarray, " n"]
    """Foreground pixels of each slice."""
    patients: tuple[str, ...]
    """The patient of each slice."""


def drawn_from(decoded: DecodedDataset, slice_ids: Sequence[str]) -> Drawn:
    """The foreground and the patient of each slice."""
    records = decoded.dataset.by_slice_id()
    foreground = np.array([np.count_nonzero(decoded.mask(slice_id)) for slice_id in slice_ids], np.int64)
    return Drawn(foreground, tuple(records[slice_id].patient for slice_id in slice_ids))


def volume_statistics(
    decoded: DecodedDataset, slice_ids: Sequence[str], preprocess: Preprocess
) -> dict[str, Statistics]:
    """Intensity statistics of each volume that `slice_ids` are of, over all slices that the data set has of it."""
    records = decoded.dataset.by_slice_id()
    unknown = [slice_id for slice_id in slice_ids if slice_id not in records]
    if unknown:
        raise SplitError(f"{unknown[0]}: not in the data set {decoded.dataset.name}. Make a split for this data.")
    wanted = {records[slice_id].volume for slice_id in slice_ids}
    statistics = {}
    for volume, slices in by_volume(decoded.dataset.records).items():
        if volume in wanted:
            statistics[volume] = preprocess.statistics([decoded.image(record.slice_id) for record in slices])
    return statistics


def neighbour_slice_ids(decoded: DecodedDataset, volumes: Collection[str], reach: int) -> dict[str, tuple[str, ...]]:
    """Each slice of some volumes with its `reach` neighbours on either side, from below to above.

    Neighbours come from all slices of the data set, whatever part they are in: under a split by patient that is the
    same part. Raises `DataError` naming the volume where two slices have one place.
    """
    stacks: dict[str, tuple[str, ...]] = {}
    for volume, records in by_volume(decoded.dataset.records).items():
        if volume in volumes:
            ordered = sorted(records, key=lambda record: record.slice_index) if reach else records
            places = range(len(ordered)) if not reach else [record.slice_index for record in ordered]
            try:
                indices = neighbour_indices(places, reach)
            except DataError as error:
                raise DataError(f"patient {volume}: {error}") from error
            for record, near in zip(ordered, indices, strict=True):
                stacks[record.slice_id] = tuple(ordered[index].slice_id for index in near)
    return stacks


class Collate:
    """Stack items to a `Batch`, with one mask channel per foreground label, soft where the items have shares."""

    def __init__(self, labels: int) -> None:
        self.labels = labels

    def __call__(self, items: list[Item]) -> Batch:
        """Raises `DataError` where the images differ in size."""
        sizes = {tuple(item.image.shape[1:]) for item in items}
        if len(sizes) > 1:
            raise DataError(
                f"{items[0].slice_id} and others of its batch differ in size: {sorted(sizes)}. "
                "Set preprocess.size to one size for all."
            )
        values = torch.arange(1, self.labels + 1).view(1, -1, 1, 1)
        labels = torch.stack([item.labels for item in items])[:, None]
        proposals = [item.proposal for item in items if item.proposal is not None]
        embeddings = [item.embedding for item in items if item.embedding is not None]
        shares = [item.shares for item in items if item.shares is not None]
        return Batch(
            image=torch.stack([item.image for item in items]),
            mask=torch.stack(shares) if shares else (labels == values).float(),
            slice_ids=tuple(item.slice_id for item in items),
            undo=tuple(item.undo for item in items),
            proposal=torch.stack(proposals)[:, None] if proposals else None,
            embedding=Embedding.join(embeddings) if embeddings else None,
        )


class TrainingBatches(Sampler[list[int]]):
    """Batches of slice numbers for one epoch, a share of each with foreground.

    Positive and other slices are each dealt from their own shuffled deck without replacement, reshuffled when it
    runs out. Every batch has as many slices as asked for; where the share of one is no whole number, it holds over
    batches together. Where patients are drawn, it is these that are dealt, for either kind of slice.
    The order is a function of seed, epoch and rank; call `set_epoch` before each epoch.
    """

    def __init__(self, drawn: Drawn, config: SamplingConfig, *, seed: int, rank: int = 0, world: int = 1) -> None:
        self.config, self.seed, self.rank, self.world = config, seed, rank, world
        self.epoch = 0
        self._drawn = drawn
        self._decks = _decks(drawn.foreground > 0, config)
        self._per_step = config.batch_size * world
        self.steps = config.steps_per_epoch or max(1, sum(map(len, self._decks)) // self._per_step)

    @property
    def sampler(self) -> "TrainingBatches":
        """Itself: Lightning calls `set_epoch` on `batch_sampler.sampler`, and nowhere else on a batch sampler."""
        return self

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self.steps

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration takes."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        """The batches of this rank."""
        rng = np.random.default_rng([self.seed, self.epoch])
        *first, last = [self._dealt(deck, rng) for deck in self._decks]
        for step in range(self.steps):
            batch: list[int] = []
            for dealer in first:
                wanted = _count(self.config.positive_share or 0.0, self._per_step, step)
                batch.extend(next(dealer) for _ in range(wanted))
            batch.extend(next(last) for _ in range(self._per_step - len(batch)))
            mixed = [batch[index] for index in rng.permutation(len(batch))]
            yield mixed[self.rank :: self.world]

    def _dealt(self, deck: list[int], rng: np.random.Generator) -> Iterator[int]:
        return _deal(deck, rng) if self.config.by == "slice" else _deal_by_patient(deck, self._drawn, rng)


class OrderedBatches(Sampler[list[int]]):
    """All slices once, in order, dealt over ranks without repeating any: for validation."""

    def __init__(self, count: int, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        self._mine = range(rank, count, world)
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Batches of this rank."""
        return -(-len(self._mine) // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """The batches of this rank."""
        for start in range(0, len(self._mine), self._batch_size):
            yield list(self._mine[start : start + self._batch_size])


def make_loader(
    slices: Dataset[Item], batches: Sampler[list[int]], *, labels: int, workers: int = 0
) -> DataLoader[Item]:
    """A loader of `Batch`es; `workers` processes prepare them ahead, 0 prepares them in this one."""
    return DataLoader(
        slices,
        batch_sampler=batches,
        collate_fn=Collate(labels),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def _decks(positive: Bool[np.ndarray, " n"], config: SamplingConfig) -> list[list[int]]:
    """The slices with foreground and the others where each has a share, else one deck of all that are drawn."""
    if not len(positive):
        raise SplitError("The training part is empty. Make a split with more patients.")
    if config.positive_share is None or positive.all() or not positive.any():
        return [list(range(len(positive)))]
    with_foreground = np.flatnonzero(positive).tolist()
    if config.positive_share == 1:
        return [with_foreground]
    return [with_foreground, np.flatnonzero(~positive).tolist()]


def _deal(deck: list[int], rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from (deck[index] for index in rng.permutation(len(deck)))


def _deal_by_patient(deck: list[int], drawn: Drawn, rng: np.random.Generator) -> Iterator[int]:
    """The patients of a deck in turn, shuffled anew each time, and of each a slice by `slice_chances`."""
    slices: dict[str, list[int]] = {}
    for index in deck:
        slices.setdefault(drawn.patients[index], []).append(index)
    mine = [np.array(numbers) for numbers in slices.values()]
    chances = [slice_chances(drawn.foreground[numbers]) for numbers in mine]
    while True:
        for patient in rng.permutation(len(mine)):
            yield int(rng.choice(mine[patient], p=chances[patient]))


def slice_chances(foreground: Int64[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The chance of each of a patient's slices: by its area of foreground, and `EVEN` of that spread evenly.

    As in Buda's code (github.com/mateuszbuda/brain-segmentation-pytorch, dataset.py). Without foreground all are alike.
    """
    total = foreground.sum()
    if not total:
        return np.full(len(foreground), 1 / len(foreground))
    return (foreground / total + EVEN / len(foreground)) / (1 + EVEN)


def _count(share: float, size: int, step: int) -> int:
    """How many of `size` in this step, so that the running total stays at `share`."""
    return int(share * size * (step + 1) + 1e-9) - int(share * size * step + 1e-9)
