"""Score patients and put all numbers, tables and masks into one `Evaluation`."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.units import unit_of
from segmed.evaluation.context import Context
from segmed.evaluation.measure import measure
from segmed.evaluation.over_volumes import over_volumes
from segmed.evaluation.provenance import Bootstrap
from segmed.evaluation.result import Calibration, Cost, Evaluation
from segmed.evaluation.rows import BoxRow, PatientRow, SliceRow
from segmed.evaluation.statistics import RESAMPLES, bootstrap_weights
from segmed.evaluation.table import summarise
from segmed.evaluation.volume import PatientVolume
from segmed.metrics.calibration import ReliabilitySums, bin_edges


def evaluate(
    patients: Iterable[PatientVolume],
    labels: LabelMap,
    *,
    name: str,
    context: Context | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Score every patient, one at a time, so that images and probabilities need not be held together.

    Intervals are from `resamples` bootstrap resamples of patients with `seed`; of images where the context does not
    know patients and each image comes as a patient of its own. Without a context the masks are another tool's.

    Raises `DataError` where there is no patient, one comes twice, or only some carry probabilities.
    """
    tally = Tally(labels)
    for volume in patients:
        tally.add(volume)
    return tally.evaluation(name=name, context=context or Context(), resamples=resamples, seed=seed)


class Tally:
    """Scores added patient by patient; several can be kept side by side, as for several kinds of prompts."""

    def __init__(self, labels: LabelMap) -> None:
        """Nothing yet."""
        self._labels = labels
        self._rows: dict[str, list[PatientRow]] = {}
        self._slices: list[SliceRow] = []
        self._reliability: dict[str, dict[str, list[ReliabilitySums]]] = {}
        self._predictions: dict[str, UInt8[np.ndarray, "h w"]] = {}
        self._seen: set[str] = set()

    def add(self, volume: PatientVolume) -> None:
        """Score a volume of a patient; raises `DataError` where it was added before, or one of its slices."""
        _require_new(volume, self._seen, self._predictions)
        measured = measure(volume, self._labels)
        self._rows.setdefault(volume.patient, []).extend(measured.patients)
        self._slices += measured.slices
        for label, sums in measured.reliability.items():
            self._reliability.setdefault(label, {}).setdefault(volume.patient, []).append(sums)
        self._predictions.update(zip(volume.slice_ids, volume.prediction, strict=True))
        self._seen.add(volume.name)

    def evaluation(
        self,
        *,
        name: str,
        context: Context,
        cost: Cost | None = None,
        boxes: Sequence[BoxRow] = (),
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> Evaluation:
        """What the patients give together; raises `DataError` without any, or if only some have probabilities."""
        if not self._seen:
            raise DataError(
                f"{name}: no patients to evaluate in part {context.part!r}. Check the split or the folders."
            )
        patients = len(self._rows)
        rows = [row for rows in self._rows.values() for row in over_volumes(rows)]
        reliability = {
            label: [sum(sums[1:], start=sums[0]) for sums in some.values()] for label, some in self._reliability.items()
        }
        given = max((len(some) for some in reliability.values()), default=patients)
        if given != patients:
            raise DataError(f"{name}: only {given} of {patients} patients have probabilities. Give all or none.")
        weights = bootstrap_weights(patients, resamples, seed)
        unit = unit_of(patients_known=context.patients_known)
        summary = summarise(rows, self._slices, reliability, weights, unit)
        return Evaluation(
            name=name,
            kind=context.kind,
            part=context.part,
            leaking=context.leaking,
            patients_known=context.patients_known,
            training_known=context.training_known,
            threshold=context.threshold,
            labels=self._labels,
            data_hash=context.data_hash,
            split=context.split,
            metrics=summary.metrics,
            by_label=summary.by_label,
            patients=tuple(rows),
            slices=tuple(self._slices),
            predictions=self._predictions,
            calibration=calibration_of([sums for some in reliability.values() for sums in some]),
            cost=cost or Cost(),
            provenance=replace(
                context.provenance,
                bootstrap=Bootstrap(resamples, unit.one, seed),
                volumes=len(self._seen) if len(self._seen) > patients else None,
            ),
            prompts=context.prompts,
            oracle=context.oracle,
            boxes=tuple(boxes),
            missing=context.missing,
            remarks=context.remarks,
        )


def calibration_of(reliability: Sequence[ReliabilitySums]) -> Calibration | None:
    """The reliability curve over all patients and labels, or None where no probabilities were given."""
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


def _require_new(volume: PatientVolume, seen: set[str], predictions: dict[str, UInt8[np.ndarray, "h w"]]) -> None:
    if volume.name in seen:
        raise DataError(f"patient {volume.name} comes twice. Give all slices of a patient as one volume.")
    repeated = [slice_id for slice_id in volume.slice_ids if slice_id in predictions]
    if repeated:
        raise DataError(f"slice {repeated[0]} belongs to two patients. Give every slice an id of its own.")
