"""One shard: half-precision embeddings as safetensors, memory-mapped, with a checksum of each in the header."""

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float16, UInt8
from safetensors.numpy import save_file

from segmed.core.errors import DataError
from segmed.core.files import written_aside
from segmed.data.embeddings.plan import EmbeddingPlan, Entry, entry_name, shard_path

Embedding = Float16[np.ndarray, "c h w"]


def write_shard(path: Path, embeddings: Mapping[str, Embedding], digest: str) -> None:
    """Write embeddings by name, aside and renamed; `digest` is that of the plan they belong to."""
    checksums = {name: zlib.crc32(np.ascontiguousarray(value).tobytes()) for name, value in embeddings.items()}
    with written_aside(path) as temporary:
        save_file(dict(embeddings), temporary, metadata={"plan": digest, "crc32": json.dumps(checksums)})


class Shard:
    """A shard that lies on disk: nothing is read before it is asked for, and each entry is checked once."""

    def __init__(self, folder: Path, plan: EmbeddingPlan, number: int) -> None:
        """Map the file; raises `DataError` where it is missing, cut short or belongs to another plan."""
        self.path = shard_path(folder, number)
        self._shape = plan.shape
        try:
            mapped = np.memmap(self.path, np.uint8, mode="r")
            length = int(mapped[:8].view("<u8")[0])
            header = json.loads(mapped[8 : 8 + length].tobytes())
            notes = header.pop("__metadata__")
            self._checksums: dict[str, int] = json.loads(notes["crc32"])
            self._places = {name: tuple(tensor["data_offsets"]) for name, tensor in header.items()}
            self._bytes = mapped[8 + length :]
            whole = max((end for _, end in self._places.values()), default=0) == len(self._bytes)
            right = notes["plan"] == plan.digest and set(self._places) == names(plan.shard_entries(number))
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: is missing. Run the same `segmed embed` again to make it.") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise self._damaged("cannot be read") from error
        if not whole or not right:
            raise self._damaged("is cut short" if right else "belongs to another cache")
        self._checked: set[str] = set()

    def __getitem__(self, entry: Entry) -> Embedding:
        """One embedding, read-only, without a copy; raises `DataError` where its checksum is wrong."""
        name = entry_name(entry)
        start, end = self._places[name]
        block: UInt8[np.ndarray, " n"] = np.asarray(self._bytes[start:end])
        if name not in self._checked:
            if zlib.crc32(block.tobytes()) != self._checksums[name]:
                raise self._damaged(f"holds a damaged embedding of case {entry[0]}")
            self._checked.add(name)
        return block.view(np.float16).reshape(self._shape)

    def _damaged(self, how: str) -> DataError:
        return DataError(f"{self.path}: {how}. Run the same `segmed embed` again: it makes this shard anew.")


def names(entries: Sequence[Entry]) -> set[str]:
    """The names of entries."""
    return {entry_name(entry) for entry in entries}
