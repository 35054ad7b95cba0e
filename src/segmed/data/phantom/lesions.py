"""Tumours to find, and bright spots that are none."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from segmed.core.components import components
from segmed.data.phantom.anatomy import Grid, Tissue
from segmed.data.phantom.fields import Volume, smooth_noise, soft_step

SMALLEST = 12
"""Pieces of a tumour with fewer voxels, and slices with less than half of it, are left out."""


@dataclass(frozen=True)
class Lesion:
    """One patient's tumour: share of tumour tissue (0 to 1), distance inside its border, and its reference mask.

    The mask is 0 or 1; its slices are contiguous, and there is at least one.
    """

    share: Volume
    inside: Volume
    mask: UInt8[np.ndarray, "s h w"]
    enhances: bool
    contrast: float


def make_lesion(rng: np.random.Generator, grid: Grid, tissue: Tissue) -> Lesion:
    """Grow an irregular tumour, sometimes with a satellite, from a random place in the white matter."""
    for _ in range(20):
        lesion = _grow(rng, grid, tissue)
        if lesion.mask.sum() >= 4 * SMALLEST:
            return lesion
    raise RuntimeError("No place for a tumour was found: the brain is drawn too small.")


def _grow(rng: np.random.Generator, grid: Grid, tissue: Tissue) -> Lesion:
    place = _seed_voxel(rng, grid, tissue)
    radius = rng.uniform(0.15, 0.42)
    height = float(np.clip(radius * rng.uniform(0.9, 1.5), 0.2, 0.38))
    squeeze = rng.uniform(0.72, 1.35)
    rough = 0.26 * smooth_noise(rng, grid.shape, (4, 9, 9)) + 0.15 * smooth_noise(rng, grid.shape, (6, 26, 26))
    inside = _blob(grid, place, (radius * squeeze, radius / squeeze, height))
    if rng.random() < 0.25:
        angle, away = rng.uniform(0, 2 * np.pi), 1.25 * radius
        beside = (place[0] + away * np.cos(angle), place[1] + away * np.sin(angle), place[2])
        inside = np.maximum(inside, _blob(grid, beside, (0.45 * radius, 0.45 * radius, 0.6 * height)))
    inside = radius * (inside + rough)
    allowed = np.minimum.reduce([tissue.depth - 0.02, tissue.ventricle_distance, 2 * tissue.cerebrum - 1])
    inside = np.minimum(inside, allowed).astype(np.float32)
    mask = _tidy(inside > 0)
    softness = rng.uniform(0.012, 0.035)
    share = soft_step(np.where(mask, np.maximum(inside, 0), np.minimum(inside, 0)), softness)
    share = (share * np.where(mask, 1, _fringe(mask))).astype(np.float32)
    return Lesion(share, inside, mask.astype(np.uint8), bool(rng.random() < 0.4), float(rng.uniform(0.4, 1.0)))


def bright_spots(rng: np.random.Generator, grid: Grid, tissue: Tissue) -> Volume:
    """What is bright on FLAIR without being tumour: caps and rims of the ventricles, small spots, edge artefacts."""
    uneven = soft_step(smooth_noise(rng, grid.shape, (3, 9, 9)) - rng.uniform(-0.3, 1.1), 0.4)
    rim = np.exp(-(((tissue.ventricle_distance - 0.02) / rng.uniform(0.02, 0.045)) ** 2)) * uneven
    spots = soft_step(smooth_noise(rng, grid.shape, (9, 26, 26)) - rng.uniform(2.1, 3.0), 0.2) * tissue.white
    patches = soft_step(smooth_noise(rng, grid.shape, (4, 7, 7)) - rng.uniform(0.4, 1.4), 0.3)
    edge = np.exp(-(((tissue.depth - 0.03) / 0.04) ** 2)) * patches
    return np.maximum.reduce([rim, 0.9 * spots, rng.uniform(0.4, 1.0) * edge]).astype(np.float32)


def _seed_voxel(rng: np.random.Generator, grid: Grid, tissue: Tissue) -> tuple[float, float, float]:
    fits = (tissue.white > 0.6) & (tissue.cerebrum > 0) & (tissue.depth > 0.12) & (np.abs(grid.z - 0.08) < 0.42)
    candidates = np.flatnonzero(fits & (tissue.ventricle_distance > 0.06) & (np.abs(grid.x) > 0.15))
    here = candidates[rng.integers(len(candidates))]
    return float(grid.x.flat[here]), float(grid.y.flat[here]), float(grid.z.flat[here])


def _blob(grid: Grid, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Volume:
    """1 in the centre, 0 on an ellipsoid's surface, negative outside."""
    across, down, up = ((a - c) / r for a, c, r in zip((grid.x, grid.y, grid.z), centre, radii, strict=True))
    return (1 - np.sqrt(across**2 + down**2 + up**2)).astype(np.float32)


def _tidy(mask: Bool[np.ndarray, "s h w"]) -> Bool[np.ndarray, "s h w"]:
    """Drop crumbs, fill holes in each slice, and keep the largest run of slices without a gap."""
    pieces = components(mask, corners=False)
    kept = pieces.where(pieces.sizes >= SMALLEST)
    kept = np.stack([ndimage.binary_fill_holes(plane) for plane in kept])
    areas = kept.sum(axis=(1, 2))
    runs, _ = ndimage.label(areas >= SMALLEST / 2)
    volumes = np.bincount(runs, weights=areas)
    volumes[0] = -1
    largest = (runs == volumes.argmax()) & (runs > 0)
    return kept & largest[:, None, None]


def _fringe(mask: Bool[np.ndarray, "s h w"]) -> Volume:
    """1 at the mask's border, falling to 0 within a few pixels of it and in the slices above and below."""
    return np.minimum(2 * ndimage.gaussian_filter(mask.astype(np.float32), (0.5, 2.0, 2.0)), 1)
