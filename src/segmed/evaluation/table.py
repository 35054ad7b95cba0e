"""The summary numbers of an evaluation, each with its description and a bootstrap interval over patients.

Every number is a statistic of how often each patient is drawn, so one set of resamples serves all of them. With
several labels a patient's value is the mean over labels, and a pooled number is pooled per label and then averaged.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from segmed.core.units import PATIENT, Unit
from segmed.evaluation.result import Calibration, MetricValue
from segmed.evaluation.rows import PatientRow, SliceRow
from segmed.evaluation.statistics import (
    Statistic,
    interval,
    mean_of,
    mean_of_defined,
    median_of,
    ratio_of,
)
from segmed.metrics.calibration import BAND, ReliabilitySums, bin_edges, expected_calibration_error
from segmed.metrics.counts import Counts
from segmed.metrics.readings import BATCH_SIZES, batch_mean

PATIENT_MEANS: Mapping[str, tuple[str, str, str, bool | None]] = {
    # name: (column of patients.csv, unit, description, higher is better)
    "dice": ("dice", "", "Volumetric Dice, mean over patients", True),
    "iou": ("iou", "", "Volumetric IoU, mean over patients", True),
    "sensitivity": ("sensitivity", "", "Share of the foreground's volume found, mean over patients", True),
    "precision": ("precision", "", "Share of the predicted volume that is right, mean over patients", True),
    "hd95": (
        "hd95",
        "px",
        "95th percentile surface distance in the slice (one mask empty: its diagonal), mean over patients",
        False,
    ),
    "nsd_1px": ("nsd_1px", "", "Share of surface within 1 px in the slice, mean over patients", True),
    "nsd_2px": ("nsd_2px", "", "Share of surface within 2 px in the slice, mean over patients", True),
    "lesion_f1": ("lesion_f1", "", "F1 over lesions (3D, IoU > 0.1), mean over patients", True),
    "lesion_precision": ("lesion_precision", "", "Share of found lesions that are real, mean over patients", True),
    "lesion_recall": ("lesion_recall", "", "Share of lesions found, mean over patients", True),
    "volume_bias": ("volume_error", "", "(predicted - reference) / reference volume, mean over patients", None),
    "brier": ("brier", "", f"Squared error of probability within {BAND:g} px of foreground, mean over patients", False),
}

SLICE_METRICS: Mapping[str, tuple[str, bool]] = {
    # name: (description, higher is better)
    "dice_positive_slices": ("Dice of a slice, mean over slices with foreground", True),
    "iou_positive_slices": ("IoU of a slice, mean over slices with foreground", True),
    "specificity_empty_slices": ("Share of the slices without foreground that are left empty", True),
    "one_sided_slices": ("Share of slices with foreground in only one of both masks, of those with any", False),
    "dice_pooled": ("Dice of the foreground pixels of all slices together", True),
    "iou_pooled": ("IoU of the foreground pixels of all slices together", True),
    "iou_per_image_empty_one": ("IoU of a slice, 1 where it is empty in both masks, mean over slices", True),
    "iou_two_class_macro": ("Mean of IoU of background and of foreground, each over the pixels of all slices", True),
    "iou_two_class_macro_per_image": (
        "Mean of IoU of background and of foreground in a slice, 1 where empty in both masks, mean over slices",
        True,
    ),
    "iou_one_hot_micro": ("IoU over the pixels of background and foreground channels of all slices together", True),
    **{
        f"iou_batch_{size}": (f"IoU of the pixels of {size} slices in their order, 1 if empty, mean over batches", True)
        for size in BATCH_SIZES
    },
}


@dataclass(frozen=True)
class _Tables:
    """The rows as arrays over labels (k) and patients (p); `patients` and `labels` give their order."""

    labels: tuple[str, ...]
    patients: tuple[str, ...]
    rows: Mapping[tuple[str, str], PatientRow]
    slices: Sequence[SliceRow]

    def column(self, name: str) -> Float64[np.ndarray, "k p"]:
        """A column of the patients' table."""
        values = [[float(getattr(self.rows[p, k], name)) for p in self.patients] for k in self.labels]
        return np.array(values, np.float64)

    def slice_column(self, name: str) -> Float64[np.ndarray, "n"]:
        """A column of the slices' table."""
        return np.array([getattr(row, name) for row in self.slices], np.float64)

    def summed(self, values: Shaped[np.ndarray, "n"]) -> Float64[np.ndarray, "k p"]:
        """The sum over each patient's slices of a value per row of the slices' table."""
        label_at = {label: i for i, label in enumerate(self.labels)}
        patient_at = {patient: i for i, patient in enumerate(self.patients)}
        shape = len(self.labels), len(self.patients)
        cell = [label_at[row.label] * shape[1] + patient_at[row.patient] for row in self.slices]
        return np.bincount(cell, weights=values, minlength=shape[0] * shape[1]).reshape(shape)


def summarise(
    patients: Sequence[PatientRow],
    slices: Sequence[SliceRow],
    reliability: Sequence[ReliabilitySums],
    weights: Float64[np.ndarray, "b p"],
) -> dict[str, MetricValue]:
    """All summary numbers. `weights` are bootstrap weights; `reliability` is per patient, or empty without any.

    Without probabilities there is neither `ece` nor `brier`.
    """
    tables = _Tables(
        labels=tuple(dict.fromkeys(row.label for row in patients)),
        patients=tuple(dict.fromkeys(row.patient for row in patients)),
        rows={(row.patient, row.label): row for row in patients},
        slices=slices,
    )
    metrics = {**_patient_metrics(tables, weights), **_slice_metrics(tables, weights)}
    metrics |= _batch_readings(tables.labels, slices)
    if reliability:
        metrics["ece"] = _calibration_error(reliability, weights)
    if np.isnan(tables.column("brier")).all():
        del metrics["brier"]
    return metrics


def in_units(metrics: Mapping[str, MetricValue], unit: Unit) -> dict[str, MetricValue]:
    """The numbers with descriptions that say what they are over: images where patients are not known."""

    def worded(text: str) -> str:
        return text.replace(PATIENT.one, unit.one).replace(PATIENT.one.capitalize(), unit.one.capitalize())

    return {
        name: dataclasses.replace(metric, unit=worded(metric.unit), description=worded(metric.description))
        for name, metric in metrics.items()
    }


def calibration_of(reliability: Sequence[ReliabilitySums]) -> Calibration | None:
    """The reliability curve over all patients, or None where no probabilities were given."""
    if not reliability:
        return None
    pooled = sum(reliability[1:], start=reliability[0])
    some = pooled.pixels > 0
    nothing = np.full(len(some), np.nan)
    return Calibration(
        bin_edges=tuple(bin_edges(len(some)).tolist()),
        mean_probability=tuple(np.divide(pooled.probability, pooled.pixels, out=nothing.copy(), where=some).tolist()),
        observed_frequency=tuple(np.divide(pooled.positive, pooled.pixels, out=nothing, where=some).tolist()),
        counts=tuple(pooled.pixels.tolist()),
    )


def _patient_metrics(tables: _Tables, weights: Float64[np.ndarray, "b p"]) -> dict[str, MetricValue]:
    metrics: dict[str, MetricValue] = {}
    for name, (column, unit, description, better) in PATIENT_MEANS.items():
        values = mean_of_defined(tables.column(column), axis=0)
        metrics[name] = _value(mean_of(values), weights, values, unit, description, better)
    for name, column, unit in (("dice_median", "dice", ""), ("hd95_median", "hd95", "px")):
        values = mean_of_defined(tables.column(column), axis=0)
        description = PATIENT_MEANS[column][2].replace("mean over", "median over")
        better = PATIENT_MEANS[column][3]
        metrics[name] = _value(median_of(values), weights, values, unit, description, better)
    error = mean_of_defined(np.abs(tables.column("volume_error")), axis=0)
    description = "|predicted - reference| / reference volume, mean over patients"
    metrics["volume_error"] = _value(mean_of(error), weights, error, "", description, False)
    missed = tables.column("missed").max(axis=0)
    description = "Patients with a label of which not one pixel was found"
    metrics["missed"] = _value(lambda w: w @ missed, weights, missed, "patients", description, False)
    return metrics


def _slice_metrics(tables: _Tables, weights: Float64[np.ndarray, "b p"]) -> dict[str, MetricValue]:
    """Numbers over slices and over pooled pixels; a patient is still drawn with all its slices.

    The readings of IoU are those that `metrics.readings` defines one by one, here for all resamples at once.
    """
    pixels = {name: tables.slice_column(name) for name in ("tp", "fp", "fn", "tn")}
    tp, fp, fn, tn = (tables.summed(values) for values in pixels.values())
    with_foreground = pixels["tp"] + pixels["fn"] > 0
    with_any = with_foreground | (pixels["fp"] > 0)
    positive, anything = tables.summed(with_foreground), tables.summed(with_any)
    everything, both_empty = tables.summed(np.ones(len(with_any))), tables.summed(~with_any)
    dice_positive = tables.summed(np.where(with_foreground, tables.slice_column("dice"), 0.0))
    iou_positive = tables.summed(np.where(with_foreground, tables.slice_column("iou"), 0.0))
    iou_empty_one = np.where(with_any, tables.slice_column("iou"), 1.0)
    background_union = pixels["tn"] + pixels["fp"] + pixels["fn"]
    iou_background = np.divide(pixels["tn"], background_union, out=np.ones(len(with_any)), where=background_union > 0)
    foreground, background = ratio_of(tp, tp + fp + fn), ratio_of(tn, tn + fp + fn)

    def macro(drawn: Float64[np.ndarray, "b p"]) -> Float64[np.ndarray, "b"]:
        return np.asarray((foreground(drawn) + background(drawn)) / 2)

    statistics: dict[str, tuple[Statistic, Float64[np.ndarray, "k p"]]] = {
        "dice_positive_slices": (ratio_of(dice_positive, positive), positive),
        "iou_positive_slices": (ratio_of(iou_positive, positive), positive),
        "specificity_empty_slices": (ratio_of(both_empty, everything - positive), everything - positive),
        "one_sided_slices": (ratio_of(tables.column("one_sided_slices"), anything), anything),
        "dice_pooled": (ratio_of(2 * tp, 2 * tp + fp + fn), everything),
        "iou_pooled": (foreground, everything),
        "iou_per_image_empty_one": (ratio_of(tables.summed(iou_empty_one), everything), everything),
        "iou_two_class_macro": (macro, everything),
        "iou_two_class_macro_per_image": (
            ratio_of(tables.summed((iou_empty_one + iou_background) / 2), everything),
            everything,
        ),
        "iou_one_hot_micro": (ratio_of(tp + tn, tp + tn + 2 * (fp + fn)), everything),
    }
    return {
        name: _pooled(statistic, weights, int(units.sum()), *SLICE_METRICS[name])
        for name, (statistic, units) in statistics.items()
    }


def _batch_readings(labels: Sequence[str], slices: Sequence[SliceRow]) -> dict[str, MetricValue]:
    """IoU as a mean over batches; a batch spans patients, so there is no interval over patients."""
    counts = [[Counts(row.tp, row.fp, row.fn, row.tn) for row in slices if row.label == label] for label in labels]
    metrics = {}
    for size in BATCH_SIZES:
        value = sum(batch_mean(some, size) for some in counts) / len(counts)
        batches = sum(-(-len(some) // size) for some in counts)
        name = f"iou_batch_{size}"
        metrics[name] = MetricValue(value, math.nan, math.nan, batches, 0, "", *SLICE_METRICS[name])
    return metrics


def _calibration_error(reliability: Sequence[ReliabilitySums], weights: Float64[np.ndarray, "b p"]) -> MetricValue:
    pixels = np.stack([sums.pixels for sums in reliability]).astype(np.float64)
    probability = np.stack([sums.probability for sums in reliability])
    positive = np.stack([sums.positive for sums in reliability])

    def statistic(drawn: Float64[np.ndarray, "b p"]) -> Float64[np.ndarray, "b"]:
        return expected_calibration_error(drawn @ pixels, drawn @ probability, drawn @ positive)

    description = f"Expected calibration error within {BAND:g} px of foreground, pixels of all patients together"
    found = interval(statistic, weights)
    with_band = int(np.count_nonzero(pixels.sum(axis=1)))
    return MetricValue(
        found.value, found.low, found.high, with_band, len(reliability) - with_band, "", description, False
    )


def _value(
    statistic: Statistic,
    weights: Float64[np.ndarray, "b p"],
    values: Float64[np.ndarray, "p"],
    unit: str,
    description: str,
    better: bool | None,
) -> MetricValue:
    undefined = int(np.isnan(values).sum())
    found = interval(statistic, weights)
    return MetricValue(
        found.value, found.low, found.high, len(values) - undefined, undefined, unit, description, better
    )


def _pooled(
    statistic: Statistic, weights: Float64[np.ndarray, "b p"], n: int, description: str, better: bool
) -> MetricValue:
    found = interval(statistic, weights)
    return MetricValue(found.value, found.low, found.high, n, 0, "", description, better)
