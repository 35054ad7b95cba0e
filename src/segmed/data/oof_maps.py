"""Probability maps on disk, each from a dense model that has not seen its patient: what the cascade is trained on.

The folder holds `maps.json` (which patients each model was trained and chosen on, whom it predicts, hashes) and one
safetensors file a fold with a map of 8 bits per slice, read by memory map. `segmed oof` makes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from segmed.core.errors import DataError, SplitError
from segmed.core.files import sha256_of, write_json, written_aside
from segmed.core.reading import FileName, read_json
from segmed.core.split import Split

FORMAT = 1
INDEX = "maps.json"


@dataclass(frozen=True)
class MapFile:
    """One file of maps: whom the models behind it were trained and chosen on, and whom it has maps of.

    Several models (`weights`) are averaged. Patients are listed by their ids, as in a split.
    """

    file: FileName
    sha256: str
    weights: tuple[str, ...]
    trained_on: tuple[str, ...]
    chosen_on: tuple[str, ...]
    predicted: tuple[str, ...]


@dataclass(frozen=True)
class _Index:
    """What `maps.json` holds."""

    data_hash: str
    files: tuple[MapFile, ...]


class ProposalMaps:
    """The maps of a folder that `segmed oof` made."""

    def __init__(self, folder: Path) -> None:
        """Raises `DataError` where files are not the index's, `SplitError` where a model saw whom it predicts."""
        what = "the index of out-of-fold maps made by `segmed oof`"
        index = read_json(folder / INDEX, _Index, what=what, remedy="Run `segmed oof` again.", version=FORMAT)
        self.data_hash, self._files = index.data_hash, index.files
        self.folder = folder
        require_unseen(self._files, str(folder))
        for each in self._files:
            if not (folder / each.file).is_file() or sha256_of(folder / each.file) != each.sha256:
                raise DataError(f"{folder / each.file}: is missing or not what was written. Run `segmed oof` again.")
        self._open: dict[str, Any] = {}
        self._place = {slice_id: each.file for each in self._files for slice_id in self._handle(each.file).keys()}  # noqa: SIM118

    @property
    def files(self) -> tuple[MapFile, ...]:
        """Which models made which maps."""
        return self._files

    @property
    def slice_ids(self) -> tuple[str, ...]:
        """The slices that have a map."""
        return tuple(self._place)

    def map(self, slice_id: str) -> UInt8[np.ndarray, "h w"]:
        """Probability times 255 on the image's own grid; raises `DataError` for a slice without a map."""
        if slice_id not in self._place:
            raise DataError(f"{slice_id}: has no map in {self.folder}. Run `segmed oof` with this data and split.")
        stored: UInt8[np.ndarray, "h w"] = self._handle(self._place[slice_id]).get_tensor(slice_id)
        return stored

    def require(self, data_hash: str, split: Split, fold: int) -> None:
        """Raise unless the maps are fit to train on a fold: all its training and validation slices, nobody seen.

        `DataError` for other data or missing slices; `SplitError` where a model behind the maps was trained or chosen
        on a patient of the fold's validation or test part, so that a map could tell of them.
        """
        if data_hash != self.data_hash:
            raise DataError(f"{self.folder}: its maps are of other data. Run `segmed oof` with this data.")
        partition = split.fold(fold)
        missing = [slice_id for slice_id in (*partition.train, *partition.validation) if slice_id not in self._place]
        if missing:
            raise DataError(f"{self.folder}: has no map of {missing[0]}. Run `segmed oof` with this split and fold.")
        kept = {split.patient_of[slice_id] for slice_id in (*partition.validation, *partition.test)}
        used = {patient for each in self._files for patient in (*each.trained_on, *each.chosen_on)}
        if kept & used:
            raise SplitError(
                f"{self.folder}: its models were trained on patient {min(kept & used)}, who is not in training here. "
                "Run `segmed oof` with this split and fold."
            )

    def __reduce__(self) -> tuple[type["ProposalMaps"], tuple[Path]]:
        """Pickle as the folder, so that loader processes map the same files."""
        return ProposalMaps, (self.folder,)

    def _handle(self, file: str) -> Any:
        if file not in self._open:
            try:
                self._open[file] = safe_open(self.folder / file, framework="np")
            except (OSError, SafetensorError) as error:
                raise DataError(f"{self.folder / file}: cannot be read ({error}). Run `segmed oof` again.") from error
        return self._open[file]


def to_bytes(probability: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """A map as it is stored: probability times 255, rounded."""
    return np.asarray(np.rint(probability * 255), np.uint8)


def write_maps(path: Path, maps: Mapping[str, UInt8[np.ndarray, "_h _w"]], weights: Sequence[str]) -> None:
    """Write a file of maps, atomically; `weights` are hashes of the models that made them."""
    with written_aside(path) as temporary:
        save_file(dict(maps), temporary, metadata={"weights": " ".join(weights)})


def made_by(path: Path) -> tuple[str, ...] | None:
    """The hashes of the models that made a file of maps; None where there is no whole file."""
    try:
        with safe_open(path, framework="np") as file:
            return tuple((file.metadata() or {}).get("weights", "").split())
    except (OSError, SafetensorError):
        return None


def write_index(folder: Path, files: Iterable[MapFile], *, data_hash: str) -> None:
    """Write `maps.json`, which makes the folder complete. Raises `SplitError` where a model saw whom it predicts."""
    listed = tuple(files)
    require_unseen(listed, str(folder))
    write_json(folder / INDEX, {"format": FORMAT, "data_hash": data_hash, "files": [asdict(each) for each in listed]})


def require_unseen(files: Iterable[MapFile], where: str) -> None:
    """Raise `SplitError` where a patient's map is from a model that was trained or chosen on that patient."""
    for each in files:
        seen = set(each.predicted) & {*each.trained_on, *each.chosen_on}
        if seen:
            raise SplitError(
                f"{where}: the maps of patient {min(seen)} in {each.file} are from a model that saw this patient. "
                "Run `segmed oof` into a new folder."
            )
