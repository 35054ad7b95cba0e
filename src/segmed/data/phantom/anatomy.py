"""A healthy brain without skull, as shares of tissue: outline, folded cortex, fissures, ventricles, nuclei.

A cartoon with the right parts in about the right places, not an atlas. Coordinates: x from the patient's right
to left, y from front to back, z from base to vertex; the cerebrum has a radius of about 1 in each.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from segmed.data.phantom.fields import Volume, distance_to_zero, smooth_noise, soft_step

PathPoint = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """Where each voxel lies in the brain, and how long one pixel is there."""

    x: Volume
    y: Volume
    z: Volume
    pixel: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        slices, rows, columns = self.x.shape
        return slices, rows, columns


@dataclass(frozen=True)
class Tissue:
    """Share of each tissue in each voxel, 0 to 1; outside the brain all are 0.

    `depth` is the distance to the brain's surface, `ventricle_distance` the one to the ventricles' wall.
    `cerebrum` is 1 in the cerebrum and 0 in cerebellum and brainstem.
    """

    grey: Volume
    white: Volume
    fluid: Volume
    depth: Volume
    ventricle_distance: Volume
    cerebrum: Volume


def make_grid(rng: np.random.Generator, slices: int, size: int) -> Grid:
    """A head of varied size, turned, shifted and nodding a little in a square frame of `size` pixels."""
    half = np.float32(size / 2)
    axis = ((np.arange(size) - (size - 1) / 2) / half).astype(np.float32)
    width, length = np.float32(0.72 * rng.uniform(0.94, 1.04)), np.float32(0.86 * rng.uniform(0.94, 1.04))
    angle = np.deg2rad(rng.uniform(-7, 7))
    across, down = axis[None, None, :] - rng.uniform(-0.04, 0.04), axis[None, :, None] - rng.uniform(-0.04, 0.04)
    x = (np.cos(angle) * across - np.sin(angle) * down) / width
    y = (np.sin(angle) * across + np.cos(angle) * down) / length
    level = np.linspace(-0.98, 1.02, slices, dtype=np.float32)[:, None, None]
    z = level + rng.uniform(-0.15, 0.15) * y + rng.uniform(-0.05, 0.05) * x
    x, y, z = (np.broadcast_to(axis, (slices, size, size)).astype(np.float32) for axis in (x, y, z))
    return Grid(x, y, z, pixel=float(1 / (half * (width + length) / 2)))


def make_tissue(rng: np.random.Generator, grid: Grid) -> Tissue:
    """Paint one brain on `grid`."""
    cerebrum, fossa = _cerebrum(rng, grid), _posterior_fossa(grid)
    wobble = 0.03 * smooth_noise(rng, grid.shape, (4, 7, 7)) + 0.012 * smooth_noise(rng, grid.shape, (6, 18, 18))
    depth = np.maximum(cerebrum, fossa) + wobble
    tentorium = np.abs(cerebrum - fossa)

    to_fluid = np.minimum(_sulci(rng, grid, cerebrum + wobble), _fissures(rng, grid))
    to_fluid = np.where(cerebrum > fossa, to_fluid, _folia(rng, grid))
    to_fluid = np.minimum(to_fluid, np.where(np.maximum(cerebrum, fossa) > 0, tentorium, 1))
    to_fluid = np.minimum(to_fluid, depth + 0.01)

    soft = max(0.012, 0.6 * grid.pixel)
    ventricle = _ventricles(rng, grid)
    brain = soft_step(depth, soft)
    fluid = np.maximum(soft_step(0.017 - to_fluid, soft), soft_step(-ventricle, soft))
    thickness = 0.064 * (1 + 0.2 * smooth_noise(rng, grid.shape, (4, 9, 9)))
    cortex = soft_step(thickness - to_fluid, 1.3 * soft)
    grey = np.maximum(cortex, 0.85 * soft_step(_nuclei(rng, grid), 2 * soft))
    return Tissue(
        grey=(brain * (1 - fluid) * grey).astype(np.float32),
        white=(brain * (1 - fluid) * (1 - grey)).astype(np.float32),
        fluid=(brain * fluid).astype(np.float32),
        depth=depth.astype(np.float32),
        ventricle_distance=ventricle.astype(np.float32),
        cerebrum=(cerebrum > fossa).astype(np.float32),
    )


def _cerebrum(rng: np.random.Generator, grid: Grid) -> Volume:
    """Depth below the surface of two hemispheres with frontal base and temporal lobes; negative outside."""
    egg = 1 + 0.09 * grid.y - 0.05 * grid.y**2  # narrower in front
    floor = 0.6 - 0.22 * soft_step(grid.y - 0.2, 0.15)  # higher over the cerebellum
    below = np.maximum(-grid.z, 0) / floor
    sphere = np.abs(grid.x / egg) ** 2.25 + np.abs(grid.y) ** 2.25 + np.maximum(grid.z, 0) ** 2.25
    main = 1 - (sphere + below**6) ** (1 / 2.25)
    frontal = 0.42 * _ball(grid.x / 0.56, (grid.y + 0.5) / 0.42, (grid.z + 0.45) / 0.36)
    side = rng.uniform(0.96, 1.04)
    temporal = 0.36 * _ball((np.abs(grid.x) * side - 0.56) / 0.38, (grid.y + 0.1) / 0.46, (grid.z + 0.5) / 0.46)
    return np.maximum.reduce([main, frontal, temporal]).astype(np.float32)


def _posterior_fossa(grid: Grid) -> Volume:
    """Depth below the surface of cerebellum and brainstem; negative outside."""
    cerebellum = 0.45 * _ball(grid.x / 0.68, (grid.y - 0.5) / 0.4, (grid.z + 0.72) / 0.42)
    stem = 0.2 * (1 - np.sqrt((grid.x / 0.2) ** 2 + ((grid.y - 0.06) / 0.17) ** 2))
    stem = np.minimum(stem, -0.32 - grid.z)
    return np.maximum(cerebellum, stem).astype(np.float32)


def _ball(x: Volume, y: Volume, z: Volume, power: float = 2.0) -> Volume:
    radius = (np.abs(x) ** power + np.abs(y) ** power + np.abs(z) ** power) ** (1 / power)
    return (1 - radius).astype(np.float32)


def _sulci(rng: np.random.Generator, grid: Grid, depth: Volume) -> Volume:
    """Distance to the nearest sulcus: waves round each hemisphere, bent by noise, each ending at its own depth.

    Towards the vertex the waves turn from radial to parallel, across the midline.
    """
    phase = 1.9 * smooth_noise(rng, grid.shape, (5, 8, 8)) + 0.7 * smooth_noise(rng, grid.shape, (8, 22, 22))
    top = soft_step(grid.z - 0.72, 0.2)
    around = (1 - top) * np.arctan2(grid.y, np.abs(grid.x) + 0.12) + top * 1.7 * grid.y
    wave = np.sin(rng.uniform(11, 14) * around + phase)
    ends_at = 0.19 + 0.08 * smooth_noise(rng, grid.shape, (4, 12, 12))
    core = 0.5 - np.hypot(grid.x, grid.y) - np.maximum(grid.z, 0)  # no sulci in the middle of the base
    beyond = np.maximum.reduce([depth - ends_at, core, np.zeros_like(depth)])
    return np.hypot(distance_to_zero(wave.astype(np.float32), grid.pixel), beyond).astype(np.float32)


def _folia(rng: np.random.Generator, grid: Grid) -> Volume:
    """Distance to the folds of the cerebellum: close, nearly parallel arcs, broken here and there."""
    radius = np.hypot(grid.x * 0.7, grid.y + 0.1)
    wave = np.sin(58 * radius + 8 * grid.z + 1.5 * smooth_noise(rng, grid.shape, (4, 12, 12)))
    gap = 0.026 + 0.012 * smooth_noise(rng, grid.shape, (4, 16, 16))
    distance = distance_to_zero(wave.astype(np.float32), grid.pixel) + gap
    return np.where(grid.y > 0.24, distance, 1).astype(np.float32)


def _fissures(rng: np.random.Generator, grid: Grid) -> Volume:
    """Distance to the fissure between the hemispheres and to the lateral ones."""
    middle = grid.x - 0.012 * smooth_noise(rng, grid.shape, (4, 7, 1))
    bridge = np.clip(0.52 - 1.1 * np.maximum(grid.z - 0.05, 0), 0, None)  # the corpus callosum parts front from back
    covered = np.maximum(bridge - np.abs(grid.y + 0.02), 0)
    between = np.hypot(middle, covered)
    bend = 0.04 * smooth_noise(rng, grid.shape, (3, 11, 11))
    way = ((1.0, -0.3, 0.0), (0.68, -0.16, 0.0), (0.58, 0.08, 0.0), (0.66, 0.22, 0.0))
    lateral = _to_path(np.abs(grid.x) + bend, grid.y + bend[:, ::-1], way)
    lateral = np.hypot(lateral, np.maximum(np.abs(grid.z + 0.18) - 0.27, 0))
    return np.minimum(between, lateral - 0.012).astype(np.float32)


def _ventricles(rng: np.random.Generator, grid: Grid) -> Volume:
    """Signed distance to the wall of the ventricles, negative inside."""
    wide = rng.uniform(0.75, 1.45)
    side = np.abs(grid.x + 0.015 * smooth_noise(rng, grid.shape, (2, 3, 3)))
    y = grid.y + 0.02 * smooth_noise(rng, grid.shape, (2, 3, 3))
    spread = np.clip(0.3 - grid.z, 0, 0.5)  # the horns part further down
    level = _bump(grid.z, 0.12, 0.34)
    horn = ((0.24, -0.44, 0.012), (0.14, -0.33, 0.062), (0.08, -0.16, 0.055), (0.06, 0.02, 0.035))
    tail = ((0.06, 0.02, 0.035), (0.1, 0.16, 0.06), (0.19, 0.32, 0.085), (0.22, 0.5, 0.01))
    front = _to_path(side - 0.08 * spread, y, horn, wide * level)
    body = _to_path(side - 0.3 * spread, y, tail, wide * level)
    third = np.hypot(np.maximum(np.abs(y - 0.06) - 0.13, 0), side) - wide * 0.02 * _bump(grid.z, -0.2, 0.26)
    fourth = np.hypot(side, y - 0.25) - 0.07 * _bump(grid.z, -0.62, 0.22)
    temporal = _to_path(
        side, y, ((0.5, -0.12, 0.01), (0.52, 0.06, 0.035), (0.46, 0.24, 0.03)), wide * _bump(grid.z, -0.4, 0.16)
    )
    return np.minimum.reduce([front, body, temporal, third, fourth]).astype(np.float32)


def _bump(z: Volume, centre: float, reach: float) -> Volume:
    """1 at a level, falling to 0 at `reach` from it and negative beyond."""
    return (1 - ((z - centre) / reach) ** 2).astype(np.float32)


def _nuclei(rng: np.random.Generator, grid: Grid) -> Volume:
    """Depth inside caudate heads, lentiform nuclei and thalami; negative outside."""
    side = np.abs(grid.x)
    centre = rng.uniform(-0.05, 0.05)
    tilt = 0.35 * (side - 0.38)
    caudate = 0.1 * _ball((side - 0.2) / 0.075, (grid.y + 0.27) / 0.14, (grid.z - centre) / 0.26)
    lentiform = 0.12 * _ball(
        (side - 0.38 - 0.3 * (grid.y + 0.05)) / 0.1, (grid.y + 0.05 + tilt) / 0.24, (grid.z + 0.12) / 0.32
    )
    thalamus = 0.12 * _ball((side - 0.16 - 0.1 * grid.y) / 0.11, (grid.y - 0.12) / 0.17, (grid.z + 0.1) / 0.3)
    return np.maximum.reduce([caudate, lentiform, thalamus]).astype(np.float32)


def _to_path(x: Volume, y: Volume, points: tuple[PathPoint, ...], swell: Volume | float = 1.0) -> Volume:
    """Signed distance, in plane, to a tube of straight pieces through (x, y, radius); radii times `swell`."""
    nearest = np.full(x.shape, np.inf, np.float32)
    for (x0, y0, radius0), (x1, y1, radius1) in itertools.pairwise(points):
        along_x, along_y = x1 - x0, y1 - y0
        share = ((x - x0) * along_x + (y - y0) * along_y) / (along_x**2 + along_y**2)
        share = np.clip(share, 0, 1)
        radius = radius0 + (radius1 - radius0) * share
        distance = np.hypot(x - x0 - share * along_x, y - y0 - share * along_y) - radius * swell
        nearest = np.minimum(nearest, distance)
    return (nearest + 0.1 * np.maximum(0.25 - np.asarray(swell), 0)).astype(np.float32)  # tubes end, not thin out
