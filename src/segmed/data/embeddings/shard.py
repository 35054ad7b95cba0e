"""One shard: half-precision embeddings as safetensors, memory-mapped, with a checksum of each in the header."""

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float16
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from segmed.core.errors import DataError
from segmed.core.files import written_aside
from segmed.core.reading import parse_json
from segmed.data.embeddings.plan import FORMAT, EmbeddingPlan, Entry, entry_name, shard_path
from segmed.layers.embedding import Embedding

Level = Float16[np.ndarray, "c h w"]


def write_shard(path: Path, levels: Mapping[str, Level], digest: str) -> None:
    """Write levels of embeddings by name, aside and renamed; `digest` is that of the plan they belong to."""
    checksums = {name: zlib.crc32(np.ascontiguousarray(value).tobytes()) for name, value in levels.items()}
    with written_aside(path) as temporary:
        save_file(
            dict(levels), temporary, metadata={"format": str(FORMAT), "plan": digest, "crc32": json.dumps(checksums)}
        )


class Shard:
    """A shard that lies on disk: nothing is read before it is asked for, and each entry is checked once."""

    def __init__(self, folder: Path, plan: EmbeddingPlan, number: int) -> None:
        """Map the file; raises `DataError` where it is missing, cut short or belongs to another plan."""
        self.path = shard_path(folder, number)
        self._shapes = plan.shapes
        try:
            self._file = _opened(self.path)
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: is missing. Run the same `segmed embed` again to make it.") from error
        except (OSError, SafetensorError) as error:
            raise self._damaged("cannot be read, or is cut short") from error
        notes = self._file.metadata() or {}
        if notes.get("format") != str(FORMAT):
            raise self._damaged("was written by another version of SegMed, or by another program")
        if not {"crc32", "plan"} <= notes.keys():
            raise self._damaged("has no checksums")
        self._checksums = self._parsed(notes["crc32"])
        expected = names(plan.shard_entries(number), len(plan.shapes))
        if notes["plan"] != plan.digest or not set(self._file.keys()) == set(self._checksums) == expected:
            raise self._damaged("belongs to another cache")
        self._checked: set[str] = set()

    def __getitem__(self, entry: Entry) -> Embedding:
        """A copy of one embedding; raises `DataError` where its shape or its checksum is wrong."""
        levels = [torch.from_numpy(self._level(entry, level))[None] for level in range(len(self._shapes))]
        return Embedding(tuple(levels))

    def _level(self, entry: Entry, level: int) -> Level:
        name = entry_name(entry, level)
        place = self._file.get_slice(name)
        if place.get_dtype() != "F16" or tuple(place.get_shape()) != self._shapes[level]:
            raise self._damaged(f"holds an embedding of another shape for slice {entry[0]}")
        values: Level = self._file.get_tensor(name)
        if name not in self._checked:
            if zlib.crc32(values.tobytes()) != self._checksums[name]:
                raise self._damaged(f"holds a damaged embedding of slice {entry[0]}")
            self._checked.add(name)
        return values

    def _parsed(self, text: str) -> dict[str, int]:
        what, remedy = "a shard of an embedding cache", "Run the same `segmed embed` again: it makes this shard anew."
        return parse_json(text, dict[str, int], source=str(self.path), what=what, remedy=remedy)

    def _damaged(self, how: str) -> DataError:
        return DataError(f"{self.path}: {how}. Run the same `segmed embed` again: it makes this shard anew.")


def _opened(path: Path) -> Any:
    """A mapped file of safetensors, whose methods have no types."""
    return safe_open(path, framework="np")


def names(entries: Sequence[Entry], levels: int) -> set[str]:
    """The names of all levels of entries."""
    return {entry_name(entry, level) for entry in entries for level in range(levels)}
