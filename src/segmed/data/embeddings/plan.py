"""What an embedding cache holds, decided before it is built: of which pixels, by which encoder, in which shards."""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmed.core.errors import DataError
from segmed.core.files import write_json
from segmed.core.reading import read_json
from segmed.data.views import View
from segmed.layers.embedding import Shape

FORMAT = 2
"""Since 2 an embedding may have several levels."""
INDEX = "index.json"
BYTES_PER_NUMBER = 2
SHARD_BYTES, SHARD_ENTRIES = 64 * 2**20, 256
"""The most that one shard holds, and so the most that is computed again after a kill."""

LONGEST = 2**20
"""More channels, rows or columns than an embedding has."""

Entry = tuple[str, View]
"""A slice and the view of it."""


@dataclass(frozen=True)
class EmbeddingKey:
    """What embeddings depend on; a cache of another key is stale."""

    data: str
    """The data set's hash: of all pixels with their slices and patients."""
    weights: str
    """The digest of the image encoder's weights."""
    preprocess: dict[str, Any]
    """The preprocessing, as a recipe has it."""

    def difference(self, other: "EmbeddingKey") -> str | None:
        """In the user's words, what differs from `other`; None where nothing does."""
        if self.weights != other.weights:
            return f"another encoder's weights ({self.weights[:12]}, not {other.weights[:12]})"
        names = sorted(self.preprocess.keys() | other.preprocess.keys())  # one that an older cache lacks is None
        changed = [name for name in names if self.preprocess.get(name) != other.preprocess.get(name)]
        if changed:
            listed = ", ".join(
                f"{name} {self.preprocess.get(name)}, not {other.preprocess.get(name)}" for name in changed
            )
            return f"another preprocessing ({listed})"
        if self.data != other.data:
            return f"other data ({self.data[:12]}, not {other.data[:12]})"
        return None


@dataclass(frozen=True)
class EmbeddingPlan:
    """Every entry of a cache in order, and how it lies in shards."""

    key: EmbeddingKey
    entries: tuple[Entry, ...]
    shapes: tuple[Shape, ...]
    """The levels of an embedding."""
    precision: str
    """The arithmetic of the encoder's pass; what is kept has 16 bits in any case."""

    @property
    def entry_bytes(self) -> int:
        """Size of one embedding."""
        return sum(channels * rows * columns for channels, rows, columns in self.shapes) * BYTES_PER_NUMBER

    @property
    def bytes(self) -> int:
        """Size of all embeddings."""
        return self.entry_bytes * len(self.entries)

    @property
    def per_shard(self) -> int:
        """Entries in every shard but the last."""
        return max(1, min(SHARD_ENTRIES, SHARD_BYTES // self.entry_bytes))

    @property
    def shards(self) -> range:
        """The numbers of the shards."""
        return range(-(-len(self.entries) // self.per_shard))

    def shard_entries(self, number: int) -> tuple[Entry, ...]:
        """The entries of one shard."""
        return self.entries[number * self.per_shard : (number + 1) * self.per_shard]

    @functools.cached_property
    def digest(self) -> str:
        """One hash of all that the cache is of: key, entries and arithmetic."""
        return hashlib.sha256(json.dumps(self._to_json(), sort_keys=True).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write the plan as the folder's index, atomically."""
        write_json(folder / INDEX, self._to_json())

    @classmethod
    def load(cls, folder: Path) -> "EmbeddingPlan":
        """Read a folder's index; raises `DataError` where there is none that this version wrote."""
        what = "the index of an embedding cache made by `segmed embed`"
        remedy = "Make the cache again with `segmed embed`, in another folder or once this one is deleted."
        index = read_json(folder / INDEX, _Index, what=what, remedy=remedy, version=FORMAT)
        return cls(index.key, index.entries, index.shapes, index.precision)

    def _to_json(self) -> dict[str, Any]:
        key = {"data": self.key.data, "weights": self.key.weights, "preprocess": self.key.preprocess}
        return {
            "format": FORMAT,
            "key": key,
            "shapes": [list(shape) for shape in self.shapes],
            "precision": self.precision,
            "entries": [list(entry) for entry in self.entries],
        }


@dataclass(frozen=True)
class _Index:
    """What `index.json` holds."""

    key: EmbeddingKey
    entries: tuple[Entry, ...]
    shapes: tuple[Shape, ...]
    precision: str

    def __post_init__(self) -> None:
        """Refuse what no embedding has."""
        if not self.shapes or not all(1 <= side <= LONGEST for shape in self.shapes for side in shape):
            raise DataError(f"an embedding has no levels of {self.shapes}.")


def shard_path(folder: Path, number: int) -> Path:
    """The file of a shard."""
    return folder / f"shard-{number:05d}.safetensors"


def entry_name(entry: Entry, level: int) -> str:
    """The name of one level of an embedding within its shard."""
    slice_id, view = entry
    return f"{level}:{view}:{slice_id}"
