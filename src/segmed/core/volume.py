"""Volumes and the grid that they share with their masks.

One convention holds everywhere: arrays are `slices rows columns`, and an affine takes an array index (slice, row,
column) to millimetres in the patient's frame whose axes point to the right, the front and the head (RAS+). Formats
that count the other way or point elsewhere are turned here, in `Grid.of_columns_first`.
"""

from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
from jaxtyping import Float, Shaped

from segmed.core.errors import DataError
from segmed.core.image import PixelSpacing

Shape = tuple[int, int, int]
"""(slices, rows, columns) in voxels."""
Triple = tuple[float, float, float]
Affine = Float[np.ndarray, "4 4"]

SAME_GRID = 1e-3
"""Voxels by which the corners of two grids may differ and still be the same grid."""
ORTHOGONAL = 1e-4
"""The cosine between two axes up to which they count as perpendicular."""
WHOLE = 1e-3
"""How far from whole numbers the labels of a mask may lie, as scaled files leave them."""

_TO_RAS = {"RAS": np.eye(4), "LPS": np.diag([-1.0, -1.0, 1.0, 1.0])}
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a volume lie.

    Args:
        shape: (slices, rows, columns).
        affine: From array index (slice, row, column, 1) to millimetres in RAS+, or None where the position and
            orientation of the patient are not known.
        spacing: Millimetres from voxel to voxel along slices, rows and columns; taken from `affine` where there is
            one. None says that nothing is known, and nothing may call distances millimetres.

    Raises:
        DataError: A side below 1, an affine that cannot be inverted, a spacing that is not positive.

    Example:
        >>> grid = segmed.Grid((20, 256, 256), spacing=(6.0, 0.9, 0.9))
        >>> print(grid)
        20 x 256 x 256 voxels, 6 x 0.9 x 0.9 mm, orientation unknown
    """

    shape: Shape
    affine: Affine | None = None
    spacing: Triple | None = None

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise DataError(f"A volume of {sides(self.shape)} voxels, expected at least one along every axis.")
        if self.affine is not None:
            affine = np.array(self.affine, np.float64)
            affine.setflags(write=False)
            object.__setattr__(self, "affine", affine)
            object.__setattr__(self, "spacing", _lengths(affine))
        elif self.spacing is not None and not all(np.isfinite(step) and step > 0 for step in self.spacing):
            raise DataError(f"A spacing of {self.spacing} mm, expected three positive numbers.")

    @classmethod
    def of_columns_first(cls, shape: Shape, affine: Affine, frame: str = "RAS") -> "Grid":
        """A grid whose format counts (column, row, slice), as NIfTI and ITK do.

        Args:
            shape: (slices, rows, columns).
            affine: From (column, row, slice, 1) to millimetres.
            frame: `RAS`, or `LPS` as DICOM and ITK have it.
        """
        return cls(shape, (_TO_RAS[frame] @ affine)[:, [2, 1, 0, 3]])

    def columns_first(self, frame: str = "RAS") -> Affine | None:
        """The affine for a format that counts (column, row, slice).

        Args:
            frame: Where the format's axes point, `RAS` or `LPS`.

        Returns:
            `4 4` in mm; None where position and orientation are not known.
        """
        return None if self.affine is None else _TO_RAS[frame] @ self.affine[:, [2, 1, 0, 3]]

    @property
    def has_geometry(self) -> bool:
        """Whether position and orientation are known."""
        return self.affine is not None

    @property
    def pixel_spacing(self) -> PixelSpacing | None:
        """Millimetres per pixel of a slice, rows and columns; None where the spacing is not known."""
        return None if self.spacing is None else self.spacing[1:]

    @property
    def orientation(self) -> str | None:
        """Where slices, rows and columns grow to, by the nearest of L, R, P, A, I, S; axial images are often `SPL`."""
        if self.affine is None:
            return None
        axes, signs = nearest_axes(self.affine)
        return "".join(_LETTERS[axis][sign > 0] for axis, sign in zip(axes, signs, strict=True))

    @property
    def is_right_handed(self) -> bool | None:
        """Whether (column, row, slice) turn as x, y and z do; None where there is no geometry."""
        return None if self.affine is None else bool(np.linalg.det(self.affine[:3, [2, 1, 0]]) > 0)

    @property
    def is_orthogonal(self) -> bool | None:
        """Whether the axes are perpendicular, as formats without shear need; None where there is no geometry."""
        if self.affine is None:
            return None
        axes = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() <= ORTHOGONAL)

    def distance(self, other: "Grid") -> float:
        """How far the corners of another grid lie from those of this one.

        Args:
            other: A grid of the same shape: corners are counted by this grid's.

        Returns:
            The largest distance in voxels of this grid, 0 or more. Infinite where only one of them has geometry; grids
            without geometry differ by their spacing's ratio.
        """
        if self.affine is None or other.affine is None:
            if self.has_geometry != other.has_geometry or (self.spacing is None) != (other.spacing is None):
                return float("inf")
            if self.spacing is None or other.spacing is None:
                return 0.0
            ratios = np.array(other.spacing) / np.array(self.spacing)
            return float((np.abs(ratios - 1) * (np.array(self.shape) - 1)).max())
        corners = np.array([(*corner, 1) for corner in product(*((0, side - 1) for side in self.shape))]).T
        moved = np.linalg.solve(self.affine, other.affine @ corners)
        return float(np.linalg.norm((moved - corners)[:3], axis=0).max())

    def is_same(self, other: "Grid") -> bool:
        """Whether both have the same shape and lie within `SAME_GRID` voxels of each other.

        Args:
            other: The grid to compare with.

        Returns:
            True for the same shape, and corners that far apart at most.
        """
        return self.shape == other.shape and self.distance(other) <= SAME_GRID

    def __str__(self) -> str:
        """The grid in words, such as `24 x 256 x 256 voxels, 5 x 1 x 1 mm, SPL`."""
        text = f"{sides(self.shape)} voxels"
        if self.spacing is None:
            return f"{text}, spacing unknown"
        text += f", {' x '.join(f'{step:.4g}' for step in self.spacing)} mm"
        return f"{text}, {self.orientation or 'orientation unknown'}"


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels as stored, with the grid that they lie on.

    A mask is a volume of labels, 0 for background, on the grid of its image: `image.with_array(labels)`.

    Args:
        array: `slices rows columns`, any integer or float dtype.
        grid: Where they lie in the patient.

    Raises:
        DataError: The array does not fit the grid.

    Example:
        >>> image = segmed.Volume(np.zeros((3, 4, 5), np.int16), segmed.Grid((3, 4, 5)))
        >>> image.with_array(image.array > 100).array.sum().item()
        0
    """

    array: Shaped[np.ndarray, "slices rows columns"]
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise DataError(
                f"An array of {sides(self.array.shape)} on a grid of {sides(self.grid.shape)} voxels. "
                "Give it in the order slices, rows, columns."
            )

    def with_array(self, array: Shaped[np.ndarray, "slices rows columns"]) -> "Volume":
        """Other voxels on the same grid.

        Args:
            array: `slices rows columns`, in the shape of the grid and any dtype.

        Returns:
            A volume with the same place in the patient.

        Raises:
            DataError: An array of another shape.
        """
        return replace(self, array=array)


def as_labels(volume: Volume, name: str) -> Volume:
    """The volume with whole numbers in the smallest unsigned dtype, as masks are stored.

    Args:
        volume: Labels in any dtype; files that scale their numbers leave 2 as 2.00007.
        name: What it is, for the error.

    Raises:
        DataError: Negative numbers, or numbers that are not whole within `WHOLE`.
    """
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        raise DataError(f"{name}: holds NaN or infinite values, expected labels of a mask. Check that it is a mask.")
    whole = np.rint(volume.array) if volume.array.dtype.kind == "f" else volume.array
    if int(whole.min()) < 0 or int(whole.max()) >= 2**32:
        raise DataError(
            f"{name}: values from {volume.array.min()} to {volume.array.max()}, expected labels of a mask, 0 and "
            "above. Check that it is a mask."
        )
    if volume.array.dtype.kind == "f" and (off := np.abs(volume.array - whole)).max() > WHOLE:
        value = volume.array.flat[int(off.argmax())]
        raise DataError(f"{name}: the value {value:.6g}, expected whole numbers, the labels of a mask.")
    highest = int(whole.max())
    return volume.with_array(whole.astype(np.min_scalar_type(highest)))


def nearest_axes(affine: Affine) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The patient's axis (0 right, 1 front, 2 head) nearest to slices, rows and columns, each once, and its sign."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(permutations(range(3)), key=lambda axes: sum(abs(directions[axis, i]) for i, axis in enumerate(axes)))
    first, second, third = (1 if directions[axis, i] > 0 else -1 for i, axis in enumerate(best))
    return (best[0], best[1], best[2]), (first, second, third)


def sides(shape: tuple[int, ...]) -> str:
    """A shape in words."""
    return " x ".join(str(side) for side in shape)


def _lengths(affine: Affine) -> Triple:
    sound = affine.shape == (4, 4) and np.isfinite(affine).all() and (affine[3] == (0, 0, 0, 1)).all()
    lengths = np.linalg.norm(affine[:3, :3], axis=0) if sound else np.zeros(3)
    if not (lengths > 0).all() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
        raise DataError(
            f"A geometry that places no volume: {np.round(affine, 4).tolist()}, expected three axes of some length "
            "in different directions."
        )
    return float(lengths[0]), float(lengths[1]), float(lengths[2])
