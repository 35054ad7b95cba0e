"""The predicted masks in the folder of an evaluation: a PNG per slice, or a NIfTI file per volume."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PillowImage

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.volume import Volume
from segmed.io.volumes import read_volume, write_volume


class SavedMasks(Mapping[str, UInt8[np.ndarray, "h w"]]):
    """The masks of a saved evaluation, by slice id, each read from its file when asked for."""

    def __init__(self, folder: Path, slice_ids: tuple[str, ...], labels: LabelMap) -> None:
        """Remember where the masks are; nothing is read."""
        self._folder, self._cases, self._labels = folder, dict.fromkeys(slice_ids), labels

    def __getitem__(self, slice_id: str) -> UInt8[np.ndarray, "h w"]:
        """Labels 0 … K of one slice; raises `KeyError` for an unknown slice and `DataError` for a lost file."""
        if slice_id not in self._cases:
            raise KeyError(slice_id)
        path = mask_path(self._folder, slice_id)
        try:
            with PillowImage.open(path) as image:
                stored = np.asarray(image)
        except OSError as error:
            raise DataError(f"{path}: cannot read the mask ({error}). Run `segmed evaluate` again.") from error
        return self._labels.decode(stored, str(path))

    def __iter__(self) -> Iterator[str]:
        """The slice ids, in the order of `slices.csv`."""
        return iter(self._cases)

    def __len__(self) -> int:
        """How many masks there are."""
        return len(self._cases)


def mask_path(folder: Path, slice_id: str) -> Path:
    """Where the predicted mask of a slice lies in an evaluation folder; `DataError` for a slice id that leads out."""
    return _path(folder, slice_id, ".png")


def volume_path(folder: Path, case: str) -> Path:
    """Where the predicted volume of a case lies, as `mask_path` says of a slice."""
    return _path(folder, case, ".nii.gz")


class SavedVolumes(Mapping[str, Volume]):
    """The predicted volumes of a saved evaluation, by case, each read from its file when asked for."""

    def __init__(self, folder: Path, cases: tuple[str, ...]) -> None:
        """Remember where they are; nothing is read."""
        self._folder, self._cases = folder, dict.fromkeys(cases)

    def __getitem__(self, case: str) -> Volume:
        """Labels 0 … K on the reference's grid; `KeyError` for an unknown case, `DataError` for a lost file."""
        if case not in self._cases:
            raise KeyError(case)
        return read_volume(volume_path(self._folder, case))

    def __iter__(self) -> Iterator[str]:
        """The cases, in the order of `cases.csv`."""
        return iter(self._cases)

    def __len__(self) -> int:
        """How many volumes there are."""
        return len(self._cases)


def write_volumes(folder: Path, volumes: Mapping[str, Volume]) -> None:
    """Write predicted volumes one by one, so that they need not be held together."""
    for case, volume in volumes.items():
        path = volume_path(folder, case)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(path, volume)


def _path(folder: Path, name: str, suffix: str) -> Path:
    masks = folder / "predictions"
    path = masks / f"{name}{suffix}"
    if not path.resolve().is_relative_to(folder.resolve() / "predictions"):  # a link in place of the folder leads out
        raise DataError(f"{name!r} leads out of {masks}. Give it a plain name.")
    return path
