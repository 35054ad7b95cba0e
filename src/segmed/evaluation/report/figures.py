"""The report's figures. Each is drawn for a given width in CSS pixels, once for a desktop and once for a phone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from markupsafe import Markup

from segmed.evaluation.report import svg
from segmed.evaluation.result import Calibration

WIDE, NARROW, HALF, SMALL = 912, 350, 424, 300
"""The page's full width, a phone's, that of one of two figures side by side, and of several; in CSS pixels."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)), (0, (7, 2)))
DASHES = ("none", "6 3", "7 3 2 3", "2 2.5", "5 2", "2 2", "4 2 2 2 2 2", "8 3")
"""The dashes of keys, in the order of `LINES`."""
_ROW = 62


@dataclass(frozen=True)
class Strip:
    """One system's values per patient with their mean and interval. `place` is its rank, None for a floor.

    `dots` has for each value the anchor that its dot leads to and the patient's name, or is empty.
    """

    name: str
    values: tuple[float, ...]
    mean: float
    low: float
    high: float
    place: int | None
    dots: tuple[tuple[str, str], ...] = ()


def colour(place: int | None) -> str:
    """The colour of the system at a place from 0; muted for floors."""
    return svg.MUTED if place is None else svg.SERIES[place % len(svg.SERIES)]


def dash(place: int) -> str:
    """The dashes of the system at a place, in a key."""
    return DASHES[place % len(DASHES)]


def shortened(name: str, limit: int) -> str:
    """A name that fits a figure; the middle goes, since beginnings and ends tell runs apart."""
    if len(name) <= limit:
        return name
    return f"{name[: limit // 2]}…{name[-(limit - limit // 2 - 1) :]}"


def strip_plot(strips: Sequence[Strip], width: int, *, axis: str) -> Markup:
    """Every patient as a dot, the mean as a line through its 95 % interval; one row per system, floors below."""
    with svg.style():
        figure = svg.new_figure(width, len(strips) * _ROW + 52)
        axes = _axes(figure, width, left=8, right=12, top=4, bottom=46)
        for row, strip in enumerate(strips):
            _draw_strip(axes, strip, -row, width, before=sum(len(each.dots) for each in strips[:row]))
        axes.set(xlim=(-0.015, 1.015), ylim=(-len(strips) + 0.45, 0.62), xlabel=axis)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        for row, strip in enumerate(strips):
            label = f"{shortened(strip.name, width // 9)}{' (floor)' if strip.place is None else ''}"
            axes.text(0.0, -row + 0.34, label, va="bottom", fontsize=12.5)
        picture = svg.inline_svg(figure, name=f"strip-{width}", description=f"{axis}, a dot each, by system")
        return svg.named_dots(picture, [_told(strip, index) for strip in strips for index in range(len(strip.dots))])


def pair_plot(first: Strip, second: Strip, width: int, *, axis: str) -> Markup:
    """The same patients under two systems; above the diagonal the first is better."""
    side = min(width, 350)
    with svg.style():
        figure = svg.new_figure(side, side)
        axes = _axes(figure, side, left=52, right=10, top=10, bottom=50)
        axes.plot([0, 1], [0, 1], color=svg.RULE, zorder=1)
        dots = axes.scatter(
            second.values, first.values, s=34, facecolor=colour(first.place), edgecolor=svg.PAPER, alpha=0.85, zorder=3
        )
        if first.dots:
            dots.set_urls([f"dot:{index}" for index in range(len(first.dots))])
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_xlabel(f"{axis}, {shortened(second.name, 24)}")
        axes.set_ylabel(f"{axis}, {shortened(first.name, 24)}")
        description = f"{axis}, a dot each, under {first.name} against {second.name}"
        told = [
            (anchor, f"{name}: {ours:.3f} and {theirs:.3f}")
            for (anchor, name), ours, theirs in zip(first.dots, first.values, second.values, strict=False)
        ]
        return svg.named_dots(svg.inline_svg(figure, name=f"pair-{width}", description=description), told)


def curves(
    histories: Mapping[str, Sequence[tuple[float, float]]],
    places: Mapping[str, int | None],
    width: int,
    *,
    label: str,
    name: str,
    other: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> Markup:
    """One quantity by epoch, a line per run; `other`, drawn faint, is its counterpart on the training part."""
    with svg.style():
        figure = svg.new_figure(width, 250)
        axes = _axes(figure, width, left=50, right=12, top=12, bottom=46)
        for faint, lines in ((True, other or {}), (False, histories)):
            for run, points in lines.items():
                _draw_line(axes, points, places.get(run), faint=faint)
        axes.set(xlabel="epoch", ylabel=label)
        axes.grid(axis="y")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(x=0.02)
        return svg.inline_svg(figure, name=f"{name}-{width}", description=f"{label} by epoch")


def calibration_plot(
    calibrations: Mapping[str, Calibration],
    places: Mapping[str, int | None],
    width: int,
    *,
    name: str = "calibration",
) -> Markup:
    """Observed frequency against predicted probability; on the diagonal, probabilities mean what they say."""
    side = min(width, 350)
    with svg.style():
        figure = svg.new_figure(side, side)
        axes = _axes(figure, side, left=52, right=10, top=10, bottom=50)
        axes.plot([0, 1], [0, 1], color=svg.RULE)
        for run, calibration in calibrations.items():
            points = [
                (p, f)
                for p, f in zip(calibration.mean_probability, calibration.observed_frequency, strict=True)
                if math.isfinite(p) and math.isfinite(f)
            ]
            _draw_line(axes, points, places.get(run), faint=False, markers=True)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel="predicted probability", ylabel="observed frequency")
        return svg.inline_svg(figure, name=f"{name}-{width}", description="Reliability near the foreground")


def quality_plot(
    curves: Mapping[str, Sequence[tuple[float, float]]], styles: Mapping[str, tuple[int | None, str]], width: int
) -> Markup:
    """IoU of masks against IoU of boxes; `styles` has each curve's place, None for a floor, and its dashes."""
    side = min(width, 350)
    with svg.style():
        figure = svg.new_figure(side, side)
        axes = _axes(figure, side, left=52, right=10, top=10, bottom=50)
        for name, points in curves.items():
            place, dashes = styles[name]
            pattern = "-" if dashes == "none" else (0, tuple(float(part) / 2 for part in dashes.split()))
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=colour(place), linestyle=pattern, linewidth=2.0, marker="o", markersize=4)
        axes.set(xlim=(-0.02, 1.03), ylim=(-0.02, 1.03), aspect="equal")
        axes.set(xlabel="IoU of the box with the tight box", ylabel="IoU of the mask")
        axes.grid()
        axes.set_axisbelow(True)
        return svg.inline_svg(figure, name=f"quality-{width}", description="IoU of masks against IoU of boxes")


def swarm(
    values: Float64[np.ndarray, " n"], *, bin_width: float, step: float, limit: float
) -> Float64[np.ndarray, " n"]:
    """Heights that keep dots of equal value apart: within a bin they are stacked around 0, at most `limit` high."""
    heights = np.zeros(len(values))
    bins = np.floor(values / bin_width)
    for members in (np.flatnonzero(bins == b) for b in np.unique(bins)):
        spread = np.arange(len(members)) - (len(members) - 1) / 2
        heights[members] = spread * min(step, limit / max(1.0, float(np.abs(spread).max())))
    return heights


def _told(strip: Strip, index: int) -> tuple[str, str]:
    """Where the dot of a value leads, and what it says."""
    anchor, name = strip.dots[index]
    return anchor, f"{name}: {strip.values[index]:.3f}"


def _draw_strip(axes: Any, strip: Strip, row: int, width: int, *, before: int) -> None:
    """One system's dots, mean and interval; `before` dots were numbered in the rows above."""
    order = sorted((v, index) for index, v in enumerate(strip.values) if math.isfinite(v))
    values = np.array([v for v, _ in order], np.float64)
    heights = row - 0.03 + swarm(values, bin_width=12 / width, step=0.12, limit=0.25)
    dots = axes.scatter(
        values, heights, s=36, facecolor=colour(strip.place), edgecolor=svg.PAPER, linewidth=0.7, alpha=0.7, zorder=2
    )
    if strip.dots:
        dots.set_urls([f"dot:{before + index}" for _, index in order])
    if math.isfinite(strip.low) and math.isfinite(strip.high):
        axes.plot([strip.low, strip.high], [row - 0.03] * 2, color=svg.INK, linewidth=1.8, zorder=4)
    if math.isfinite(strip.mean):
        axes.plot([strip.mean] * 2, [row - 0.25, row + 0.19], color=svg.INK, linewidth=1.8, zorder=4)


def _draw_line(
    axes: Any, points: Sequence[tuple[float, float]], place: int | None, *, faint: bool, markers: bool = False
) -> None:
    if not points:
        return
    x, y = zip(*points, strict=True)
    index = 0 if place is None else place % len(MARKERS)
    axes.plot(
        x,
        y,
        color=colour(place),
        linestyle=LINES[index],
        linewidth=1.2 if faint else 2.0,
        alpha=0.45 if faint else 1.0,
        marker=MARKERS[index] if markers or len(x) == 1 else None,
        markersize=5,
    )


def _axes(figure: Any, width: int, *, left: int, right: int, top: int, bottom: int) -> Any:
    """Axes with margins in pixels."""
    height = 72 * figure.get_size_inches()[1]
    return figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height))
