"""Small evaluations with known numbers, and pictures to go with them, for the tests of compare and report."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from segmed.core.labels import LabelMap
from segmed.evaluation.metric import MetricValue
from segmed.evaluation.metrics import COLUMNS
from segmed.evaluation.provenance import Provenance
from segmed.evaluation.result import Calibration, Cost, Evaluation
from segmed.evaluation.rows import PatientRow, SliceRow
from segmed.evaluation.split_facts import SplitFacts

SHAPE = (40, 36)
SLICES = 3
DATA_HASH = "5eed" * 16


class Pictures:
    """Images and references by slice, like a decoded data set."""

    data_hash = None
    dataset = None
    in_colour = False

    def image(self, slice_id: str) -> np.ndarray:
        rows = np.arange(SHAPE[0], dtype=np.uint8)[:, None, None]
        return np.broadcast_to(rows, (*SHAPE, 3)).copy()

    def spacing(self, slice_id: str) -> None:
        return None

    def mask(self, slice_id: str) -> np.ndarray:
        return square(int(slice_id.rpartition("_")[2]))


def square(slice_index: int, shift: int = 0) -> np.ndarray:
    """The reference of a slice: a square that grows with the slice; `shift` moves it to the right."""
    mask = np.zeros(SHAPE, np.uint8)
    side = 4 + 2 * slice_index
    mask[8 : 8 + side, 6 + shift : 6 + shift + side] = 1
    return mask


def evaluation(name: str, dice: Sequence[float], **changes: Any) -> Evaluation:
    """An evaluation whose patients P0, P1, … have exactly the Dice values given."""
    patients = [f"P{index}" for index in range(len(dice))]
    slice_ids = {patient: [f"{patient}_{z}" for z in range(SLICES)] for patient in patients}
    fields: dict[str, Any] = {
        "name": name,
        "kind": "run",
        "part": "test",
        "leaking": False,
        "threshold": 0.5,
        "labels": LabelMap(),
        "data_hash": DATA_HASH,
        "split": SplitFacts(strategy="patient", seed=0, fold=0),
        "metrics": metrics(dice),
        "patients": tuple(patient_row(p, d) for p, d in zip(patients, dice, strict=True)),
        "slices": tuple(slice_row(c, p, z) for p in patients for z, c in enumerate(slice_ids[p])),
        "predictions": {c: square(z, shift=1) for p in patients for z, c in enumerate(slice_ids[p])},
        "cost": Cost(parameters=31_200_000, ms_per_image=12.5, peak_memory_mib=512.0, training_seconds=4210.0),
        "calibration": Calibration((0.0, 0.5, 1.0), (0.2, 0.8), (0.1, 0.7), (50, 70)),
        "provenance": Provenance(
            others={"versions": {"torch": "2.10"}, "commit": "abc1234", "command": "segmed evaluate"}
        ),
    }
    return Evaluation(**{**fields, **changes})


def floor(name: str, dice: Sequence[float], **changes: Any) -> Evaluation:
    """The same without a model: no cost, no calibration, no threshold."""
    bare: dict[str, Any] = {"kind": "floor", "cost": Cost(), "calibration": None, "threshold": None}
    return evaluation(name, dice, **{**bare, **changes})


def metrics(dice: Sequence[float]) -> dict[str, MetricValue]:
    defined = [value for value in dice if not math.isnan(value)]
    mean = sum(defined) / len(defined) if defined else math.nan
    return {
        "dice": MetricValue(
            mean, mean - 0.04, mean + 0.03, len(defined), len(dice) - len(defined), "", "Mean patient Dice."
        ),
        "hd95": MetricValue(12.34, 9.87, 15.01, len(defined), 0, "px", "95th percentile distance.", False),
        "specificity_empty_slices": MetricValue(
            math.nan, math.nan, math.nan, 0, 7, "", "Share of empty slices kept empty."
        ),
    }


def patient_row(patient: str, dice: float, **changes: Any) -> PatientRow:
    counts = {field.name: 0 for field in dataclasses.fields(PatientRow) if field.type is int}
    known = {"patient": patient, "label": "tumour", "slices": SLICES, "missed": dice == 0, "reference_px": 116}
    scores = {**dict.fromkeys(COLUMNS, math.nan), "dice": dice, "iou": dice / (2 - dice), "hd95": 3.5}
    return PatientRow(**{**counts, **known, **changes}, scores=scores)


def slice_row(slice_id: str, patient: str, slice_index: int) -> SliceRow:
    reference, prediction = square(slice_index) > 0, square(slice_index, shift=1) > 0
    tp = int((reference & prediction).sum())
    fp, fn = int(prediction.sum()) - tp, int(reference.sum()) - tp
    tn = reference.size - tp - fp - fn
    dice = 2 * tp / (2 * tp + fp + fn)
    return SliceRow(
        slice_id=slice_id,
        patient=patient,
        slice=slice_index,
        label="tumour",
        reference_px=int(reference.sum()),
        predicted_px=int(prediction.sum()),
        tp=tp,
        fp=fp,
        fn=fn,
        tn=tn,
        dice=dice,
        iou=dice / (2 - dice),
    )
