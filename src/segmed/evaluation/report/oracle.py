"""The page's part on prompts made from the reference: tables of their own, box quality, reliability."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from segmed.evaluation.compare import Comparison
from segmed.evaluation.quality import FLOORS, points_of, quality_curves
from segmed.evaluation.report import figures, tables
from segmed.evaluation.result import Evaluation

COLUMNS = (
    "dice",
    "iou",
    "iou_positive_slices",
    "dice_positive_slices",
    "iou_per_image_empty_one",
    "nsd_2px",
    "ece",
)
"""The table's metrics: by patient, then slices with foreground apart from all slices."""


@dataclass(frozen=True)
class Group:
    """One kind of prompts: systems, best first, with their floors below, under the same boxes."""

    kind: str
    scores: tables.Scores
    tests: tuple[tables.PairLine, ...]
    floor_tests: tuple[tables.PairLine, ...]


@dataclass(frozen=True)
class Line:
    """A line of a figure and of its key."""

    name: str
    place: int | None
    dash: str


@dataclass(frozen=True)
class Reliability:
    """The reliability of systems under one kind of prompts; `averaged` marks those of several boxes, or is empty."""

    kind: str
    averaged: str
    picture: Markup
    key: tuple[Line, ...]


def oracle_sections(comparison: Comparison) -> dict[str, Any]:
    """What the template prints of the oracles of a comparison; every value is empty where there are none."""
    told = ((comparison,) if comparison.oracle_prompts else ()) + comparison.oracles
    curves, key = quality_figure([e for each in told for e in each.evaluations])
    return {
        "oracles": [_group(oracle) for oracle in comparison.oracles],
        "quality": curves,
        "quality_key": key,
        "reliability": [each for oracle in comparison.oracles if (each := _reliability(oracle)) is not None],
        "has_oracle": bool(comparison.oracles or curves),
    }


def _group(oracle: Comparison) -> Group:
    kind = str(oracle.oracle_prompts)
    scores = tables.scores(oracle, [name for name in COLUMNS if name in oracle.metric_names()])
    systems = {floor.name: floor.system for floor in oracle.floors}
    floors = tuple(replace(row, name=systems[row.name]) for row in scores.floors)
    return Group(
        kind,
        replace(scores, floors=floors),
        tests=tables.pair_lines(oracle.tests, oracle.unit),
        floor_tests=tables.pair_lines(oracle.floor_tests, oracle.unit),
    )


def quality_figure(evaluations: Sequence[Evaluation]) -> tuple[Markup | None, list[Line]]:
    """The box-quality curve and its key."""
    curves = quality_curves(evaluations)
    if not curves:
        return None, []
    systems = [name for name in curves if name not in FLOORS]
    lines = [Line(name, place, figures.dash(place)) for place, name in enumerate(systems)]
    lines += [Line(name, None, dash) for name, dash in zip(FLOORS, ("2 2.5", "6 3"), strict=True)]
    styles = {line.name: (line.place, line.dash) for line in lines}
    points = {name: points_of(curve) for name, curve in curves.items()}
    return figures.quality_plot(points, styles, figures.NARROW), lines


def _reliability(oracle: Comparison) -> Reliability | None:
    known = {system.name: system.calibration for system in oracle.systems if system.calibration is not None}
    if not known:
        return None
    places = {name: place for place, name in enumerate(known)}
    key = tuple(Line(name, place, figures.dash(place)) for name, place in places.items())
    name = f"reliability-{oracle.oracle_prompts}".replace(":", "-").replace("@", "-").replace(".", "-")
    marks = {system.prompts.averaged for system in oracle.systems if system.prompts}
    averaged = " and ".join(sorted(marks - {""}))
    picture = figures.calibration_plot(known, places, figures.SMALL, name=name)
    return Reliability(str(oracle.oracle_prompts), averaged, picture, key)
