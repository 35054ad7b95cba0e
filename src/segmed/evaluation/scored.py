"""The rows of an evaluation as arrays, which is what metrics are computed from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from segmed.evaluation.rows import PatientRow, SliceRow
from segmed.metrics.calibration import ReliabilitySums


@dataclass(frozen=True)
class Scored:
    """Rows as arrays over labels (k) and patients (p), or over all rows of slices (n).

    `weights` are bootstrap weights. `reliability` has sums per patient, over the labels; empty without probabilities.
    """

    labels: tuple[str, ...]
    patients: tuple[str, ...]
    rows: Mapping[tuple[str, str], PatientRow]
    slices: Sequence[SliceRow]
    reliability: Sequence[ReliabilitySums]
    weights: Float64[np.ndarray, "b p"]

    @classmethod
    def of(
        cls,
        patients: Sequence[PatientRow],
        slices: Sequence[SliceRow],
        reliability: Sequence[ReliabilitySums],
        weights: Float64[np.ndarray, "b p"],
    ) -> "Scored":
        """Rows in their order; every patient has a row of every label."""
        return cls(
            labels=tuple(dict.fromkeys(row.label for row in patients)),
            patients=tuple(dict.fromkeys(row.patient for row in patients)),
            rows={(row.patient, row.label): row for row in patients},
            slices=slices,
            reliability=reliability,
            weights=weights,
        )

    def column(self, name: str) -> Float64[np.ndarray, "k p"]:
        """A column of the patients' table."""
        values = [[self.rows[p, k].value(name) for p in self.patients] for k in self.labels]
        return np.array(values, np.float64)

    def of_slices(self, value: Callable[[SliceRow], float]) -> Float64[np.ndarray, "n"]:
        """A value of every row of the slices' table."""
        return np.array([value(row) for row in self.slices], np.float64)

    def summed(self, values: Shaped[np.ndarray, "n"]) -> Float64[np.ndarray, "k p"]:
        """The sum over each patient's slices of a value per row of the slices' table."""
        label_at = {label: i for i, label in enumerate(self.labels)}
        patient_at = {patient: i for i, patient in enumerate(self.patients)}
        shape = len(self.labels), len(self.patients)
        cell = [label_at[row.label] * shape[1] + patient_at[row.patient] for row in self.slices]
        return np.bincount(cell, weights=values, minlength=shape[0] * shape[1]).reshape(shape)

    def summed_where_positive(self, value: Callable[[SliceRow], float]) -> Float64[np.ndarray, "k p"]:
        """The sum of a value over each patient's slices with the label in the reference."""
        return self.summed(np.where(self.has_reference, self.of_slices(value), 0.0))

    @cached_property
    def tp(self) -> Float64[np.ndarray, "k p"]:
        """True positive pixels."""
        return self.summed(self.of_slices(lambda row: row.tp))

    @cached_property
    def fp(self) -> Float64[np.ndarray, "k p"]:
        """False positive pixels."""
        return self.summed(self.of_slices(lambda row: row.fp))

    @cached_property
    def fn(self) -> Float64[np.ndarray, "k p"]:
        """False negative pixels."""
        return self.summed(self.of_slices(lambda row: row.fn))

    @cached_property
    def tn(self) -> Float64[np.ndarray, "k p"]:
        """True negative pixels."""
        return self.summed(self.of_slices(lambda row: row.tn))

    @cached_property
    def has_reference(self) -> Bool[np.ndarray, "n"]:
        """Whether a slice has the label in the reference."""
        return self.of_slices(lambda row: row.tp) + self.of_slices(lambda row: row.fn) > 0

    @cached_property
    def has_any(self) -> Bool[np.ndarray, "n"]:
        """Whether a slice has the label in reference or prediction."""
        return self.has_reference | (self.of_slices(lambda row: row.fp) > 0)

    @cached_property
    def all_slices(self) -> Float64[np.ndarray, "k p"]:
        """Slices."""
        return self.summed(np.ones(len(self.slices)))

    @cached_property
    def positive(self) -> Float64[np.ndarray, "k p"]:
        """Slices with the label in the reference."""
        return self.summed(self.has_reference)

    @cached_property
    def negative(self) -> Float64[np.ndarray, "k p"]:
        """Slices without the label in the reference."""
        return self.all_slices - self.positive

    @cached_property
    def anything(self) -> Float64[np.ndarray, "k p"]:
        """Slices with the label in reference or prediction."""
        return self.summed(self.has_any)

    @cached_property
    def iou_or_one(self) -> Float64[np.ndarray, "n"]:
        """IoU of a slice, 1 where it is empty in both masks."""
        return np.where(self.has_any, self.of_slices(lambda row: row.iou), 1.0)

    @cached_property
    def background_iou(self) -> Float64[np.ndarray, "n"]:
        """IoU of the background of a slice, 1 where there is none in either mask."""
        right = self.of_slices(lambda row: row.tn)
        union = right + self.of_slices(lambda row: row.fp) + self.of_slices(lambda row: row.fn)
        return np.divide(right, union, out=np.ones(len(union)), where=union > 0)
