"""One shard: half-precision embeddings as safetensors, memory-mapped, with a checksum of each in the header."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from annotated_types import Ge
from jaxtyping import Float16, UInt8
from safetensors.numpy import save_file

from segmed.core.errors import DataError
from segmed.core.files import written_aside
from segmed.core.reading import parse_json
from segmed.data.embeddings.plan import BYTES_PER_NUMBER, EmbeddingPlan, Entry, entry_name, shard_path

T = TypeVar("T")
Embedding = Float16[np.ndarray, "c h w"]


def write_shard(path: Path, embeddings: Mapping[str, Embedding], digest: str) -> None:
    """Write embeddings by name, aside and renamed; `digest` is that of the plan they belong to."""
    checksums = {name: zlib.crc32(np.ascontiguousarray(value).tobytes()) for name, value in embeddings.items()}
    with written_aside(path) as temporary:
        save_file(dict(embeddings), temporary, metadata={"plan": digest, "crc32": json.dumps(checksums)})


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies, as the header of safetensors says; its dtype and shape are the plan's."""

    data_offsets: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]]


class Shard:
    """A shard that lies on disk: nothing is read before it is asked for, and each entry is checked once."""

    def __init__(self, folder: Path, plan: EmbeddingPlan, number: int) -> None:
        """Map the file; raises `DataError` where it is missing, cut short or belongs to another plan."""
        self.path = shard_path(folder, number)
        self._shape = plan.shape
        try:
            mapped = np.memmap(self.path, np.uint8, mode="r")
            length = int(mapped[:8].view("<u8")[0])
            header = mapped[8 : 8 + min(length, len(mapped))].tobytes().decode()
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: is missing. Run the same `segmed embed` again to make it.") from error
        except (OSError, ValueError, IndexError) as error:  # of an empty file, and of bytes that are no text
            raise self._damaged("cannot be read") from error
        tensors = self._parsed(header, dict[str, _Tensor | dict[str, str]])
        notes = tensors.pop("__metadata__", {})
        if not isinstance(notes, dict) or not {"crc32", "plan"} <= notes.keys():
            raise self._damaged("cannot be read")
        self._checksums = self._parsed(notes["crc32"], dict[str, int])
        self._places = {name: each.data_offsets for name, each in tensors.items() if isinstance(each, _Tensor)}
        self._bytes = mapped[8 + length :]
        whole = max((end for _, end in self._places.values()), default=0) == len(self._bytes)
        expected = names(plan.shard_entries(number))
        right = notes["plan"] == plan.digest and set(self._places) == set(self._checksums) == expected
        if not whole or not right:
            raise self._damaged("is cut short" if right else "belongs to another cache")
        self._checked: set[str] = set()

    def __getitem__(self, entry: Entry) -> Embedding:
        """One embedding, read-only, without a copy; raises `DataError` where its checksum is wrong."""
        name = entry_name(entry)
        start, end = self._places[name]
        block: UInt8[np.ndarray, " n"] = np.asarray(self._bytes[start:end])
        if name not in self._checked:
            if len(block) != BYTES_PER_NUMBER * int(np.prod(self._shape)):
                raise self._damaged(f"holds an embedding of another shape for case {entry[0]}")
            if zlib.crc32(block.tobytes()) != self._checksums[name]:
                raise self._damaged(f"holds a damaged embedding of case {entry[0]}")
            self._checked.add(name)
        return block.view(np.float16).reshape(self._shape)

    def _parsed(self, text: str, schema: Callable[..., T]) -> T:
        what, remedy = "a shard of an embedding cache", "Run the same `segmed embed` again: it makes this shard anew."
        return parse_json(text, schema, source=str(self.path), what=what, remedy=remedy)

    def _damaged(self, how: str) -> DataError:
        return DataError(f"{self.path}: {how}. Run the same `segmed embed` again: it makes this shard anew.")


def names(entries: Sequence[Entry]) -> set[str]:
    """The names of entries."""
    return {entry_name(entry) for entry in entries}
