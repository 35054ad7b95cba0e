"""The box-quality curve: how good masks are against how good the boxes were, beside the filled box and its ellipse.

A model whose curve lies on the ellipse's adds nothing to the box; one that stays high where boxes are poor has looked
at the image.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segmed.core.files import table_text, write_text, written_aside
from segmed.evaluation.result import Evaluation
from segmed.evaluation.rows import BoxRow
from segmed.io.figures import save_figure
from segmed.prompts.kinds import PromptKind
from segmed.prompts.quality import QualityCurve, quality_curve

FLOORS: dict[str, Callable[[BoxRow], float]] = {
    "inscribed ellipse": lambda row: row.ellipse_iou,
    "filled box": lambda row: row.filled_iou,
}
"""Floors' curves by name, with their scores of a box."""
_COLOUR = dict.fromkeys(FLOORS, "0.45")
_DASHES = {"inscribed ellipse": ":", "filled box": "--"}


def quality_curves(evaluations: Sequence[Evaluation]) -> dict[str, QualityCurve]:
    """A curve per model over all its boxes of all kinds, and the floors' over the boxes that any model was given.

    Empty where no evaluation has boxes.
    """
    systems: dict[str, list[BoxRow]] = {}
    given: dict[tuple[PromptKind | None, str, int], BoxRow] = {}
    for evaluation in evaluations:
        if evaluation.boxes:
            systems.setdefault(evaluation.system, []).extend(evaluation.boxes)
        given |= {(evaluation.prompts, row.slice_id, row.object): row for row in evaluation.boxes}
    curves = {name: _curve(rows, [row.mask_iou for row in rows]) for name, rows in systems.items()}
    boxes = list(given.values())
    return curves | {name: _curve(boxes, [floor(row) for row in boxes]) for name, floor in FLOORS.items() if boxes}


def write_quality(folder: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write `box-quality.csv` and `box-quality.png` of evaluations with boxes; nothing where there are none."""
    curves = quality_curves(evaluations)
    if not curves:
        return
    write_text(folder / "box-quality.csv", quality_csv(curves))
    with written_aside(folder / "box-quality.png") as temporary:
        save_figure(_draw(curves), temporary, dpi=150)


def quality_csv(curves: Mapping[str, QualityCurve]) -> str:
    """A line per curve and bin that is not empty: its borders, the boxes in it, mean IoU of boxes and of masks."""
    rows: list[list[object]] = []
    for name, curve in curves.items():
        for index in np.flatnonzero(curve.count):
            borders = [f"{edge:g}" for edge in curve.edges[index : index + 2]]
            means = [float(curve.box_iou[index]), float(curve.mask_iou[index])]
            rows.append([name, *borders, int(curve.count[index]), *means])
    return table_text(["name", "from", "to", "boxes", "box_iou", "mask_iou"], rows)


def points_of(curve: QualityCurve) -> list[tuple[float, float]]:
    """Mean IoU of boxes and of masks in each bin that is not empty."""
    known = curve.count > 0
    return [(float(x), float(y)) for x, y in zip(curve.box_iou[known], curve.mask_iou[known], strict=True)]


def _curve(rows: Sequence[BoxRow], values: Sequence[float]) -> QualityCurve:
    boxes = np.array([row.box_iou for row in rows], np.float64)
    return quality_curve(boxes, np.array(values, np.float64))


def _draw(curves: Mapping[str, QualityCurve]) -> Any:
    """The curves as a figure that stands alone: models in colour, floors in grey."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, curve in curves.items():
        x, y = zip(*points_of(curve), strict=True)
        axes.plot(x, y, marker="o", label=name, color=_COLOUR.get(name), linestyle=_DASHES.get(name))
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="IoU of the box with the tight box", ylabel="IoU of the mask")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="upper left")
    return figure
