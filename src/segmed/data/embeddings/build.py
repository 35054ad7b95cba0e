"""Fill an embedding cache: shard by shard, each written aside and renamed, so that a kill costs one shard at most."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from segmed.core.errors import DataError
from segmed.core.files import exclusive_lock, holds_files, remove_leftovers
from segmed.core.progress import Progress
from segmed.data.embeddings.cache import EmbeddingCache
from segmed.data.embeddings.plan import INDEX, EmbeddingPlan, Entry, entry_name, shard_path
from segmed.data.embeddings.shard import Level, Shard, write_shard
from segmed.layers.embedding import Embedding, Shape

Encode = Callable[[Sequence[Entry]], Embedding]
"""The embeddings of some entries, on any device and in any floating type."""

GIB = 2**30
SPARE = 64 * 2**20
"""Bytes of the disk that are left free."""


def require_room(plan: EmbeddingPlan, folder: Path, *, missing: int, max_gib: float | None) -> None:
    """Raise `DataError` where the whole cache exceeds `max_gib`, or its missing entries the disk's free space."""
    if max_gib is not None and plan.bytes > max_gib * GIB:
        raise DataError(
            f"{folder}: the cache takes {plan.bytes / GIB:.2f} GiB, more than --max-gib {max_gib:g}. Raise it, keep "
            "fewer --views, embed the slices of one --split, or choose a smaller preprocess.size."
        )
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free, wanted = shutil.disk_usage(there).free, missing * plan.entry_bytes
    if wanted + SPARE > free:
        raise DataError(
            f"{folder}: {wanted / GIB:.2f} GiB are still to be written, but the disk has {free / GIB:.2f} GiB free. "
            "Free some space, keep fewer --views, or choose another folder."
        )


def require_same_plan(plan: EmbeddingPlan, folder: Path) -> None:
    """Raise `DataError` where the folder holds another cache, or something else than a cache."""
    if not (folder / INDEX).is_file():
        if holds_files(folder):
            raise DataError(f"{folder}: holds files, but no embedding cache. Choose another folder.")
        return
    present = EmbeddingPlan.load(folder)
    stale = present.key.difference(plan.key)
    if stale is None and present.precision != plan.precision:
        stale = f"another arithmetic ({present.precision}, not {plan.precision})"
    if stale is None and present.entries != plan.entries:
        stale = f"other slices or views ({len(present.entries)} embeddings, not {len(plan.entries)})"
    if stale is None and present.shapes != plan.shapes:
        stale = f"other levels ({present.shapes}, not {plan.shapes})"
    if stale is not None:
        raise DataError(f"{folder}: holds embeddings of {stale}. Choose another folder, or delete this one first.")


def whole_shards(plan: EmbeddingPlan, folder: Path) -> tuple[list[int], list[str]]:
    """The shards that are there and whole, every checksum tested, and one line on each that is there and is not."""
    whole, damaged = [], []
    for number in plan.shards:
        if not shard_path(folder, number).is_file():
            continue
        try:
            shard = Shard(folder, plan, number)
            for entry in plan.shard_entries(number):
                shard[entry]
            whole.append(number)
        except DataError as error:
            damaged.append(str(error))
    return whole, damaged


def fill(
    plan: EmbeddingPlan,
    folder: Path,
    encode: Encode,
    *,
    whole: Sequence[int] = (),
    batch: int = 1,
    progress: Progress | None = None,
) -> EmbeddingCache:
    """Make every shard that is not among `whole`, `batch` entries at a time, and open the cache.

    Raises `DataError` where an embedding is not finite in half precision, naming its slice.
    """
    missing = [number for number in plan.shards if number not in set(whole)]
    total = sum(len(plan.shard_entries(number)) for number in missing)
    done = 0
    plan.save(folder)
    for number in missing:
        entries = plan.shard_entries(number)
        kept: dict[str, Level] = {}
        for start in range(0, len(entries), batch):
            some = entries[start : start + batch]
            embeddings = encode(some)
            for level, values in enumerate(embeddings.levels):
                for entry, each in zip(some, _halved(values), strict=True):
                    kept[entry_name(entry, level)] = _sound(each, entry, plan, embeddings.shapes)
            done += len(some)
            if progress is not None:
                progress(done, total)
        write_shard(shard_path(folder, number), kept, plan.digest)
    return EmbeddingCache(folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder against another process that fills it, and clear what killed ones left half written.

    Raises `DataError` where another process is at work there, or the folder cannot be written.
    """
    with exclusive_lock(folder) as mine:
        if not mine:
            raise DataError(f"{folder}: another process is filling this cache. Wait for it to end.")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written ({error.strerror}). Choose another folder.") from error
        remove_leftovers(folder)
        yield


def _halved(embeddings: Float[Tensor, "b c h w"]) -> list[Level]:
    return list(embeddings.detach().to(torch.float16).cpu().contiguous().numpy())


def _sound(level: Level, entry: Entry, plan: EmbeddingPlan, shapes: tuple[Shape, ...]) -> Level:
    if shapes != plan.shapes:
        raise DataError(
            f"{entry[0]}: its embedding has levels of {shapes}, not {plan.shapes} as the model says of itself."
        )
    if not np.isfinite(level).all():
        raise DataError(
            f"{entry[0]}: its embedding is not finite in half precision. Check the weights and the image; an encoder "
            "whose values exceed 65504 cannot be cached."
        )
    return level
