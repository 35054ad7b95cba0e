"""A toy data set that a small network learns in a few steps: bright squares on noise, in the Kaggle layout."""

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from segmed.data.decoded import DecodedDataset, decode
from segmed.data.sources import open_dataset


def write_toy(root: Path, *, patients: int = 6, slices: int = 4, size: tuple[int, int] = (48, 40)) -> Path:
    """Write `patients` volumes whose second half of slices carries a bright square, and return the folder."""
    rng = np.random.default_rng(0)
    folder = root / "kaggle_3m"
    for patient in range(patients):
        site = "AA" if patient % 2 else "BB"
        name = f"TOY_{site}_{patient:04d}_20000101"
        (folder / name).mkdir(parents=True)
        for number in range(1, slices + 1):
            image = rng.integers(1, 60, (*size, 3), np.uint8)
            mask = np.zeros(size, np.uint8)
            if number > slices // 2:
                top, left = rng.integers(4, 12, 2)
                mask[top : top + 14 + patient, left : left + 14] = 255
                image[mask > 0] += 150
            Pillow.fromarray(image).save(folder / name / f"{name}_{number}.tif")
            Pillow.fromarray(mask).save(folder / name / f"{name}_{number}_mask.tif")
    return root


def toy(root: Path, *, patients: int = 6, slices: int = 4, size: tuple[int, int] = (48, 40)) -> DecodedDataset:
    """The toy data set, decoded under `root`."""
    write_toy(root, patients=patients, slices=slices, size=size)
    return decode(open_dataset(root), cache_dir=root / "cache")
