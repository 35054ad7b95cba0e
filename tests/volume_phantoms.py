"""Grids of every awkward kind, by seed: oblique, left-handed, anisotropic, odd-sized, sheared."""

import numpy as np

from segmed.core.volume import Grid, Volume


def grid_of(seed: int, *, sheared: bool = False) -> Grid:
    """A grid of odd sides with any rotation, handedness and spacing."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn[:, 0] *= rng.choice([-1, 1])
    affine = np.eye(4)
    affine[:3, :3] = turn * rng.uniform(0.3, 6, 3)
    if sheared:
        affine[:3, 0] += 0.4 * affine[:3, 1]
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    first, second, third = (int(side) for side in rng.choice([1, 3, 5, 7, 11], 3))
    return Grid((first, second, third), affine)


def volume_of(seed: int, dtype: str = "int16", *, sheared: bool = False) -> Volume:
    """Numbers of a dtype on such a grid."""
    grid, rng = grid_of(seed, sheared=sheared), np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return Volume(rng.normal(0, 1000, grid.shape).astype(kind), grid)
    limits = np.iinfo(kind)
    return Volume(rng.integers(limits.min, limits.max, grid.shape, dtype=kind, endpoint=True), grid)
