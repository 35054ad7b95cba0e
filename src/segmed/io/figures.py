"""Figures of matplotlib as pictures, with the texts of a user as they are written."""

import io
import warnings
from pathlib import Path
from typing import Any

from segmed.core.errors import ConfigError
from segmed.core.escaping import for_terminal

PICTURES = {".png": "png", ".pdf": "pdf", ".svg": "svg", ".jpg": "jpeg", ".jpeg": "jpeg"}
"""What matplotlib calls the format of each suffix, in lower case."""


def picture_format(path: Path) -> str:
    """The format of a picture by its suffix; raises `ConfigError` for another name."""
    if (found := PICTURES.get(path.suffix.lower())) is None:
        raise ConfigError(f"{path}: not the name of a picture. End it in one of: {', '.join(PICTURES)}.")
    return found


def save_figure(figure: Any, target: Path | io.BytesIO, *, dpi: int, **options: Any) -> None:
    """Write a figure in the format that the name of the file says, or as PNG to a stream.

    A name with dollar signs is no formula: matplotlib would set `a$b$` in italics and fail at `$\\frac$`. Labels of
    ticks stay formulas, since those of logarithmic axes are. A letter that the font lacks is drawn as a box.

    Args:
        figure: The figure.
        target: A file with a suffix of `PICTURES`, or what can be written to.
        dpi: Pixels per inch.
        options: Further arguments of `savefig`.

    Raises:
        ConfigError: Another suffix.
    """
    from matplotlib.text import Text

    kind = picture_format(target) if isinstance(target, Path) else "png"
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
        figure.savefig(target, dpi=dpi, format=kind, **options)
