"""Score patients and put all numbers, tables and masks into one `Evaluation`."""

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import UInt8

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.evaluation.measure import measure
from segmed.evaluation.result import Evaluation, Kind
from segmed.evaluation.rows import PatientRow, SliceRow
from segmed.evaluation.statistics import RESAMPLES, bootstrap_weights
from segmed.evaluation.table import calibration_of, summarise
from segmed.evaluation.volume import PatientVolume
from segmed.metrics.calibration import ReliabilitySums


def evaluate(
    patients: Iterable[PatientVolume],
    labels: LabelMap,
    *,
    name: str,
    kind: Kind = "predictions",
    part: str = "test",
    leaking: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Score every patient, one at a time, so that images and probabilities need not be held together.

    Intervals are from `resamples` bootstrap resamples of patients with `seed`. `progress` is told how many
    patients are done. Facts about split, cost and provenance are added with `dataclasses.replace`.

    Raises `DataError` where there is no patient, one comes twice, or only some carry probabilities.
    """
    rows: list[PatientRow] = []
    slices: list[SliceRow] = []
    reliability: list[ReliabilitySums] = []
    predictions: dict[str, UInt8[np.ndarray, "h w"]] = {}
    seen: set[str] = set()
    for volume in patients:
        _require_new(volume, seen, predictions)
        measured = measure(volume, labels)
        rows += measured.patients
        slices += measured.slices
        if measured.reliability is not None:
            reliability.append(measured.reliability)
        predictions.update(zip(volume.cases, volume.prediction, strict=True))
        seen.add(volume.patient)
        if progress is not None:
            progress(len(seen))
    if not seen:
        raise DataError(f"{name}: no patients to evaluate in part {part!r}. Check the split or the folders.")
    if reliability and len(reliability) != len(seen):
        raise DataError(
            f"{name}: only {len(reliability)} of {len(seen)} patients have probabilities. Give all or none."
        )
    weights = bootstrap_weights(len(seen), resamples, seed)
    return Evaluation(
        name=name,
        kind=kind,
        part=part,
        leaking=leaking,
        threshold=None,
        labels=labels,
        data_hash=None,
        split={},
        metrics=summarise(rows, slices, reliability, weights),
        patients=tuple(rows),
        slices=tuple(slices),
        predictions=predictions,
        calibration=calibration_of(reliability),
        provenance={"bootstrap": {"unit": "patient", "resamples": resamples, "seed": seed, "level": 0.95}},
    )


def _require_new(volume: PatientVolume, seen: set[str], predictions: dict[str, UInt8[np.ndarray, "h w"]]) -> None:
    if volume.patient in seen:
        raise DataError(f"patient {volume.patient} comes twice. Give all slices of a patient as one volume.")
    repeated = [case for case in volume.cases if case in predictions]
    if repeated:
        raise DataError(f"case {repeated[0]} belongs to two patients. Give every slice an id of its own.")
