"""Figures of matplotlib as pictures, with the texts of a user as they are written."""

import io
import warnings
from pathlib import Path
from typing import Any

from segmed.core.escaping import for_terminal


def save_png(figure: Any, target: Path | io.BytesIO, *, dpi: int, **options: Any) -> None:
    """Write a figure as PNG.

    A name with dollar signs is no formula: matplotlib would set `a$b$` in italics and fail at `$\\frac$`. Labels of
    ticks stay formulas, since those of logarithmic axes are. A letter that the font lacks is drawn as a box.

    Args:
        figure: The figure.
        target: A file, or what can be written to.
        dpi: Pixels per inch.
        options: Further arguments of `savefig`.
    """
    from matplotlib.text import Text

    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in axis.get_ticklabels(which="both")
    }
    for text in figure.findobj(Text):
        if text not in ticks:
            text.set_parse_math(False)
            text.set_text(for_terminal(text.get_text()))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure.savefig(target, dpi=dpi, format="png", **options)
