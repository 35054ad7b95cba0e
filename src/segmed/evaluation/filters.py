"""The picture of a learned filter: gain by radius and as a spectrum, an image before and after it, the difference."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from segmed.core.files import write_table, written_aside
from segmed.core.intensity import span_of
from segmed.inference.filters import BeforeAndAfter, FilterResponse, LearnedFilter
from segmed.io.figures import save_figure

MOST_CHANNELS = 6
"""A filter of more channels, as on an embedding, is shown by its mean and its spread."""
_SIDE = 2.3


def filter_figure(learned: LearnedFilter, response: FilterResponse, image: BeforeAndAfter | None, *, title: str) -> Any:
    """A matplotlib figure: a row per channel, with its radial curve, its spectrum and, with an image, three views."""
    from matplotlib.figure import Figure

    curves, spectra, names = response.curves, response.spectra, learned.inputs
    if len(curves) > MOST_CHANNELS or not names:
        curves, spectra, names = curves.mean(0)[None], spectra.mean(0)[None], (f"mean of {len(curves)} channels",)
        image = None
    columns = 2 if image is None else 5
    figure = Figure(figsize=(_SIDE * columns + 0.9, _SIDE * len(names) + 0.7), layout="constrained")
    grid = figure.subplots(len(names), columns, squeeze=False)
    for row, (name, curve, spectrum) in enumerate(zip(names, curves, spectra, strict=True)):
        _curve(grid[row, 0], response, curve, name, spread=response.curves if len(names) == 1 else None)
        _spectrum(figure, grid[row, 1], response, spectrum)
        if image is not None:
            _views(figure, grid[row, 2:], image.before[row], image.after[row])
    headings = (
        f"{response.quantity} by frequency",
        f"{response.quantity}, spectrum",
        "before",
        "after",
        "after - before",
    )
    for axes, heading in zip(grid[0], headings, strict=False):
        axes.set_title(heading, fontsize=10)
    grid[-1, 0].set_xlabel("cycles per pixel")
    figure.suptitle(title, fontsize=11)
    return figure


def write_filter_picture(figure: Any, path: Path) -> None:
    """Write the figure as PNG."""
    with written_aside(path) as temporary:
        save_figure(figure, temporary, dpi=110)


def png_of(figure: Any) -> bytes:
    """The figure as the bytes of a PNG file of at most 256 colours, so that a report stays small."""
    from PIL import Image

    stream, small = io.BytesIO(), io.BytesIO()
    save_figure(figure, stream, dpi=90)
    with Image.open(stream) as picture:
        picture.convert("RGB").quantize(256).save(small, format="PNG", optimize=True)
    return small.getvalue()


def write_filter_curve(response: FilterResponse, inputs: Sequence[str], path: Path) -> None:
    """The radial curves as CSV: frequency in cycles per pixel, then a column per channel; empty where undefined.

    `inputs` names the channels; without names, as on an embedding, they have numbers.
    """
    names = inputs or [f"channel {number}" for number in range(len(response.curves))]
    columns = dict(zip(names, response.curves, strict=True))
    headings = [f"{response.quantity} {name}".replace(",", "").replace(" ", "_") for name in columns]
    rows = [
        [f"{frequency:.6f}", *("" if np.isnan(value) else f"{value:.6g}" for value in values)]
        for frequency, *values in zip(response.frequencies, *columns.values(), strict=True)
    ]
    write_table(path, ["cycles_per_pixel", *headings], rows)


def _curve(
    axes: Any,
    response: FilterResponse,
    curve: Float[np.ndarray, " rings"],
    name: str,
    *,
    spread: Float[np.ndarray, "c rings"] | None,
) -> None:
    axes.axhline(0 if response.quantity == "phase" else 1, color="0.75", linewidth=1)
    if spread is not None and len(spread) > 1:
        defined = np.isfinite(spread).any(axis=0)
        low, high = np.nanquantile(spread[:, defined], (0.05, 0.95), axis=0)
        axes.fill_between(response.frequencies[defined], low, high, color="C0", alpha=0.2, linewidth=0)
    axes.plot(response.frequencies, curve, color="C0")
    axes.set_ylabel(name, fontsize=9)
    if response.quantity != "phase":
        reach = _reach(curve)
        ticks = _ticks(reach)
        axes.set_yscale("log")
        axes.set_ylim(1 / reach**1.1, reach**1.1)
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_yticks([], minor=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _spectrum(figure: Any, axes: Any, response: FilterResponse, spectrum: Float[np.ndarray, "h w"]) -> None:
    """The spectrum in colours around what changes nothing: a phase of 0, or a factor of 1 on a logarithmic scale."""
    from matplotlib.colors import LogNorm, Normalize

    if response.quantity == "phase":
        reach = max(float(np.quantile(np.abs(spectrum), 0.995)), 1e-3)
        norm, ticks = Normalize(-reach, reach), None
    else:
        reach = _reach(spectrum)
        norm, ticks = LogNorm(1 / reach, reach), _ticks(reach)
    shown = axes.imshow(spectrum, cmap="RdBu_r", norm=norm, extent=(-0.5, 0.5, 0.5, -0.5))
    axes.set_xticks([-0.5, 0, 0.5])
    axes.set_yticks([-0.5, 0, 0.5])
    axes.tick_params(labelsize=7)
    bar = figure.colorbar(shown, ax=axes, shrink=0.8)
    if ticks is not None:
        bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=7)


def _reach(factors: Float[np.ndarray, "..."]) -> float:
    """How far factors lie from 1, as a factor: 2 for those from 0.5 to 2; never less than 1.1."""
    logarithms = np.abs(np.log(np.clip(factors[np.isfinite(factors)], 1e-6, None)))
    return max(float(np.exp(np.quantile(logarithms, 0.995))) if logarithms.size else 1.0, 1.1)


def _ticks(reach: float) -> list[float]:
    """1 and round factors on either side of it, as far as `reach`."""
    above = max((each for each in (1.1, 1.2, 1.5, 2, 4, 10, 20, 50, 100, 1000) if each <= reach), default=1.1)
    return [round(1 / above, 2 if above <= 20 else 4), 1.0, float(above)]


def _views(figure: Any, places: Any, before: Float[np.ndarray, "h w"], after: Float[np.ndarray, "h w"]) -> None:
    """Either image on a grey scale of its own, since filters change an image's range, which networks take in stride."""
    for axes, picture in zip(places[:2], (before, after), strict=True):
        low, high = (float(value) for value in np.percentile(picture, (0.5, 99.5)))
        axes.imshow(picture, cmap="gray", vmin=low, vmax=low + span_of(low, high))
    difference = after - before
    reach = float(np.quantile(np.abs(difference), 0.995)) or 1.0
    shown = places[2].imshow(difference, cmap="RdBu_r", vmin=-reach, vmax=reach)
    figure.colorbar(shown, ax=places[2], shrink=0.8).ax.tick_params(labelsize=7)
    for axes in places:
        axes.set_axis_off()
