"""Read an embedding cache: by slice and view, from memory-mapped shards, refused where it is stale or unfinished."""

from collections.abc import Sequence
from pathlib import Path

from segmed.core.errors import DataError
from segmed.data.embeddings.plan import EmbeddingKey, EmbeddingPlan, shard_path
from segmed.data.embeddings.shard import Shard
from segmed.data.views import VIEWS, View
from segmed.layers.embedding import Embedding


class EmbeddingCache:
    """A finished cache in a folder."""

    def __init__(self, folder: Path) -> None:
        """Open what `segmed embed` made; raises `DataError` where it is not there or not finished."""
        self.folder, self.plan = folder, EmbeddingPlan.load(folder)
        missing = [number for number in self.plan.shards if not shard_path(folder, number).is_file()]
        if missing:
            raise DataError(
                f"{folder}: {len(missing)} of {len(self.plan.shards)} shards are not there yet. "
                "Run the same `segmed embed` again: it goes on where it stopped."
            )
        self._place = {entry: index for index, entry in enumerate(self.plan.entries)}
        self._shards: dict[int, Shard] = {}

    def embedding(self, slice_id: str, view: View = "identity") -> Embedding:
        """A copy of the embedding of a slice's view, in half precision.

        Raises `DataError` where it is damaged or not in the cache.
        """
        if (slice_id, view) not in self._place:
            raise DataError(f"{self.folder}: holds no {view} of slice {slice_id}. Make the cache for this split.")
        number = self._place[slice_id, view] // self.plan.per_shard
        if number not in self._shards:
            self._shards[number] = Shard(self.folder, self.plan, number)
        return self._shards[number][slice_id, view]

    def views(self, slice_ids: Sequence[str]) -> tuple[View, ...]:
        """The views that the cache holds of every one of these slices."""
        return tuple(view for view in VIEWS if all((slice_id, view) in self._place for slice_id in slice_ids))

    def require(self, key: EmbeddingKey, slice_ids: Sequence[str]) -> None:
        """Raise `DataError` unless the cache is of these pixels, weights and preprocessing and has all slices."""
        stale = self.plan.key.difference(key)
        if stale is not None:
            raise DataError(
                f"{self.folder}: the embeddings are stale, they are of {stale}. "
                "Make them again with `segmed embed` into another folder."
            )
        missing = [slice_id for slice_id in slice_ids if (slice_id, "identity") not in self._place]
        if missing:
            raise DataError(
                f"{self.folder}: lacks {len(missing)} of {len(slice_ids)} slices, such as {missing[0]}. "
                "Make the cache with the split and fold that are trained on, or without --split."
            )

    def __reduce__(self) -> tuple[type["EmbeddingCache"], tuple[Path]]:
        """Pickle as the folder, so that loader processes map the same files."""
        return EmbeddingCache, (self.folder,)
