"""Connected components of a mask: the one place that says what touches what, and counts it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int


@dataclass(frozen=True, eq=False)
class Components:
    """The n components of a mask, numbered from 1 in the order in which their first pixel is met.

    `labels` has the number of each pixel's component, 0 outside; `sizes[i]` is the number of pixels of component i + 1.
    """

    labels: Int[np.ndarray, "*grid"]
    sizes: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.sizes)

    def where(self, chosen: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, "*grid"]:
        """The pixels of the chosen components."""
        return np.asarray(np.concatenate([[False], chosen])[self.labels])


def components(mask: Bool[np.ndarray, "*grid"], *, corners: bool = True, within_slices: bool = False) -> Components:
    """Find the components of a mask.

    Args:
        mask: of any number of dimensions; a volume has its slices first.
        corners: whether pixels that share but a corner touch: 8-connected in a slice and 26-connected in a volume, else
            4- and 6-connected.
        within_slices: whether slices of a volume are kept apart.

    Example:
        >>> components(np.eye(3, dtype=bool)).sizes.tolist()
        [3]
        >>> components(np.eye(3, dtype=bool), corners=False).sizes.tolist()
        [1, 1, 1]
    """
    from scipy import ndimage  # slow to import, and not needed by those who only list files

    structure = ndimage.generate_binary_structure(mask.ndim, mask.ndim if corners else 1)
    if within_slices:
        structure[[0, 2]] = False
    labels, count = ndimage.label(mask, structure)
    return Components(labels, np.bincount(labels.ravel(), minlength=count + 1)[1:])
