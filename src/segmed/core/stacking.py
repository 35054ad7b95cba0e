"""Slices of volumes in one orientation, whatever file they come from, and exactly back."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Shaped

from segmed.core.errors import DataError
from segmed.core.volume import Grid, Volume, nearest_axes

Plane = Literal["acquired", "axial", "coronal", "sagittal"]
"""How slices are cut; `acquired` is along the axis of the largest spacing."""

TIE = 1.01
"""The ratio up to which spacings count as equal: axial slices are taken then, if it is among the largest."""

_SLICE_AXIS = {"sagittal": 0, "coronal": 1, "axial": 2}
_SHOWN: dict[int, tuple[tuple[int, int], ...]] = {
    2: ((2, 1), (1, -1), (0, -1)),
    1: ((1, -1), (2, -1), (0, -1)),
    0: ((0, -1), (2, -1), (1, -1)),
}
"""By slice axis: the patient's axis and the sign in which slices, rows and columns grow.

They are DICOM's: rows go to the back (axial) or the feet, columns to the patient's left (sagittal: to the back); slices
go to the head, the back or the left.
"""


@dataclass(frozen=True)
class Stacking:
    """Which stored axis becomes slices, rows and columns, and which of them then runs backwards."""

    axes: tuple[int, int, int]
    backwards: tuple[bool, bool, bool]

    def apply(self, volume: Volume) -> Volume:
        """The volume as slices in this order: the same voxels at the same places."""
        return Volume(self.apply_array(volume.array), self.apply_grid(volume.grid))

    def apply_array(self, array: Shaped[np.ndarray, "a b c"]) -> Shaped[np.ndarray, "slices rows columns"]:
        """A view of `array` in this order."""
        return array.transpose(self.axes)[self._steps()]

    def undo(self, array: Shaped[np.ndarray, "slices rows columns"]) -> Shaped[np.ndarray, "a b c"]:
        """The exact inverse of `apply_array`: nothing is resampled."""
        back = np.argsort(self.axes)
        return array[self._steps()].transpose(*(int(axis) for axis in back))

    def apply_grid(self, grid: Grid) -> Grid:
        """The grid in this order, with its place in the patient."""
        first, second, third = self.axes
        shape = (grid.shape[first], grid.shape[second], grid.shape[third])
        if grid.affine is None:
            spacing = grid.spacing and (grid.spacing[first], grid.spacing[second], grid.spacing[third])
            return Grid(shape, spacing=spacing)
        index = np.zeros((4, 4))
        index[3, 3] = 1
        for new, (old, backwards) in enumerate(zip(self.axes, self.backwards, strict=True)):
            index[old, new] = -1 if backwards else 1
            index[old, 3] = shape[new] - 1 if backwards else 0
        return Grid(shape, grid.affine @ index)

    def _steps(self) -> tuple[slice, slice, slice]:
        first, second, third = (slice(None, None, -1 if backwards else 1) for backwards in self.backwards)
        return first, second, third


AS_STORED = Stacking((0, 1, 2), (False, False, False))


def stacking(grid: Grid, plane: Plane = "acquired") -> Stacking:
    """How the slices of a volume are cut so that every volume of the same anatomy looks alike.

    Args:
        grid: The volume's. Without geometry `acquired` leaves the slices as stored.
        plane: `acquired`, `axial`, `coronal` or `sagittal`; of an oblique volume, the nearest.

    Raises:
        DataError: An anatomical plane where the orientation is not known.
    """
    if grid.affine is None or grid.spacing is None:
        if plane != "acquired":
            raise DataError(f"Plane {plane!r}: the orientation of the volume is not known. Use plane acquired.")
        return AS_STORED
    patient, signs = nearest_axes(grid.affine)
    stored = {axis: index for index, axis in enumerate(patient)}
    along = _SLICE_AXIS.get(plane)
    if along is None:
        largest = max(grid.spacing)
        along = next(axis for axis in (2, 1, 0) if grid.spacing[stored[axis]] * TIE >= largest)
    first, second, third = _SHOWN[along]
    axes = (stored[first[0]], stored[second[0]], stored[third[0]])
    backwards = tuple(signs[index] != sign for index, (_, sign) in zip(axes, (first, second, third), strict=True))
    return Stacking(axes, (backwards[0], backwards[1], backwards[2]))
