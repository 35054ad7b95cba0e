"""The metrics of volumes in three dimensions, in millimetres and millilitres where the spacing is known.

They take the place of the metrics in the slice where whole volumes were scored (`evaluation.masks.score`). A score is
of one label of one case; a patient's is the mean over its cases, and the table's the mean over patients. Each score
that a miss has a penalty in (Dice and NSD 0, HD95 the volume's diagonal) stands beside the same one
over the cases in which both masks have the label.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np
from jaxtyping import Bool

from segmed.core.errors import DataError
from segmed.evaluation.metric import Group, Metric, OverPatients
from segmed.evaluation.metrics import BY_NAME, METRICS
from segmed.metrics import counts as overlap
from segmed.metrics.counts import Counts
from segmed.metrics.lesions import LesionScores, lesion_scores
from segmed.metrics.volumetric import Spacing, SurfaceDistances, surface_distances

LengthUnit = Literal["mm", "voxels"]
TOLERANCES = (1.0, 2.0)
"""The tolerances of NSD that nobody chose, in the unit of length."""


@dataclass(frozen=True)
class Space:
    """In which unit the distances of an evaluation of volumes are, and the tolerances of NSD in it.

    Raises:
        DataError: A tolerance that is not positive, or given twice.
    """

    unit: LengthUnit
    tolerances: tuple[float, ...] = TOLERANCES

    def __post_init__(self) -> None:
        """Refuse tolerances within which nothing can be."""
        if not all(math.isfinite(limit) and limit > 0 for limit in self.tolerances):
            raise DataError(f"NSD within {self.tolerances}: expected positive numbers of {self.unit}.")
        if len(set(self.tolerances)) < len(self.tolerances):
            raise DataError(f"NSD within {self.tolerances}: the same tolerance twice. Give each once.")


@dataclass(frozen=True)
class Case:
    """One label of one volume, from which its scores are computed."""

    reference: Bool[np.ndarray, "d h w"]
    prediction: Bool[np.ndarray, "d h w"]
    counts: Counts
    spacing: Spacing | None
    tolerances: tuple[float, ...]

    @cached_property
    def surfaces(self) -> SurfaceDistances:
        """Distances between the surfaces, in the unit of the evaluation."""
        spacing = self.spacing or (1.0, 1.0, 1.0)
        return surface_distances(self.reference, self.prediction, spacing=spacing, tolerances=self.tolerances)

    @cached_property
    def lesions(self) -> LesionScores:
        """Lesions found, missed and invented."""
        return lesion_scores(self.reference, self.prediction)

    @property
    def one_sided(self) -> bool:
        """Whether only one of the masks has the label."""
        return (self.counts.reference > 0) != (self.counts.predicted > 0)

    def found(self, value: float) -> float:
        """A value where both masks have the label, else NaN."""
        return value if self.counts.reference and self.counts.predicted else math.nan

    def millilitres(self, voxels: int) -> float:
        """The volume of some voxels; NaN where the spacing is not known."""
        return math.nan if self.spacing is None else voxels * math.prod(self.spacing) / 1000


Score = Callable[[Case], float]


def scores_in(space: Space) -> Mapping[str, Score]:
    """The scores of a case, by column."""
    scores: dict[str, Score] = {
        "dice": lambda case: overlap.dice(case.counts),
        "dice_found": lambda case: case.found(overlap.dice(case.counts)),
        "iou": lambda case: overlap.iou(case.counts),
        "sensitivity": lambda case: overlap.sensitivity(case.counts),
        "precision": lambda case: overlap.precision(case.counts),
        "volume_error": lambda case: overlap.volume_error(case.counts),
        "volume_error_abs": lambda case: abs(overlap.volume_error(case.counts)),
        f"hd95_{space.unit}": lambda case: case.surfaces.hd95,
        f"hd95_found_{space.unit}": lambda case: case.found(case.surfaces.hd95),
        "lesion_f1": lambda case: case.lesions.f1,
        "lesion_precision": lambda case: case.lesions.precision,
        "lesion_recall": lambda case: case.lesions.recall,
        "one_sided_share": lambda case: float(case.one_sided) if case.counts.union else math.nan,
    }
    if space.unit == "mm":
        scores |= {
            "reference_ml": lambda case: case.millilitres(case.counts.reference),
            "predicted_ml": lambda case: case.millilitres(case.counts.predicted),
            "volume_bias_ml": lambda case: case.millilitres(case.counts.predicted - case.counts.reference),
            "volume_error_ml": lambda case: case.millilitres(abs(case.counts.predicted - case.counts.reference)),
        }
    for place, limit in enumerate(space.tolerances):
        name = f"{limit:g}{space.unit}"
        scores[f"nsd_{name}"] = partial(_nsd, place=place)
        scores[f"nsd_found_{name}"] = partial(_nsd_found, place=place)
    return scores


def _nsd(case: Case, place: int) -> float:
    return case.surfaces.nsd[place]


def _nsd_found(case: Case, place: int) -> float:
    return case.found(case.surfaces.nsd[place])


def metrics_in(space: Space) -> tuple[Metric, ...]:
    """Every metric of an evaluation of volumes, in the order of tables."""
    unit = space.unit
    whole = [BY_NAME[name] for name in ("iou", "sensitivity", "precision", "volume_bias")]
    return (
        BY_NAME["dice"],
        BY_NAME["dice_median"],
        Metric(
            "dice_found", "Dice, found", "", "higher", Group.VOLUME,
            "Volumetric Dice of cases with the label in both masks, mean over patients", OverPatients("dice_found"),
            main=True, terminal=True,
        ),
        *whole,
        BY_NAME["volume_error"],
        BY_NAME["missed"],
        Metric(
            "one_sided", "One-sided", "", "lower", Group.VOLUME,
            "Share of cases with the label in only one of both masks, mean over patients",
            OverPatients("one_sided_share"), main=True, terminal=True,
        ),
        *(_millilitres() if unit == "mm" else ()),
        Metric(
            f"hd95_{unit}", "HD95 with penalty", unit, "lower", Group.DISTANCE,
            "95th percentile surface distance (one mask empty: the volume's diagonal), mean over patients",
            OverPatients(f"hd95_{unit}"), main=True, terminal=True,
        ),
        Metric(
            f"hd95_found_{unit}", "HD95, found", unit, "lower", Group.DISTANCE,
            "95th percentile surface distance of cases with the label in both masks, mean over patients",
            OverPatients(f"hd95_found_{unit}"), main=True, terminal=True,
        ),
        *(metric for limit in space.tolerances for metric in _surface_dice(space, limit)),
        *(BY_NAME[name] for name in ("lesion_f1", "lesion_precision", "lesion_recall")),
    )  # fmt: skip


def metrics_of(space: Space | None) -> tuple[Metric, ...]:
    """The metrics of an evaluation: of volumes where it has a space, else of slices."""
    return METRICS if space is None else metrics_in(space)


def metric_named(name: str) -> Metric | None:
    """A metric by its name, of slices or of volumes in any unit and with any tolerance; None for an unknown one."""
    if name in BY_NAME:
        return BY_NAME[name]
    found = re.fullmatch(r"nsd_(?:found_)?([0-9.e+-]+)(mm|voxels)", name)
    tolerances = (float(found[1]),) if found else TOLERANCES
    spaces = (Space("mm", tolerances), Space("voxels", tolerances))
    return next((metric for space in spaces for metric in metrics_in(space) if metric.name == name), None)


def _millilitres() -> tuple[Metric, ...]:
    return (
        Metric(
            "volume_error_ml", "Volume error", "ml", "lower", Group.VOLUME,
            "|predicted - reference| volume, mean over patients", OverPatients("volume_error_ml"),
            main=True, terminal=True,
        ),
        Metric(
            "volume_bias_ml", "Volume bias", "ml", None, Group.VOLUME,
            "predicted - reference volume, mean over patients", OverPatients("volume_bias_ml"),
        ),
    )  # fmt: skip


def _surface_dice(space: Space, limit: float) -> tuple[Metric, Metric]:
    name, shown = f"{limit:g}{space.unit}", f"{limit:g} {space.unit}"
    main = limit == max(space.tolerances)
    return (
        Metric(
            f"nsd_{name}", f"NSD {shown}", "", "higher", Group.DISTANCE,
            f"Share of surface within {shown} (one mask empty: 0), mean over patients",
            OverPatients(f"nsd_{name}"), main=main, terminal=True,
        ),
        Metric(
            f"nsd_found_{name}", f"NSD {shown}, found", "", "higher", Group.DISTANCE,
            f"Share of surface within {shown} of cases with the label in both masks, mean over patients",
            OverPatients(f"nsd_found_{name}"), terminal=True,
        ),
    )  # fmt: skip
