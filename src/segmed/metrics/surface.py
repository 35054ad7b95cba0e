"""Surface metrics of one patient and label: HD95 and normalised surface Dice, within slices, in pixels.

Why within slices: the slices' distance is unknown (LGG files carry no spacing and it differs between hospitals),
so a distance through the volume would have no unit. Each slice is measured in its plane and a patient's surface
pixels are pooled. The surface of a mask is its pixels that touch a pixel outside it by an edge, as in MONAI.

Conventions for empties, where libraries disagree:

- Slice with the label in neither mask: nothing to measure, left out.
- Slice with the label in only one mask ("one-sided"): NSD counts its surface pixels as not within tolerance.
  HD95 leaves the slice out, as no distance exists in its plane; it is counted in `one_sided_slices`, without
  which HD95 must not be read: predicting only the easy slices would flatter it.
- Patient with the label in both masks, or in one, but in no slice in both: HD95 is a fixed penalty, the diagonal
  of the image. MONAI gives NaN for an empty prediction and leaves it out of the mean, which rewards misses.
- Patient with the label in neither mask: NaN.

HD95 is the larger of the two directed 95th percentiles (MONAI's `HausdorffDistanceMetric(percentile=95)`); NSD is
the share of both surfaces within the tolerance of the other (Nikolov et al., arXiv 1809.04430, counted in pixels
as MONAI's `SurfaceDiceMetric` does, not in surface area). Equal to MONAI slice by slice (see the tests); computed
with scipy on the bounding box, since MONAI returns shares and pooling needs counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage


@dataclass(frozen=True)
class SurfaceScores:
    """HD95 in the unit of the spacing (pixels by default), NSD per tolerance (0 to 1), and one-sided slices."""

    hd95: float
    nsd: tuple[float, ...]
    one_sided_slices: int


def surface_scores(
    reference: Sequence[Bool[np.ndarray, "h w"]],
    prediction: Sequence[Bool[np.ndarray, "h w"]],
    *,
    tolerances: Sequence[float] = (1.0, 2.0),
    spacing: tuple[float, float] = (1.0, 1.0),
) -> SurfaceScores:
    """Score one label of one patient, given its slices.

    `spacing` is (row, column) size of a pixel: leave it at 1 where it is unknown, and call the result pixels.
    """
    to_reference: list[Float64[np.ndarray, "n"]] = []
    to_prediction: list[Float64[np.ndarray, "n"]] = []
    one_sided, one_sided_surface = 0, 0
    for truth, guess in zip(reference, prediction, strict=True):
        if truth.any() and guess.any():
            there, back = _distances(truth, guess, spacing)
            to_reference.append(there)
            to_prediction.append(back)
        elif truth.any() or guess.any():
            one_sided += 1
            one_sided_surface += int(np.count_nonzero(surface(truth | guess)))
    if not to_reference:
        diagonal = math.hypot(*(n * s for n, s in zip(reference[0].shape, spacing, strict=True)))
        hd95 = diagonal if one_sided else math.nan
        return SurfaceScores(hd95, tuple(0.0 if one_sided else math.nan for _ in tolerances), one_sided)
    directed = np.concatenate(to_reference), np.concatenate(to_prediction)
    pooled = np.concatenate(directed)
    nsd = (np.count_nonzero(pooled <= t) / (pooled.size + one_sided_surface) for t in tolerances)
    return SurfaceScores(
        hd95=max(float(np.percentile(distances, 95)) for distances in directed),
        nsd=tuple(float(share) for share in nsd),
        one_sided_slices=one_sided,
    )


def surface(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The pixels of a mask with a neighbour by an edge outside it; beyond the image counts as outside."""
    return mask & ~ndimage.binary_erosion(mask)


def _distances(
    reference: Bool[np.ndarray, "h w"], prediction: Bool[np.ndarray, "h w"], spacing: tuple[float, float]
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "m"]]:
    """From each predicted surface pixel to the reference's surface, and the other way."""
    box = ndimage.find_objects((reference | prediction).astype(np.uint8))[0]
    edge_reference, edge_prediction = surface(reference[box]), surface(prediction[box])
    from_reference = ndimage.distance_transform_edt(~edge_reference, sampling=spacing)
    from_prediction = ndimage.distance_transform_edt(~edge_prediction, sampling=spacing)
    return from_reference[edge_prediction], from_prediction[edge_reference]
