"""Measure one patient: counts per slice, and every metric of the volume, per label."""

from dataclasses import dataclass

from segmed.core.labels import LabelMap
from segmed.core.volumes import stacked
from segmed.evaluation.rows import PatientRow, SliceRow
from segmed.evaluation.volume import PatientVolume
from segmed.metrics import counts as overlap
from segmed.metrics.calibration import ReliabilitySums, reliability
from segmed.metrics.counts import Counts, count
from segmed.metrics.lesions import lesion_scores
from segmed.metrics.surface import surface_scores


@dataclass(frozen=True)
class Measured:
    """What one patient contributes: a row per label, a row per slice and label, and reliability sums."""

    patients: tuple[PatientRow, ...]
    slices: tuple[SliceRow, ...]
    reliability: ReliabilitySums | None


def measure(volume: PatientVolume, labels: LabelMap) -> Measured:
    """Score a patient for every foreground label."""
    rows: list[PatientRow] = []
    slices: list[SliceRow] = []
    sums: list[ReliabilitySums] = []
    for label, name in enumerate(labels.names, start=1):
        counts = [
            count(truth == label, guess == label)
            for truth, guess in zip(volume.reference, volume.prediction, strict=True)
        ]
        slices += [_slice_row(volume, position, name, one) for position, one in enumerate(counts)]
        band = _reliability(volume, label)
        if band is not None:
            sums.append(band)
        rows.append(_patient_row(volume, label, name, overlap.total(counts), band))
    return Measured(tuple(rows), tuple(slices), sum(sums[1:], start=sums[0]) if sums else None)


def _reliability(volume: PatientVolume, label: int) -> ReliabilitySums | None:
    if volume.probability is None:
        return None
    return reliability(
        [truth == label for truth in volume.reference],
        [probability[label - 1] for probability in volume.probability],
    )


def _patient_row(
    volume: PatientVolume, label: int, name: str, counts: Counts, band: ReliabilitySums | None
) -> PatientRow:
    reference = [truth == label for truth in volume.reference]
    prediction = [guess == label for guess in volume.prediction]
    surfaces = surface_scores(reference, prediction)
    lesions = lesion_scores(stacked(reference, volume.positions), stacked(prediction, volume.positions))
    return PatientRow(
        patient=volume.patient,
        label=name,
        slices=len(volume.cases),
        reference_px=counts.reference,
        predicted_px=counts.predicted,
        tp=counts.tp,
        fp=counts.fp,
        fn=counts.fn,
        dice=overlap.dice(counts),
        iou=overlap.iou(counts),
        sensitivity=overlap.sensitivity(counts),
        precision=overlap.precision(counts),
        hd95=surfaces.hd95,
        nsd_1px=surfaces.nsd[0],
        nsd_2px=surfaces.nsd[1],
        one_sided_slices=surfaces.one_sided_slices,
        missed=counts.reference > 0 and counts.tp == 0,
        lesions=lesions.lesions,
        lesion_precision=lesions.precision,
        lesion_recall=lesions.recall,
        lesion_f1=lesions.f1,
        volume_error=overlap.volume_error(counts),
        brier=float("nan") if band is None else band.brier,
    )


def _slice_row(volume: PatientVolume, number: int, name: str, counts: Counts) -> SliceRow:
    return SliceRow(
        case=volume.cases[number],
        patient=volume.patient,
        slice=volume.positions[number],
        label=name,
        reference_px=counts.reference,
        predicted_px=counts.predicted,
        tp=counts.tp,
        fp=counts.fp,
        fn=counts.fn,
        tn=counts.tn,
        dice=overlap.dice(counts),
        iou=overlap.iou(counts),
    )
