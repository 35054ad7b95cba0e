"""One volume of a patient as an evaluation sees it: reference and prediction on the original grid, slice by slice."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, UInt8

from segmed.core.errors import DataError
from segmed.core.volume import Triple


@dataclass(frozen=True)
class PatientVolume:
    """The slices of one volume of a patient in anatomical order; sizes may differ between volumes, not within one.

    `reference` and `prediction` hold labels 0 … K. `probability` holds a value from 0 to 1 per foreground label,
    or is None where only masks are known (no calibration then). `slice_indices` are rising positions in the volume; a
    jump (a slice split gives a part of a volume) keeps slices apart that are not neighbours. `volume` names it where a
    patient may have several; None says that the patient has this one. `spacing` is in mm along slices, rows and
    columns, or None where it is not known.
    """

    patient: str
    slice_ids: tuple[str, ...]
    reference: Sequence[UInt8[np.ndarray, "_h _w"]]  # sizes are compared below, with an error that names the slice
    prediction: Sequence[UInt8[np.ndarray, "_h _w"]]
    probability: Sequence[Float32[np.ndarray, "_k _h _w"]] | None = None
    slice_indices: tuple[int, ...] | None = None
    volume: str | None = None
    spacing: Triple | None = None

    def __post_init__(self) -> None:
        """Raise `DataError`, naming the slice, where the parts do not belong together."""
        if not self.slice_ids:
            raise DataError(f"patient {self.patient}: no slices to evaluate. Check the split or the folder.")
        parts = (self.reference, self.prediction, self.probability, self.slice_indices)
        if any(part is not None and len(part) != len(self.slice_ids) for part in parts):
            raise DataError(
                f"patient {self.patient}: {len(self.slice_ids)} slices but {len(self.reference)} references and "
                f"{len(self.prediction)} predictions. Give one of each per slice."
            )
        for (before, slice_id), (low, high) in zip(pairwise(self.slice_ids), pairwise(self.positions), strict=True):
            if high <= low:
                raise DataError(
                    f"patient {self.patient}: {before} and {slice_id} are slice {low} and then {high} of one volume. "
                    "Two studies of one patient? Name each in a manifest's column case, or number the second's slices "
                    "on, two after the first's last."
                )
        grid = self.reference[0].shape
        for slice_id, truth, guess in zip(self.slice_ids, self.reference, self.prediction, strict=True):
            if truth.shape != grid:
                raise DataError(f"{slice_id}: {truth.shape} differs from {grid} of the patient's first slice.")
            if guess.shape != grid:
                raise DataError(
                    f"{slice_id}: the prediction is {guess.shape} but the reference is {truth.shape}. "
                    "Write predictions on the original grid."
                )
        for slice_id, probability in zip(self.slice_ids, self.probability or (), strict=False):
            if probability.shape[1:] != grid:
                raise DataError(f"{slice_id}: probabilities are {probability.shape[1:]} but the reference is {grid}.")
            if not (probability.min() >= 0 and probability.max() <= 1):
                raise DataError(f"{slice_id}: probabilities must be 0 to 1, got NaN or others. Apply the sigmoid once.")

    @property
    def name(self) -> str:
        """The volume's name, which is the patient's where it has one volume."""
        return self.volume or self.patient

    @property
    def positions(self) -> tuple[int, ...]:
        """Where each slice lies in the volume; consecutive if nothing is known."""
        return self.slice_indices if self.slice_indices is not None else tuple(range(len(self.slice_ids)))
