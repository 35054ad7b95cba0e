"""The report's section on degraded images: a panel per kind of degradation, a table, and its rows as CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from segmed.core.files import write_table
from segmed.core.units import PATIENT, unit_of
from segmed.data.degrade import KINDS
from segmed.evaluation.compare import Comparison, mean_dice
from segmed.evaluation.report import figures, numbers, svg
from segmed.evaluation.robustness import Degraded, kinds_of

_PANEL = 210


@dataclass(frozen=True)
class RobustnessRow:
    """A system under one degradation, as text."""

    system: str
    place: int
    cells: tuple[tuple[str, str], ...]
    """Value and interval for each degradation of the table, empty where it was not evaluated."""


@dataclass(frozen=True)
class Robustness:
    """What the templates print: the figure at its two widths, the table's headings and its rows."""

    wide: Markup
    narrow: Markup
    headings: tuple[str, ...]
    rows: tuple[RobustnessRow, ...]
    meanings: tuple[tuple[str, str], ...]


def robustness(comparison: Comparison, results: Sequence[Degraded]) -> Robustness | None:
    """The section; None where no run was evaluated on degraded images."""
    if not results:
        return None
    degradations = sorted({result.degradation for result in results}, key=lambda each: each.order)
    known = {(result.system, result.degradation): result for result in results}
    rows = []
    for place, system in enumerate(comparison.systems):
        mine = [known.get((system.name, degradation)) for degradation in degradations]
        if any(mine):
            rows.append(RobustnessRow(system.name, place, tuple(_cell(result) for result in mine)))
    clean = {system.name: mean_dice(system, comparison.patients) for system in comparison.systems}
    places = {system.name: place for place, system in enumerate(comparison.systems)}
    kinds = kinds_of(results)
    wide, narrow = (_figure(results, clean, places, kinds, width) for width in (figures.WIDE, figures.NARROW))
    return Robustness(
        wide=wide,
        narrow=narrow,
        headings=tuple(f"{degradation.kind} {degradation.severity:g}" for degradation in degradations),
        rows=tuple(rows),
        meanings=tuple((kind, KINDS[kind].meaning) for kind in kinds),
    )


def write_robustness(results: Sequence[Degraded], path: Path) -> None:
    """A line per system and degradation with every digit; numbers of patients, or of images where one is unknown."""
    unit = unit_of(patients_known=all(result.unit == PATIENT for result in results))
    columns = [f"{what}{end}" for what in ("dice", "loss") for end in ("", "_low", "_high")]
    rows: list[list[object]] = []
    for result in results:
        values = [v for i in (result.dice, result.loss) for v in (i.value, i.low, i.high)]
        facts = [result.system, result.degradation.kind, result.degradation.severity, result.patients]
        rows.append([*facts, *values])
    write_table(path, ["name", "kind", "severity", unit.many, *columns], rows)


def _cell(result: Degraded | None) -> tuple[str, str]:
    if result is None:
        return numbers.MISSING, ""
    lost = f"{numbers.number(-result.loss.value, 3, signed=True)} "
    return (
        numbers.number(result.dice.value, 3),
        lost + numbers.interval(-result.loss.high, -result.loss.low, 3, signed=True),
    )


def _figure(
    results: Sequence[Degraded],
    clean: Mapping[str, float],
    places: Mapping[str, int],
    kinds: Sequence[str],
    width: int,
) -> Markup:
    columns = min(len(kinds), 4 if width >= figures.WIDE else 1)
    lines = -(-len(kinds) // columns)
    with svg.style():
        figure = svg.new_figure(width, _PANEL * lines + 30)
        grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
        figure.subplots_adjust(
            left=52 / width, right=1 - 8 / width, top=1 - 24 / (_PANEL * lines + 30), bottom=48 / (_PANEL * lines + 30),
            wspace=0.12, hspace=0.55,
        )  # fmt: skip
        for axes, kind in zip(grid.flat, kinds, strict=False):
            _panel(axes, [r for r in results if r.degradation.kind == kind], clean, places, kind)
        for axes in list(grid.flat)[len(kinds) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("mean Dice")
        return svg.inline_svg(figure, name=f"robustness-{width}", description="Dice by severity of each degradation")


def _panel(
    axes: Any, results: Sequence[Degraded], clean: Mapping[str, float], places: Mapping[str, int], kind: str
) -> None:
    severities = sorted({result.degradation.severity for result in results}, reverse=KINDS[kind].none > 0)
    for index, (name, place) in enumerate(places.items()):
        mine = {result.degradation.severity: result.dice for result in results if result.system == name}
        if not mine:
            continue
        shift = 0.06 * (index - (len(places) - 1) / 2)
        at = [shift, *(1 + severities.index(severity) + shift for severity in mine)]
        values = [clean[name], *(dice.value for dice in mine.values())]
        style = {"color": figures.colour(place), "linestyle": figures.LINES[place % len(figures.LINES)]}
        axes.plot(
            at, values, marker=figures.MARKERS[place % len(figures.MARKERS)], markersize=5, linewidth=1.8, **style
        )
        for x, dice in zip(at[1:], mine.values(), strict=True):
            axes.plot([x, x], [dice.low, dice.high], color=figures.colour(place), linewidth=1.0, alpha=0.6)
    axes.set_xticks(range(len(severities) + 1), ["none", *(f"{severity:g}" for severity in severities)])
    axes.set_xlabel(f"{kind}: severity")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(axis="y")
