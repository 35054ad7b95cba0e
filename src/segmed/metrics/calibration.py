"""Calibration of probabilities where it is a question: near the tumour.

Over all pixels, 99 % of which are easy background, every model looks calibrated. So it is measured in the tumour
band: the reference's pixels and those within `BAND` pixels of them in their slice. Slices without the label have
no band; false alarms there are seen by other metrics. Expected calibration error as in Guo et al. (ICML 2017),
eq. 3, with equal bins of probability, taken over the probability of the label rather than the top-class confidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy import ndimage

BAND = 10.0
BINS = 10


@dataclass(frozen=True)
class ReliabilitySums:
    """Per bin of probability: pixels, the sum of their probabilities and of their labels; and squared errors.

    Sums can be added over slices and patients; `squared_error` is the sum of (probability - label)^2.
    """

    pixels: Int64[np.ndarray, "bins"]
    probability: Float64[np.ndarray, "bins"]
    positive: Float64[np.ndarray, "bins"]
    squared_error: float

    @property
    def brier(self) -> float:
        """Mean squared error of the probability in the band; NaN for an empty band."""
        number = int(self.pixels.sum())
        return self.squared_error / number if number else float("nan")

    def __add__(self, other: "ReliabilitySums") -> "ReliabilitySums":
        """Sums over two regions taken together."""
        return ReliabilitySums(
            self.pixels + other.pixels,
            self.probability + other.probability,
            self.positive + other.positive,
            self.squared_error + other.squared_error,
        )


def bin_edges(bins: int = BINS) -> Float64[np.ndarray, "edges"]:
    """Edges of the equal bins of probability from 0 to 1."""
    return np.linspace(0.0, 1.0, bins + 1)


def tumour_band(reference: Bool[np.ndarray, "h w"], width: float = BAND) -> Bool[np.ndarray, "h w"]:
    """Pixels of the reference and those at most `width` pixels from it."""
    if not reference.any():
        return np.zeros_like(reference)
    return np.asarray(ndimage.distance_transform_edt(~reference) <= width)


def reliability(
    reference: Sequence[Bool[np.ndarray, "h w"]], probability: Sequence[Float[np.ndarray, "h w"]], bins: int = BINS
) -> ReliabilitySums:
    """Reliability sums of one label of one patient in its tumour band; probabilities are 0 to 1."""
    sums = _in_bins(np.zeros(0), np.zeros(0, bool), bins)
    for truth, guess in zip(reference, probability, strict=True):
        band = tumour_band(truth)
        sums += _in_bins(guess[band].astype(np.float64), truth[band], bins)
    return sums


def expected_calibration_error(
    pixels: Float64[np.ndarray, "*batch bins"],
    probability: Float64[np.ndarray, "*batch bins"],
    positive: Float64[np.ndarray, "*batch bins"],
) -> Float64[np.ndarray, "*batch"]:
    """Sum over bins of |mean probability - observed frequency| weighted by pixels; NaN without a pixel."""
    number = pixels.sum(axis=-1)
    gaps = np.abs(probability - positive).sum(axis=-1)
    return np.divide(gaps, number, out=np.full(np.shape(number), np.nan), where=number > 0)


def _in_bins(probability: Float64[np.ndarray, "n"], positive: Bool[np.ndarray, "n"], bins: int) -> ReliabilitySums:
    index = np.clip((probability * bins).astype(np.int64), 0, bins - 1)
    return ReliabilitySums(
        pixels=np.bincount(index, minlength=bins).astype(np.int64),
        probability=np.bincount(index, weights=probability, minlength=bins).astype(np.float64),
        positive=np.bincount(index, weights=positive, minlength=bins).astype(np.float64),
        squared_error=float(np.square(probability - positive).sum()),
    )
