"""Masks whose labels have names, as segmentations and structure sets carry them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from segmed.core.errors import DataError
from segmed.core.grid_difference import grid_difference, reoriented
from segmed.core.labels import Colour
from segmed.core.volume import Grid, Volume

SNAP = 0.05
"""Voxels by which a mask may lie off its image's grid and still be put on it; positions are rounded in headers."""


@dataclass(frozen=True)
class Label:
    """A value of a mask, its name, and the colour to show it in where one is stated."""

    value: int
    name: str
    colour: Colour | None = None


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """A mask, 0 for background, and the labels that it may hold.

    Args:
        volume: Unsigned integers.
        labels: By value; a label need not occur.

    Raises:
        DataError: A value twice, or one in the voxels that no label has.
    """

    volume: Volume
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        values = [label.value for label in self.labels]
        if len(set(values)) != len(values) or min(values, default=1) < 1:
            raise DataError(f"Labels of the values {values}, expected each once, from 1.")
        if unknown := set(np.unique(self.volume.array).tolist()) - {0, *values}:
            raise DataError(f"A mask with the value {min(unknown)}, which no label has. Name it.")

    @classmethod
    def of_values(cls, volume: Volume) -> "LabelVolume":
        """The labels that occur in a mask, named by their numbers."""
        values = [int(value) for value in np.unique(volume.array) if value]
        return cls(volume, tuple(Label(value, f"label {value}") for value in values))

    def named(self, names: Sequence[str]) -> "LabelVolume":
        """The same with other names, one for each label, in the order of the values."""
        if len(names) != len(self.labels) or len(set(names)) != len(names):
            raise DataError(f"{len(names)} names for {len(self.labels)} labels, expected one for each, no two equal.")
        labels = sorted(self.labels, key=lambda label: label.value)
        return replace(self, labels=tuple(replace(label, name=name) for label, name in zip(labels, names, strict=True)))

    def on_grid(self, grid: Grid, name: str) -> "LabelVolume":
        """The mask on the grid of its image; see `placed`."""
        return replace(self, volume=placed(self.volume, grid, name))


def placed(volume: Volume, grid: Grid, name: str) -> Volume:
    """A mask on a grid whose voxels its own are, in any order; the rest is background. Nothing is resampled.

    Args:
        volume: Labels; it may cover a part of the grid only.
        grid: The image's.
        name: What the mask is, for the error.

    Raises:
        DataError: The voxels of the mask are not voxels of the grid.
    """
    if volume.grid.affine is None or grid.affine is None:
        if not grid.is_same(volume.grid):
            raise _elsewhere(volume.grid, grid, name)
        return Volume(volume.array, grid)
    turned = reoriented(volume, grid)
    assert turned.grid.affine is not None
    onto = np.linalg.solve(grid.affine, turned.grid.affine)
    first = np.rint(onto[:3, 3]).astype(int)
    last = first + turned.grid.shape
    ends = np.array([(0, 0, 0, 1), (*(side - 1 for side in turned.grid.shape), 1)]).T
    off = np.abs((onto @ ends)[:3] - np.stack([first, last - 1], axis=1))
    if off.max() > SNAP or (np.abs(onto[:3, :3] - np.eye(3)) > SNAP).any():
        raise _elsewhere(turned.grid, grid, name)
    if (first < 0).any() or (last > grid.shape).any():
        raise DataError(f"{name}: covers {turned.grid}, which lies partly outside of its image ({grid}).")
    array = np.zeros(grid.shape, volume.array.dtype)
    array[tuple(slice(start, end) for start, end in zip(first, last, strict=True))] = turned.array
    return Volume(array, grid)


def _elsewhere(grid: Grid, image: Grid, name: str) -> DataError:
    return DataError(f"{name}: not on the grid of its image: {grid_difference(image, grid)}")
