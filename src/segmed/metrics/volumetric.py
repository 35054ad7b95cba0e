"""Surface distances of one label of one volume, in three dimensions.

The surface of a mask is its voxels with a face at a voxel outside it, as in MONAI; what lies beyond the volume is
outside. Distances run between the centres of surface voxels, in the unit of the spacing, which may differ along the
axes. A volume of one slice, along whichever axis, is measured in its plane, where every voxel would else be surface.

Conventions where a mask is empty, in which libraries disagree:

- The label in neither mask: NaN, nothing to measure.
- The label in only one of them ("one-sided"): no distance exists. HD95 is the diagonal of the volume, a fixed
  penalty, and NSD is 0. MONAI gives NaN or infinity for HD95 and leaves it out of means, which rewards a miss.

HD95 is the larger of the two directed 95th percentiles and NSD the share of both surfaces, counted in voxels, within
the tolerance of the other: MONAI's `compute_hausdorff_distance(percentile=95)` and `compute_surface_dice`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class SurfaceDistances:
    """HD95 in the unit of the spacing and NSD per tolerance, of one label of one volume.

    `one_sided` says that only one of the masks has the label, so that `hd95` is the penalty and `nsd` 0.
    """

    hd95: float
    nsd: tuple[float, ...]
    one_sided: bool


def surface_distances(
    reference: Bool[np.ndarray, "d h w"],
    prediction: Bool[np.ndarray, "d h w"],
    *,
    spacing: Spacing = (1.0, 1.0, 1.0),
    tolerances: Sequence[float] = (1.0, 2.0),
) -> SurfaceDistances:
    """Measure how far apart the surfaces of two masks lie.

    Args:
        reference: The label's mask, `slices rows columns`.
        prediction: The same of the prediction, on the same grid.
        spacing: Size of a voxel along slices, rows and columns. Leave it at 1 where it is unknown, and call the
            result voxels.
        tolerances: Distances within which surfaces count as the same, in the unit of the spacing.

    Returns:
        HD95 and NSD by the module's conventions.

    Example:
        >>> one = np.zeros((3, 4, 5), bool)
        >>> one[1, 1, 1] = True
        >>> surface_distances(one, np.roll(one, 1, axis=0), spacing=(5.0, 1.0, 1.0)).hd95
        5.0
    """
    some = bool(reference.any()), bool(prediction.any())
    if not any(some):
        return SurfaceDistances(math.nan, (math.nan,) * len(tolerances), one_sided=False)
    if not all(some):
        diagonal = math.hypot(*(side * step for side, step in zip(reference.shape, spacing, strict=True)))
        return SurfaceDistances(diagonal, (0.0,) * len(tolerances), one_sided=True)
    flat = tuple(axis for axis, side in enumerate(reference.shape) if side == 1)[:2]  # one voxel is a line of one
    steps = [step for axis, step in enumerate(spacing) if axis not in flat]
    reference, prediction = reference.squeeze(flat), prediction.squeeze(flat)
    box = ndimage.find_objects((reference | prediction).astype(np.uint8))[0]
    outlines = [mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in (reference, prediction)]
    there = ndimage.distance_transform_edt(~outlines[0], sampling=steps)[outlines[1]]
    back = ndimage.distance_transform_edt(~outlines[1], sampling=steps)[outlines[0]]
    both = np.concatenate([there, back])
    return SurfaceDistances(
        hd95=max(float(np.percentile(distances, 95)) for distances in (there, back)),
        nsd=tuple(float(np.mean(both <= limit)) for limit in tolerances),
        one_sided=False,
    )
