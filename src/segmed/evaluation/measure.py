"""Measure one patient: counts per slice, and every metric of the volume, per label."""

from collections.abc import Mapping
from dataclasses import dataclass

from segmed.core.labels import LabelMap
from segmed.evaluation.metric import Subject
from segmed.evaluation.metrics import COLUMNS
from segmed.evaluation.rows import PatientRow, SliceRow
from segmed.evaluation.volume import PatientVolume
from segmed.metrics import counts as overlap
from segmed.metrics.calibration import ReliabilitySums, reliability
from segmed.metrics.counts import Counts, count


@dataclass(frozen=True)
class Measured:
    """What one patient contributes: a row per label, a row per slice and label, and reliability sums by label."""

    patients: tuple[PatientRow, ...]
    slices: tuple[SliceRow, ...]
    reliability: Mapping[str, ReliabilitySums]


def measure(volume: PatientVolume, labels: LabelMap) -> Measured:
    """Score a patient for every foreground label."""
    rows: list[PatientRow] = []
    slices: list[SliceRow] = []
    sums: dict[str, ReliabilitySums] = {}
    for label, name in enumerate(labels.names, start=1):
        counts = [
            count(truth == label, guess == label)
            for truth, guess in zip(volume.reference, volume.prediction, strict=True)
        ]
        slices += [_slice_row(volume, position, name, one) for position, one in enumerate(counts)]
        band = _reliability(volume, label)
        if band is not None:
            sums[name] = band
        rows.append(_patient_row(volume, label, name, overlap.total(counts), band))
    return Measured(tuple(rows), tuple(slices), sums)


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
    subject = Subject(
        reference=[truth == label for truth in volume.reference],
        prediction=[guess == label for guess in volume.prediction],
        positions=volume.positions,
        counts=counts,
        band=band,
    )
    return PatientRow(
        patient=volume.patient,
        label=name,
        slices=len(volume.slice_ids),
        reference_px=counts.reference,
        predicted_px=counts.predicted,
        tp=counts.tp,
        fp=counts.fp,
        fn=counts.fn,
        one_sided_slices=subject.surfaces.one_sided_slices,
        missed=counts.reference > 0 and counts.tp == 0,
        lesions=subject.lesions.lesions,
        scores={column: score(subject) for column, score in COLUMNS.items()},
    )


def _slice_row(volume: PatientVolume, number: int, name: str, counts: Counts) -> SliceRow:
    return SliceRow(
        slice_id=volume.slice_ids[number],
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
