"""Surface metrics of one patient and label: HD95 and normalised surface Dice, within slices, in pixels.

Why within slices: the slices' distance is unknown (LGG files carry no spacing and it differs between hospitals),
so a distance through the volume would have no unit. Each slice is measured in its plane and a patient's surface
pixels are pooled. The surface of a mask is its pixels that touch a pixel outside it by an edge, as in MONAI.

Conventions for empties, where libraries disagree:

- Slice with the label in neither mask: nothing to measure, left out.
- Slice with the label in only one mask ("one-sided"): no distance exists in its plane. NSD counts its surface
  pixels as not within tolerance; for HD95 each lies the diagonal of the image away, a fixed penalty. Left out, they
  would flatter a model that predicts the easy slices only. `one_sided_slices` counts such slices.
- Patient with the label in no slice in both masks, so one that is missed or all false alarm: HD95 is the diagonal.
  MONAI gives NaN and leaves it out of the mean, which rewards both.
- Patient with the label in neither mask: NaN.

So HD95 is mostly a count of misses where there are any. The same two scores over the slices that both masks mark
("shared" slices), with no penalty in them, are given beside: NaN where no slice is shared.

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
    """HD95 in the unit of the spacing (pixels by default), NSD per tolerance (0 to 1), and one-sided slices.

    `hd95_shared` and `nsd_shared` are over the slices that both masks mark; NaN where there are none.
    """

    hd95: float
    nsd: tuple[float, ...]
    one_sided_slices: int
    hd95_shared: float = math.nan
    nsd_shared: tuple[float, ...] = ()


def surface_scores(
    reference: Sequence[Bool[np.ndarray, "h w"]],
    prediction: Sequence[Bool[np.ndarray, "h w"]],
    *,
    tolerances: Sequence[float] = (1.0, 2.0),
    spacing: tuple[float, float] = (1.0, 1.0),
) -> SurfaceScores:
    """Score one label of one patient, given its slices.

    Args:
        reference: The slices' masks, bool, rows by columns.
        prediction: As many, of the same sizes.
        tolerances: For each a normalised surface Dice, in the unit of `spacing`.
        spacing: Size of a pixel along rows and columns, in mm: leave it at 1 where it is unknown, and call the result
            pixels.

    Returns:
        Distances in the unit of `spacing`, shares from 0 to 1; NaN where neither has the label.

    Raises:
        ValueError: Not as many slices in both, or slices of several sizes.

    Example:
        >>> reference = np.zeros((9, 12), bool)
        >>> reference[2:6, 3:8] = True
        >>> moved = np.roll(reference, 2, axis=1)
        >>> surface_scores([reference], [moved]).hd95
        2.0
        >>> surface_scores([reference], [moved], spacing=(1.0, 0.5)).hd95
        1.0
    """
    if len({mask.shape for mask in (*reference, *prediction)}) > 1:
        raise ValueError("Slices of one volume are of one size. Score volumes of other sizes apart.")
    to_reference: list[Float64[np.ndarray, "n"]] = []
    to_prediction: list[Float64[np.ndarray, "n"]] = []
    one_sided = 0
    for truth, guess in zip(reference, prediction, strict=True):
        one_sided += bool(truth.any()) != bool(guess.any())
        there, back = _distances(truth, guess, spacing)
        to_reference.append(there)
        to_prediction.append(back)
    directed = np.concatenate(to_reference), np.concatenate(to_prediction)
    diagonal = math.hypot(*(n * s for n, s in zip(reference[0].shape, spacing, strict=True)))
    there, back = (distances[np.isfinite(distances)] for distances in directed)
    return SurfaceScores(
        hd95=_hd95([np.minimum(distances, diagonal) for distances in directed]),
        nsd=_nsd(np.concatenate(directed), tolerances),
        one_sided_slices=one_sided,
        hd95_shared=_hd95([there, back]),
        nsd_shared=_nsd(np.concatenate([there, back]), tolerances),
    )


def _hd95(directed: Sequence[Float64[np.ndarray, "_n"]]) -> float:
    """The larger 95th percentile of those directions that have a distance; NaN where none has."""
    return max((float(np.percentile(distances, 95)) for distances in directed if distances.size), default=math.nan)


def _nsd(distances: Float64[np.ndarray, "n"], tolerances: Sequence[float]) -> tuple[float, ...]:
    """The share of distances within each tolerance; NaN where there is none."""
    return tuple(float(np.mean(distances <= limit)) if distances.size else math.nan for limit in tolerances)


def surface(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The pixels of a mask with a neighbour by an edge outside it; beyond the image counts as outside."""
    return mask & ~ndimage.binary_erosion(mask)


def _distances(
    reference: Bool[np.ndarray, "h w"], prediction: Bool[np.ndarray, "h w"], spacing: tuple[float, float]
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "m"]]:
    """From each predicted surface pixel to the reference's surface, and the other way; infinite where one is empty."""
    boxes = ndimage.find_objects((reference | prediction).astype(np.uint8))
    box = boxes[0] if boxes else (slice(0), slice(0))
    edge_reference, edge_prediction = surface(reference[box]), surface(prediction[box])
    if not (edge_reference.any() and edge_prediction.any()):
        return np.full(np.count_nonzero(edge_prediction), np.inf), np.full(np.count_nonzero(edge_reference), np.inf)
    from_reference = ndimage.distance_transform_edt(~edge_reference, sampling=spacing)
    from_prediction = ndimage.distance_transform_edt(~edge_prediction, sampling=spacing)
    return from_reference[edge_prediction], from_prediction[edge_reference]
