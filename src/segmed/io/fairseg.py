"""How Harvard-FairSeg's npz files (Tian et al., ICLR 2024) name and store image and mask.

Two sets of keys are about: that of the released files (`slo_fundus`, `disc_cup_mask`) and that which the published
code reads (`fundus_slo`, `disc_cup`).
"""

import zipfile
from collections.abc import Set
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from segmed.core.errors import DataError

IMAGE_KEYS = ("slo_fundus", "fundus_slo")
MASK_KEYS = ("disc_cup_mask", "disc_cup")


def is_fairseg(path: Path) -> bool:
    """Whether a file is an NPZ with an image and a mask by these names; no array is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return has_keys({info.filename.removesuffix(".npy") for info in archive.infolist()})
    except Exception:  # zipfile raises several types for a damaged file
        return False


def has_keys(names: Set[str]) -> bool:
    """Whether names of arrays have an image and a mask among them."""
    return not (names.isdisjoint(IMAGE_KEYS) or names.isdisjoint(MASK_KEYS))


def as_labels(path: Path, stored: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """FairSeg's 0, -1 and -2 as 0, 1 (rim) and 2 (cup), uint8. Raises `DataError` for any other value."""
    rounded = np.abs(stored)
    mixed = bool((stored > 0).any() and (stored < 0).any())
    if stored.dtype.kind not in "iufb" or mixed or not np.isin(rounded, (0, 1, 2)).all():
        raise DataError(f"{path}: a FairSeg mask holds 0, -1 and -2 (or 0, 1 and 2), got other values. Check the file.")
    return rounded.astype(np.uint8)
