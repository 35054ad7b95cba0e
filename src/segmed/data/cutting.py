"""Volumes of a data set read from their files and cut into slices, with sequences as channels."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from segmed.core.errors import DataError
from segmed.core.grid_difference import grid_difference
from segmed.core.identity import NOBODY, Identity
from segmed.core.labels import LabelMap
from segmed.core.records import VolumeFiles
from segmed.core.resampling import resampled
from segmed.core.stacking import Plane, Stacking, stacking
from segmed.core.volume import Grid, Volume, as_labels
from segmed.io.converting import is_dicom_path
from segmed.io.dicom.references import read_named_labels
from segmed.io.dicom.series import choose_series, find_series
from segmed.io.volumes import read_volume


class GridError(DataError):
    """A file that does not lie on the grid of the volume's first file."""


@dataclass(frozen=True, eq=False)
class CutVolume:
    """The slices of a volume in one orientation, and the way back.

    `grid` is that of the slices; `stored` and `stacking` are those of the first file, for which masks are written.
    """

    images: Shaped[np.ndarray, "slices rows columns channels"]
    masks: UInt8[np.ndarray, "slices rows columns"] | None
    grid: Grid
    stored: Grid
    stacking: Stacking

    def as_stored(self, slices: Shaped[np.ndarray, "slices rows columns"]) -> Volume:
        """Slices such as a mask's as a volume on the grid of the first file; the exact inverse of the cutting."""
        return Volume(np.ascontiguousarray(self.stacking.undo(slices)), self.stored)


def read_cut(source: VolumeFiles, labels: LabelMap | None = None) -> CutVolume:
    """Read the files of a volume and cut it along its plane.

    The first file's grid is the reference: sequences on another grid are resampled to it by linear interpolation, with
    a warning of how far off they were. A mask is never resampled.

    Args:
        source: The files.
        labels: How the mask stores labels; None reads no mask.

    Raises:
        DataError: A file that cannot be read, a mask on another grid than the image, or a value without a label.
    """
    names = [str(path) for path in source.images]
    if source.sequences:
        names = [f"{path} ({series})" for path, series in zip(source.images, source.sequences, strict=True)]
    volumes = [read_volume(path, series=source.series_of(index)) for index, path in enumerate(source.images)]
    cut = cut_volumes(volumes, source.plane, names=names)
    if labels is None or source.mask is None:
        return cut
    return replace(cut, masks=_reference(source.mask, cut, source, labels))


def cut_volumes(sequences: Sequence[Volume], plane: Plane, *, names: Sequence[str]) -> CutVolume:
    """Cut the sequences of one volume along a plane, as `read_cut` does; `names` are for errors and warnings."""
    first = sequences[0]
    cut = _stacking(names[0], first.grid, plane)
    grid = cut.apply_grid(first.grid)
    channels = [cut.apply_array(first.array)]
    for name, volume in zip(names[1:], sequences[1:], strict=True):
        own = _stacking(name, volume.grid, plane).apply(volume)
        channels.append(own.array if own.grid.is_same(grid) else _moved(name, own, grid, names[0]))
    images = np.stack(channels, axis=-1) if len(channels) > 1 else channels[0][..., None]  # one is not copied
    return CutVolume(images, None, grid, first.grid, cut)


def _stacking(name: str, grid: Grid, plane: Plane) -> Stacking:
    try:
        return stacking(grid, plane)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _moved(name: str, volume: Volume, grid: Grid, first: str) -> Shaped[np.ndarray, "slices rows columns"]:
    """A further sequence brought to the grid of the first."""
    found = grid_difference(grid, volume.grid)
    if not (volume.grid.has_geometry and grid.has_geometry):
        raise GridError(f"{name}: does not fit {Path(first).name}: {found}")
    warnings.warn(
        f"{name}: lies on another grid than {Path(first).name} ({'; '.join(found.findings)}; {found.voxels:.3g} voxels "
        "at most). It is resampled to that one by linear interpolation.",
        stacklevel=4,
    )
    return resampled(volume, grid).array


def _reference(
    path: Path, cut: CutVolume, source: VolumeFiles, labels: LabelMap
) -> UInt8[np.ndarray, "slices rows columns"]:
    if is_dicom_path(path):
        known = _identity(source) if source.identity is None else source.identity
        return cut.stacking.apply_array(read_named_labels(path, cut.stored, labels.names, known))
    return read_cut_mask(path, cut.grid, source, labels)


def _identity(source: VolumeFiles) -> Identity:
    """What the headers of a volume's images say of people, where the listing did not say it."""
    images = [(path, source.series_of(index)) for index, path in enumerate(source.images) if is_dicom_path(path)]
    return reduce(or_, (choose_series(find_series(path), path, series).identity for path, series in images), NOBODY)


def read_cut_mask(
    path: Path, grid: Grid, source: VolumeFiles, labels: LabelMap
) -> UInt8[np.ndarray, "slices rows columns"]:
    """The slices of a mask of a volume, cut like it, as labels 0 … K.

    Args:
        path: A file that is not DICOM.
        grid: That of the volume's slices.
        source: The volume's files.
        labels: How the mask stores labels.

    Raises:
        DataError: It cannot be read, lies on another grid, or holds a value without a label.
    """
    volume = as_labels(read_volume(path), str(path))
    own = _stacking(str(path), volume.grid, source.plane).apply(volume)
    if not own.grid.is_same(grid):
        raise GridError(
            f"{path}: lies on another grid than its image {source.images[0].name}: {grid_difference(grid, own.grid)} "
            "Export both on one grid, or write it anew with `segmed data resample`."
        )
    if labels.is_colour:
        raise DataError(f"{path}: labels are given in colours, but volumes store numbers. Give numbers with --labels.")
    return labels.decode(own.array.reshape(-1, own.array.shape[2]), str(path)).reshape(own.array.shape)
