"""The masks of one tool, each as labels on the grid of its reference, whatever file and grid it came in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segmed.core.errors import DataError
from segmed.core.grid_difference import Mend, grid_difference, reoriented
from segmed.core.label_volume import LabelVolume
from segmed.core.resampling import resampled_labels
from segmed.core.volume import Grid, Volume
from segmed.evaluation.masks.files import case_files
from segmed.evaluation.masks.labels import LabelNumbers, numbered
from segmed.evaluation.masks.references import References, read_stored
from segmed.io.dicom.reading import is_dicom_mask, read_dicom_labels

OtherGrids = Literal["refuse", "resample", "ignore"]
"""What is done with a mask on another grid: nothing; the nearest voxel taken; or its geometry not believed."""


class OtherGridError(DataError):
    """A mask lies on another grid than its reference, and is not to be put on it."""


@dataclass(frozen=True)
class Placed:
    """A mask as labels 1 … K on its reference's grid, how it came there, and numbers in it that are no label."""

    volume: Volume
    mended: str
    others: tuple[int, ...]


class Predictions:
    """The masks of one tool, placed on the references' grids; a case without a file is an empty mask."""

    def __init__(
        self, references: References, files: Mapping[str, Path], labels: LabelNumbers, other_grids: OtherGrids
    ) -> None:
        """Remember what is whose; nothing is read."""
        self.references, self.files = references, files
        self._labels, self._other_grids = labels, other_grids

    @property
    def cases(self) -> tuple[str, ...]:
        """The cases, in the order of the references, with a file or not."""
        return tuple(self.references.files.files)

    def reference(self, case: str) -> Volume:
        """The reference of a case as labels 1 … K."""
        return reference_of(self.references, case)

    def placed(self, case: str, reference: Volume) -> Placed:
        """The mask of a case on the grid of its reference."""
        path = self.files.get(case)
        if path is None:
            return Placed(reference.with_array(np.zeros(reference.grid.shape, np.uint8)), "", ())
        volume, others = self._read(path, reference.grid)
        difference = grid_difference(reference.grid, volume.grid)
        if difference.same:
            return Placed(reference.with_array(volume.array), "", others)
        if difference.mend is Mend.REORIENT:
            return Placed(reference.with_array(reoriented(volume, reference.grid).array), "axes turned", others)
        fits = volume.grid.shape == reference.grid.shape
        if self._other_grids == "ignore" and fits:
            return Placed(reference.with_array(volume.array), "geometry ignored", others)
        if self._other_grids == "resample" and difference.mend is Mend.RESAMPLE:
            return Placed(resampled_labels(volume, reference.grid), "resampled", others)
        raise OtherGridError(f"{path}: {difference}")

    def _read(self, path: Path, grid: Grid) -> tuple[Volume, tuple[int, ...]]:
        """The labels of a file, or of a folder with a file for each label; DICOM names its own."""
        if _holds_dicom(path) and is_dicom_mask(path):
            found = read_dicom_labels(path, grid=grid)
            array, others = numbered(found.volume.array, self._segments(path, found), str(path), others="ignore")
            return found.volume.with_array(array), others
        if path.is_dir():
            whole = _whole_mask(path)
            if whole is None:
                return _read_label_files(path, self._labels.names), ()
            path = whole
        stored = read_stored(path, volumes=self.references.files.are_volumes)
        rule = "refuse" if self._labels is self.references.labels else "ignore"
        array, others = numbered(stored.array, self._labels, str(path), others=rule)
        return stored.with_array(array), others

    def _segments(self, path: Path, found: LabelVolume) -> LabelNumbers:
        """The number of each label in a DICOM mask by its name; one that the mask lacks has none of its voxels."""
        own = {label.name.casefold(): label.value for label in found.labels}
        numbers = {name: own.get(name.casefold(), -1) for name in self.references.labels.names}
        if own and max(numbers.values()) < 0:
            raise DataError(f"{path}: none of its segments ({', '.join(own)}) has the name of a label. Use --labels.")
        return LabelNumbers(numbers, str(path))


class PlacedVolumes(Mapping[str, Volume]):
    """The masks of one tool by case, on the references' grids, each read when asked for."""

    def __init__(self, predictions: Predictions) -> None:
        """Remember whose they are; nothing is read."""
        self._predictions = predictions

    def __getitem__(self, case: str) -> Volume:
        """The mask of a case; raises `KeyError` for an unknown one, `DataError` for one that cannot be placed."""
        return self._predictions.placed(case, self._predictions.reference(case)).volume

    def __iter__(self) -> Iterator[str]:
        """The cases, in the order of the references."""
        return iter(self._predictions.cases)

    def __len__(self) -> int:
        """How many cases there are, with a file or not."""
        return len(self._predictions.cases)


def reference_of(references: References, case: str) -> Volume:
    """The reference of a case as labels 1 … K; raises `KeyError` for an unknown case."""
    path = references.files.files[case]
    stored = read_stored(path, volumes=references.files.are_volumes)
    return stored.with_array(numbered(stored.array, references.labels, str(path), others="refuse")[0])


def _holds_dicom(path: Path) -> bool:
    return any(path.rglob("*.dcm")) if path.is_dir() else path.suffix.lower() == ".dcm"


def _whole_mask(folder: Path) -> Path | None:
    """The one file of a case's folder, if it holds several labels, whatever it is called; else None."""
    files = list(case_files(folder).files.values())
    return files[0] if len(files) == 1 and np.unique(read_stored(files[0], volumes=True).array).size > 2 else None


def _read_label_files(folder: Path, labels: Sequence[str]) -> Volume:
    """A mask made of a file for each label, named as the label; raises `DataError` where one lacks."""
    files = {name.casefold(): path for name, path in case_files(folder).files.items()}
    found: Volume | None = None
    for number, label in enumerate(labels, start=1):
        path = files.get(label.casefold())
        if path is None:
            raise DataError(f"{folder}: has no file of the label {label!r}; there are {', '.join(files)}. Add it.")
        one = read_stored(path, volumes=True)
        if found is None:
            found = one.with_array(np.zeros(one.grid.shape, np.uint8))
        elif not found.grid.is_same(one.grid):
            apart = grid_difference(found.grid, one.grid)
            raise DataError(f"{path}: lies on another grid than the other labels of its case: {apart}")
        found.array[one.array > 0] = number
    assert found is not None
    return found
