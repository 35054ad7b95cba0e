"""How the grid of one file differs from that of another: along which axis, by how much, and whether a mend is safe."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Shaped

from segmed.core.stacking import Stacking
from segmed.core.volume import SAME_GRID, Grid, Volume, nearest_axes, sides

AXES = ("slices", "rows", "columns")
PARALLEL = 1e-3
"""Degrees between two axes below which they count as parallel in words."""


class Mend(Enum):
    """What puts a mask on another grid; the value says it in words, and what that costs."""

    NONE = "nothing to mend"
    REORIENT = "safe: axes are swapped or turned round, no voxel is resampled"
    ASSUME = "safe only if the voxels are known to be in the reference's order: one file states no geometry"
    RESAMPLE = "not safe without looking: voxels must be resampled"
    IMPOSSIBLE = "none: neither the number of voxels nor a geometry says how they belong together"


@dataclass(frozen=True)
class GridDifference:
    """How a mask's grid differs from its reference's.

    Args:
        voxels: The distance of the corners that are farthest apart, in voxels of the reference; infinite where only
            one grid has geometry.
        findings: Each difference in words, with its axis and millimetres or degrees.
        mend: What would put the mask on the reference's grid.
    """

    voxels: float
    findings: tuple[str, ...]
    mend: Mend

    @property
    def same(self) -> bool:
        """Whether both grids are the same within `SAME_GRID` voxels."""
        return self.mend is Mend.NONE

    def __str__(self) -> str:
        """All findings, and the mend."""
        return f"{'; '.join(self.findings)}. Mend: {self.mend.value}." if self.findings else "the same grid"


def grid_difference(reference: Grid, other: Grid) -> GridDifference:
    """Compare the grid of a mask with that of its reference.

    Args:
        reference: The grid that counts.
        other: The mask's grid.

    Returns:
        What differs; differences below 1e-3 voxel are none.

    Example:
        >>> grid = Grid((4, 8, 8), np.diag([5.0, 1.0, 1.0, 1.0]))
        >>> moved = np.diag([5.0, 1.0, 1.0, 1.0])
        >>> moved[0, 3] = 2.5
        >>> print(grid_difference(grid, Grid((4, 8, 8), moved)).findings[0])
        shifted by 2.5 mm along slices
    """
    if reference.affine is None or other.affine is None:
        return _without_geometry(reference, other)
    turned = _turned(reference, other)
    onto = other if turned is None else turned.apply_grid(other)
    order = () if turned is None else (f"axes run {other.orientation}, in the reference {reference.orientation}",)
    if reference.is_same(onto):
        return GridDifference(
            0.0 if turned is None else float("inf"), order, Mend.NONE if turned is None else Mend.REORIENT
        )
    findings = (*order, *_sizes(reference, onto), *_steps(reference, onto), *_angles(reference, onto))
    return GridDifference(
        reference.distance(onto), (*findings, *_shifts(reference, onto)) or _corners(reference, onto), Mend.RESAMPLE
    )


def reoriented(volume: Volume, reference: Grid) -> Volume:
    """The volume with its axes in the order and direction of `reference`, as far as swaps and flips go."""
    turned = _turned(reference, volume.grid)
    return volume if turned is None else turned.apply(volume)


def _without_geometry(reference: Grid, other: Grid) -> GridDifference:
    sizes = _sizes(reference, other)
    if sizes:
        return GridDifference(float("inf"), sizes, Mend.IMPOSSIBLE)
    distance = reference.distance(other)
    if distance <= SAME_GRID:
        return GridDifference(distance, (), Mend.NONE)
    if reference.has_geometry != other.has_geometry:
        whose = "the reference" if other.has_geometry else "the mask"
        return GridDifference(distance, (f"{whose} states no geometry",), Mend.ASSUME)
    if reference.spacing is None or other.spacing is None:
        whose = "the mask" if other.spacing is None else "the reference"
        return GridDifference(distance, (f"{whose} states no spacing",), Mend.ASSUME)
    return GridDifference(distance, _steps(reference, other), Mend.ASSUME)


def _turned(reference: Grid, other: Grid) -> Stacking | None:
    """The swaps and flips that bring the axes of `other` nearest to those of the reference; None for none."""
    assert reference.affine is not None
    assert other.affine is not None
    relative = np.eye(4)
    relative[:3, :3] = np.linalg.solve(_directions(other), _directions(reference))
    axes, signs = nearest_axes(relative)
    backwards = (signs[0] < 0, signs[1] < 0, signs[2] < 0)
    return None if axes == (0, 1, 2) and not any(backwards) else Stacking(axes, backwards)


def _sizes(reference: Grid, other: Grid) -> tuple[str, ...]:
    if reference.shape == other.shape:
        return ()
    return (f"{sides(other.shape)} voxels, in the reference {sides(reference.shape)}",)


def _steps(reference: Grid, other: Grid) -> tuple[str, ...]:
    """Spacings that differ by more than the tolerance from end to end."""
    if reference.spacing is None or other.spacing is None:
        return ()
    return tuple(
        f"spacing {theirs:.6g} mm along {axis}, in the reference {ours:.6g} mm"
        for axis, ours, theirs, side in zip(AXES, reference.spacing, other.spacing, reference.shape, strict=True)
        if abs(theirs / ours - 1) * side > SAME_GRID
    )


def _angles(reference: Grid, other: Grid) -> tuple[str, ...]:
    cosines = (_directions(reference) * _directions(other)).sum(axis=0)
    sines = np.linalg.norm(np.cross(_directions(reference), _directions(other), axis=0), axis=0)
    angles = np.degrees(np.arctan2(sines, cosines))
    return tuple(
        f"{axis} turned by {angle:.3g} degrees"
        for axis, angle, side in zip(AXES, angles, reference.shape, strict=True)
        if np.radians(angle) * side > SAME_GRID and angle > PARALLEL
    )


def _shifts(reference: Grid, other: Grid) -> tuple[str, ...]:
    """How far the first voxel lies from that of the reference, along each axis of the reference."""
    assert reference.affine is not None
    assert other.affine is not None
    assert reference.spacing is not None
    moved = np.linalg.solve(_directions(reference), other.affine[:3, 3] - reference.affine[:3, 3])
    return tuple(
        f"shifted by {shift:.4g} mm along {axis}"
        for axis, shift, step in zip(AXES, moved, reference.spacing, strict=True)
        if abs(shift) / step > SAME_GRID
    )


def _corners(reference: Grid, other: Grid) -> tuple[str, ...]:
    """Where every single difference is small and only their sum is not."""
    return (f"corners up to {reference.distance(other):.3g} voxels apart",)


def _directions(grid: Grid) -> Shaped[np.ndarray, "3 3"]:
    assert grid.affine is not None
    return np.asarray(grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))
