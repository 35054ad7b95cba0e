"""Slices as training takes them from an embedding cache: the embedding, and mask and way back turned alike."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from segmed.data.decoded import DecodedDataset
from segmed.data.embeddings.cache import EmbeddingCache
from segmed.data.loading import Drawn, Item, PreprocessedSlices, SamplingConfig, TrainingBatches, drawn_from
from segmed.data.views import View, viewed
from segmed.preprocess import Preprocess


class EmbeddedSlices(Dataset[Item]):
    """Every view of every slice of one part: item `n * views + v` is view v of slice n.

    The image is read only `with_images` (some questions are made from it); else it has no channels, which no encoder
    can take for an image.
    """

    def __init__(
        self,
        decoded: DecodedDataset,
        slice_ids: Sequence[str],
        preprocess: Preprocess,
        cache: EmbeddingCache,
        *,
        views: Sequence[View] = ("identity",),
        with_images: bool = False,
    ) -> None:
        self.decoded, self.slice_ids, self.preprocess, self.cache = decoded, tuple(slice_ids), preprocess, cache
        self.views = tuple(views)
        records = decoded.dataset.by_slice_id()
        self._volume = {slice_id: records[slice_id].volume for slice_id in self.slice_ids}
        self._images = PreprocessedSlices(decoded, slice_ids, preprocess) if with_images else None

    def __len__(self) -> int:
        """The number of views of all slices."""
        return len(self.slice_ids) * len(self.views)

    def __getitem__(self, index: int) -> Item:
        """One view of one slice. `Item.undo` knows no view, so only the identity goes back to the image's grid."""
        number, turn = divmod(index, len(self.views))
        slice_id, view = self.slice_ids[number], self.views[turn]
        if self._images is not None:
            whole = self._images[number]
            image, labels, undo = whole.image, whole.labels, whole.undo
        else:
            spacing = self.decoded.pixel_spacing(self._volume[slice_id])
            labels = self.preprocess.apply_mask(self.decoded.mask(slice_id), spacing)
            image, undo = torch.zeros(0, *labels.shape), self.preprocess.undo(self.decoded.shape(slice_id)[:2], spacing)
        turned = viewed(image, view).contiguous(), viewed(labels, view).contiguous()
        return Item(*turned, slice_id=slice_id, undo=undo, embedding=self.cache.embedding(slice_id, view))

    def drawn(self) -> Drawn:
        """What the order of training depends on."""
        return drawn_from(self.decoded, self.slice_ids)


class ViewedBatches(TrainingBatches):
    """The batches of `TrainingBatches`, each slice in a view drawn for this step from seed, epoch and rank."""

    def __init__(
        self,
        drawn: Drawn,
        config: SamplingConfig,
        *,
        views: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(drawn, config, seed=seed, rank=rank, world=world)
        self.views = views

    def __iter__(self) -> Iterator[list[int]]:
        """Numbers of `EmbeddedSlices`."""
        for step, batch in enumerate(super().__iter__()):
            rng = np.random.default_rng([self.seed, self.epoch, step, self.rank])
            turns = rng.integers(self.views, size=len(batch))
            yield [int(number * self.views + turn) for number, turn in zip(batch, turns, strict=True)]
