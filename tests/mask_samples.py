"""Reference volumes of two labels and masks of them by made-up tools, as NIfTI."""

from pathlib import Path

import numpy as np

from segmed.core.volume import Grid, Volume
from segmed.io.volumes import write_volume

SHAPE = (6, 24, 20)
SPACING = (5.0, 0.8, 1.25)
CASES = ("a_1", "a_2", "b_1", "c_1")


def affine(spacing=SPACING, shift=0.0):
    """Slices to the head, rows to the back, columns to the left."""
    found = np.zeros((4, 4))
    found[2, 0], found[1, 1], found[0, 2] = spacing[0], -spacing[1], -spacing[2]
    found[:, 3] = (10.0, 20.0 + shift, -30.0, 1.0)
    return found


def reference(case: str) -> np.ndarray:
    """Label 1, a box that depends on the case, and within it label 2; the last case lacks label 2."""
    mask = np.zeros(SHAPE, np.uint8)
    place = CASES.index(case)
    mask[1:4, 4 : 12 + place, 5:12] = 1
    if case != CASES[-1]:
        mask[2:4, 6:10, 6:10] = 2
    return mask


def write_masks(folder: Path, masks: dict[str, np.ndarray], suffix: str = ".nii.gz", **changes) -> Path:
    """Write masks by case, on the samples' grid or another affine."""
    folder.mkdir(parents=True, exist_ok=True)
    for case, mask in masks.items():
        write_volume(folder / f"{case}{suffix}", Volume(mask, Grid(mask.shape, changes.get("affine", affine()))))
    return folder


def write_references(folder: Path) -> Path:
    return write_masks(folder, {case: reference(case) for case in CASES})


def moved(case: str, rows: int = 1) -> np.ndarray:
    """A mask that lies some rows further."""
    return np.roll(reference(case), rows, axis=1)
