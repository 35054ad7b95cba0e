"""All metrics of an evaluation, in the order of its tables. A new metric is a row here, and nothing else.

With several labels a patient's value is the mean over labels, and a pooled number is pooled per label and then
averaged; every metric is also given for each label alone (`evaluation.table`).
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from jaxtyping import Float64

from segmed.evaluation.metric import Found, Group, Metric, OverPatients, OverSlices, Subject
from segmed.evaluation.scored import Scored
from segmed.evaluation.statistics import Interval, Statistic, interval, ratio_of
from segmed.metrics import counts as overlap
from segmed.metrics.calibration import BAND, expected_calibration_error
from segmed.metrics.counts import Counts
from segmed.metrics.iou_variants import BATCH_SIZES, batch_mean


def _nsd(place: int, *, shared: bool) -> Callable[[Subject], float]:
    """The share of surface within the limit at `place`, over all slices or those that both masks mark."""
    return lambda s: (s.surfaces.nsd_shared if shared else s.surfaces.nsd)[place]


def _share(
    numerator: Callable[[Scored], Float64[np.ndarray, "k p"]], units: Callable[[Scored], Float64[np.ndarray, "k p"]]
) -> OverSlices:
    """A sum over slices divided by the number of those that `units` counts."""
    return OverSlices(lambda s: ratio_of(numerator(s), units(s)), units)


def _pooled(statistic: Callable[[Scored], Statistic]) -> OverSlices:
    return OverSlices(statistic, lambda s: s.all_slices)


def _two_class(scored: Scored) -> Statistic:
    """The mean of foreground and background IoU, each over all pixels."""
    foreground = ratio_of(scored.tp, scored.tp + scored.fp + scored.fn)
    background = ratio_of(scored.tn, scored.tn + scored.fp + scored.fn)

    def statistic(drawn: Float64[np.ndarray, "b p"]) -> Float64[np.ndarray, "b"]:
        return np.asarray((foreground(drawn) + background(drawn)) / 2)

    return statistic


def _patients_missed(scored: Scored) -> Found:
    missed = scored.column("missed").max(axis=0)
    return Found(interval(lambda drawn: drawn @ missed, scored.weights), len(missed))


def _in_batches(scored: Scored, size: int) -> Found:
    """IoU as a mean over batches; a batch spans patients, so there is no interval over patients."""
    counts = [
        [Counts(row.tp, row.fp, row.fn, row.tn) for row in scored.slices if row.label == label]
        for label in scored.labels
    ]
    value = sum(batch_mean(some, size) for some in counts) / len(counts)
    return Found(Interval(value, math.nan, math.nan), sum(-(-len(some) // size) for some in counts))


def _calibration_error(scored: Scored) -> Found | None:
    if not scored.reliability:
        return None
    pixels = np.stack([sums.pixels for sums in scored.reliability]).astype(np.float64)
    probability = np.stack([sums.probability for sums in scored.reliability])
    positive = np.stack([sums.positive for sums in scored.reliability])

    def statistic(drawn: Float64[np.ndarray, "b p"]) -> Float64[np.ndarray, "b"]:
        return expected_calibration_error(drawn @ pixels, drawn @ probability, drawn @ positive)

    with_band = int(np.count_nonzero(pixels.sum(axis=1)))
    return Found(interval(statistic, scored.weights), with_band, len(scored.reliability) - with_band)


def _brier(subject: Subject) -> float:
    return math.nan if subject.band is None else subject.band.brier


_VOLUME, _SURFACE, _, _LESIONS, _SLICES, _VARIANTS, _CALIBRATION = Group

METRICS: tuple[Metric, ...] = (
    Metric(
        "dice", "Dice", "", "higher", _VOLUME, "Volumetric Dice, mean over patients",
        OverPatients("dice", lambda s: overlap.dice(s.counts)), main=True, terminal=True,
    ),
    Metric(
        "dice_median", "Dice, median", "", "higher", _VOLUME, "Volumetric Dice, median over patients",
        OverPatients("dice", summary="median"), terminal=True,
    ),
    Metric(
        "iou", "IoU", "", "higher", _VOLUME, "Volumetric IoU, mean over patients",
        OverPatients("iou", lambda s: overlap.iou(s.counts)), main=True, terminal=True,
    ),
    Metric(
        "sensitivity", "Sensitivity", "", "higher", _VOLUME,
        "Share of the foreground's volume found, mean over patients",
        OverPatients("sensitivity", lambda s: overlap.sensitivity(s.counts)),
    ),
    Metric(
        "precision", "Precision", "", "higher", _VOLUME,
        "Share of the predicted volume that is right, mean over patients",
        OverPatients("precision", lambda s: overlap.precision(s.counts)),
    ),
    Metric(
        "volume_bias", "Volume bias", "", None, _VOLUME,
        "(predicted - reference) / reference volume, mean over patients",
        OverPatients("volume_error", lambda s: overlap.volume_error(s.counts)),
    ),
    Metric(
        "volume_error", "Volume error", "", "lower", _VOLUME,
        "|predicted - reference| / reference volume, mean over patients",
        OverPatients("volume_error_abs", lambda s: abs(overlap.volume_error(s.counts))), terminal=True,
    ),
    Metric(
        "missed", "Missed", "patients", "lower", _VOLUME, "Patients with a label of which not one pixel was found",
        _patients_missed, main=True, terminal=True, over_labels="any label",
    ),
    Metric(
        "hd95", "HD95 with penalty", "px", "lower", _SURFACE,
        "95th percentile surface distance in the slice (one mask empty: its diagonal), mean over patients",
        OverPatients("hd95", lambda s: s.surfaces.hd95), main=True, terminal=True,
    ),
    Metric(
        "hd95_median", "HD95, median", "px", "lower", _SURFACE,
        "95th percentile surface distance in the slice (one mask empty: its diagonal), median over patients",
        OverPatients("hd95", summary="median"),
    ),
    Metric(
        "hd95_shared", "HD95, shared slices", "px", "lower", _SURFACE,
        "95th percentile surface distance in the slices that both masks mark, mean over patients",
        OverPatients("hd95_shared", lambda s: s.surfaces.hd95_shared), main=True, terminal=True,
    ),
    Metric(
        "one_sided_slices", "One-sided slices", "", "lower", _SURFACE,
        "Share of slices with foreground in only one of both masks, of those with any",
        _share(lambda s: s.column("one_sided_slices"), lambda s: s.anything), main=True, terminal=True,
    ),
    *(
        Metric(
            f"nsd_{limit}px", f"NSD {limit} px", "", "higher", _SURFACE,
            f"Share of surface within {limit} px in the slice, mean over patients",
            OverPatients(f"nsd_{limit}px", _nsd(place, shared=False)),
            main=limit == 2, terminal=True,
        )
        for place, limit in enumerate((1, 2))
    ),
    *(
        Metric(
            f"nsd_{limit}px_shared", f"NSD {limit} px, shared", "", "higher", _SURFACE,
            f"Share of surface within {limit} px in the slices that both masks mark, mean over patients",
            OverPatients(f"nsd_{limit}px_shared", _nsd(place, shared=True)),
            terminal=limit == 2,
        )
        for place, limit in enumerate((1, 2))
    ),
    Metric(
        "lesion_f1", "Lesion F1", "", "higher", _LESIONS, "F1 over lesions (3D, IoU > 0.1), mean over patients",
        OverPatients("lesion_f1", lambda s: s.lesions.f1), main=True, terminal=True,
    ),
    Metric(
        "lesion_precision", "Lesion precision", "", "higher", _LESIONS,
        "Share of found lesions that are real, mean over patients",
        OverPatients("lesion_precision", lambda s: s.lesions.precision),
    ),
    Metric(
        "lesion_recall", "Lesion recall", "", "higher", _LESIONS, "Share of lesions found, mean over patients",
        OverPatients("lesion_recall", lambda s: s.lesions.recall),
    ),
    Metric(
        "dice_positive_slices", "Slice Dice", "", "higher", _SLICES,
        "Dice of a slice, mean over slices with foreground",
        _share(lambda s: s.summed_where_positive(lambda row: row.dice), lambda s: s.positive),
        main=True, terminal=True,
    ),
    Metric(
        "iou_positive_slices", "Slice IoU", "", "higher", _SLICES, "IoU of a slice, mean over slices with foreground",
        _share(lambda s: s.summed_where_positive(lambda row: row.iou), lambda s: s.positive),
        terminal=True,
    ),
    Metric(
        "specificity_empty_slices", "Specificity", "", "higher", _SLICES,
        "Share of the slices without foreground that are left empty",
        _share(lambda s: s.all_slices - s.anything, lambda s: s.negative), main=True, terminal=True,
    ),
    Metric(
        "dice_pooled", "Dice, pooled", "", "higher", _VARIANTS,
        "Dice of the foreground pixels of all slices together",
        _pooled(lambda s: ratio_of(2 * s.tp, 2 * s.tp + s.fp + s.fn)),
    ),
    Metric(
        "iou_pooled", "IoU, pooled", "", "higher", _VARIANTS, "IoU of the foreground pixels of all slices together",
        _pooled(lambda s: ratio_of(s.tp, s.tp + s.fp + s.fn)), terminal=True,
    ),
    Metric(
        "iou_per_image_empty_one", "IoU per image, empty = 1", "", "higher", _VARIANTS,
        "IoU of a slice, 1 where it is empty in both masks, mean over slices",
        _share(lambda s: s.summed(s.iou_or_one), lambda s: s.all_slices), terminal=True,
    ),
    Metric(
        "iou_two_class_macro", "IoU, two-class macro", "", "higher", _VARIANTS,
        "Mean of IoU of background and of foreground, each over the pixels of all slices",
        _pooled(_two_class), terminal=True,
    ),
    Metric(
        "iou_two_class_macro_per_image", "IoU, two-class per image", "", "higher", _VARIANTS,
        "Mean of IoU of background and of foreground in a slice, 1 where empty in both masks, mean over slices",
        _share(lambda s: s.summed((s.iou_or_one + s.background_iou) / 2), lambda s: s.all_slices), terminal=True,
    ),
    Metric(
        "iou_one_hot_micro", "IoU, one-hot micro", "", "higher", _VARIANTS,
        "IoU over the pixels of background and foreground channels of all slices together",
        _pooled(lambda s: ratio_of(s.tp + s.tn, s.tp + s.tn + 2 * (s.fp + s.fn))), terminal=True,
    ),
    *(
        Metric(
            f"iou_batch_{size}", f"IoU, batches of {size}", "", "higher", _VARIANTS,
            f"IoU of the pixels of {size} slices in their order, 1 if empty, mean over batches",
            partial(_in_batches, size=size),
        )
        for size in BATCH_SIZES
    ),
    Metric(
        "ece", "ECE", "", "lower", _CALIBRATION,
        f"Expected calibration error within {BAND:g} px of foreground, pixels of all patients together",
        _calibration_error, terminal=True, over_labels="labels together", of_probabilities=True,
    ),
    Metric(
        "brier", "Brier score", "", "lower", _CALIBRATION,
        f"Squared error of probability within {BAND:g} px of foreground, mean over patients",
        OverPatients("brier", _brier, optional=True), terminal=True, of_probabilities=True,
    ),
)  # fmt: skip
"""Every metric, in the order of tables."""

BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}

COLUMNS: Mapping[str, Callable[[Subject], float]] = {
    metric.compute.column: metric.compute.score
    for metric in METRICS
    if isinstance(metric.compute, OverPatients) and metric.compute.score is not None
}
"""The scores of `patients.csv`: each column and what makes it."""
