"""From tissue to three MR sequences: contrasts, coil, blur, noise and the scan's gaps."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from segmed.data.layouts.lgg import FLAIR, POST, PRE
from segmed.data.phantom.anatomy import Grid, Tissue, make_grid, make_tissue
from segmed.data.phantom.fields import Volume, smooth_noise
from segmed.data.phantom.lesions import Lesion, bright_spots, make_lesion


@dataclass(frozen=True)
class Contrast:
    """Brightness of each tissue in one sequence, 0 to 1."""

    white: float
    grey: float
    fluid: float
    tumour: float


CONTRASTS = {
    PRE: Contrast(white=0.66, grey=0.47, fluid=0.15, tumour=0.40),
    FLAIR: Contrast(white=0.40, grey=0.53, fluid=0.10, tumour=0.86),
    POST: Contrast(white=0.62, grey=0.49, fluid=0.15, tumour=0.42),
}


@dataclass(frozen=True)
class Scanner:
    """How one institution scans: slices per patient, noise and coil."""

    slices: tuple[int, int]
    noise: float
    bias: float


SCANNERS = {
    "AA": Scanner(slices=(20, 24), noise=0.024, bias=0.22),
    "BB": Scanner(slices=(18, 21), noise=0.034, bias=0.28),
    "CC": Scanner(slices=(22, 26), noise=0.019, bias=0.17),
}


@dataclass(frozen=True)
class Study:
    """One patient's slices, RGB as (pre, FLAIR, post), and masks of 0 or 1."""

    images: UInt8[np.ndarray, "s h w 3"]
    masks: UInt8[np.ndarray, "s h w"]


def scan(rng: np.random.Generator, scanner: Scanner, *, size: int, slices: int, no_post: bool, no_pre: bool) -> Study:
    """Make a patient and scan it. A missing sequence is an exact copy of FLAIR, as in the LGG files."""
    grid = make_grid(rng, slices, size)
    tissue = make_tissue(rng, grid)
    lesion = make_lesion(rng, grid, tissue)
    spots = bright_spots(rng, grid, tissue)
    signals = _signals(rng, grid, tissue, lesion, spots)
    sequences = [_acquire(rng, signal, scanner, size) for signal in signals]
    if no_post:
        sequences[POST] = sequences[FLAIR]
    if no_pre:
        sequences[PRE] = sequences[FLAIR]
    images = np.stack(sequences, axis=-1)
    images[-1] = 0  # beyond the vertex nothing was reconstructed
    if rng.random() < 0.5 and not lesion.mask[0].any():
        images[0, :, :, FLAIR:] = 0
    masks = lesion.mask * (images.max(axis=(1, 2, 3)) > 0)[:, None, None].astype(np.uint8)
    return Study(images, masks)


def _signals(
    rng: np.random.Generator, grid: Grid, tissue: Tissue, lesion: Lesion, spots: Volume
) -> tuple[Volume, Volume, Volume]:
    """Noise-free brightness of the three sequences, 0 to about 1."""
    texture = 0.5 * smooth_noise(rng, grid.shape, (8, 40, 40)) + 0.5 * smooth_noise(rng, grid.shape, (5, 14, 14))
    uneven = 1 + 0.16 * smooth_noise(rng, grid.shape, (4, 16, 16))
    brain = tissue.white + tissue.grey + tissue.fluid
    share = lesion.share * (1 - 0.35 * tissue.fluid) * np.minimum(brain, 1)
    painted = []
    for sequence, contrast in CONTRASTS.items():
        white, grey, fluid, _ = np.array(_values(contrast)) * rng.uniform(0.93, 1.07, 4)
        healthy = white * tissue.white + grey * tissue.grey + fluid * tissue.fluid
        healthy = healthy * (1 + 0.03 * texture)
        if sequence == FLAIR:
            healthy = healthy + (0.78 - healthy) * spots * np.minimum(brain, 1) * (1 - tissue.fluid)
        tumour = white + (contrast.tumour - white) * lesion.contrast * uneven
        painted.append(healthy + (tumour * brain - healthy) * share)
    pre, flair, post = painted
    post = post + _enhancement(rng, grid, tissue, lesion)
    return pre.astype(np.float32), flair.astype(np.float32), post.astype(np.float32)


def _values(contrast: Contrast) -> tuple[float, float, float, float]:
    return contrast.white, contrast.grey, contrast.fluid, contrast.tumour


def _enhancement(rng: np.random.Generator, grid: Grid, tissue: Tissue, lesion: Lesion) -> Volume:
    """Contrast agent: vessels of the sulci, the sinus behind, and the rim of some tumours."""
    veins = tissue.fluid * (0.25 + 0.75 * (tissue.ventricle_distance > 0.02))
    vessels = 0.45 * veins * np.clip(smooth_noise(rng, grid.shape, (8, 34, 34)) - 0.6, 0, 1)
    sinus = 0.5 * np.exp(-((grid.x / 0.035) ** 2) - ((tissue.depth - 0.015) / 0.03) ** 2) * (grid.y > 0.3)
    agent = vessels + sinus * (tissue.fluid + tissue.grey)
    if lesion.enhances:
        patchy = np.clip(0.7 + 0.5 * smooth_noise(rng, grid.shape, (4, 12, 12)), 0, 1)
        deep = float(lesion.inside.max())
        rim = np.exp(-(((lesion.inside - 0.5 * deep) / (0.16 * deep)) ** 2))
        core = lesion.inside > 0.55 * deep
        agent = agent + lesion.share * (0.42 * rim * patchy - 0.12 * core)
    return agent.astype(np.float32)


def _acquire(rng: np.random.Generator, signal: Volume, scanner: Scanner, size: int) -> UInt8[np.ndarray, "s h w"]:
    """Coil, point spread, Rician noise, and the scaling to 8 bits."""
    field = np.exp(scanner.bias * smooth_noise(rng, signal.shape, (2, 2, 2)))
    field = field / field.mean()
    blurred = ndimage.gaussian_filter(signal, (0.0, 0.6 * size / 256 + 0.15, 0.6 * size / 256 + 0.15))
    level = np.float32(scanner.noise * rng.uniform(0.75, 1.25))
    real = blurred * field + level * rng.standard_normal(signal.shape, np.float32)
    imaginary = level * rng.standard_normal(signal.shape, np.float32)
    gain = rng.uniform(170, 235)
    return np.clip(gain * np.hypot(real, imaginary), 0, 255).astype(np.uint8)
