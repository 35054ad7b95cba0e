"""Figures as inline SVG that takes its colours and its font from the page, so that one picture serves light and dark.

Matplotlib draws with the stand-in colours below; in the SVG each is replaced by a CSS variable of the page.
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from markupsafe import Markup, escape

INK = "#010101"
MUTED = "#020202"
RULE = "#030303"
PAPER = "#040404"
SERIES = tuple(f"#0501{index:02x}" for index in range(8))
"""One colour per system, in order of rank; `MUTED` is for floors."""

_VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", PAPER: "--paper"} | {
    colour: f"--series-{index}" for index, colour in enumerate(SERIES)
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 12.0,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 1.0,
    "text.color": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 4.0,
    "ytick.major.size": 4.0,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's settings for the report's figures; a font that lacks a letter is the browser's matter, not ours."""
    import matplotlib

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def new_figure(width: int, height: int) -> Any:
    """An empty matplotlib figure of `width` x `height` CSS pixels, apart from pyplot's global state."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    FigureCanvasSVG(figure)
    return figure


def inline_svg(figure: Any, *, name: str, description: str) -> Markup:
    """The figure as an `<svg>` element without any address, script or fixed size; `name` keeps its ids its own."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    body = re.sub(r"^.*?<svg[^>]*>", "", stream.getvalue(), count=1, flags=re.DOTALL)
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = _own_ids(body.replace("xlink:href", "href"), name)
    body = re.sub(r'style="[^"]*"', lambda found: _page_style(found.group()), body)
    width, height = (round(72 * side) for side in figure.get_size_inches())
    opening = (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(description)}" style="width: {width}px">'
    )
    return Markup(opening + re.sub(r"\n\s*", "\n", body))  # matplotlib escaped the text


def named_dots(picture: Markup, dots: Sequence[tuple[str, str]]) -> Markup:
    """A figure in which every dot drawn with the address `dot:N` tells the text of the Nth and leads to its anchor."""

    def link(found: re.Match[str]) -> str:
        anchor, text = dots[int(found[1])]
        return f'<a href="#{escape(anchor)}"><title>{escape(text)}</title>'

    return Markup(re.sub(r'<a href="dot:(\d+)"[^>]*>', link, picture))  # the figure is markup, the texts are escaped


def _page_style(attribute: str) -> str:
    """A style attribute with the page's font and colours."""
    attribute = re.sub(r"font:\s*([\d.]+px)[^;\"]*", r"font-size: \1", attribute)
    attribute = re.sub(r"font-family:[^;\"]*;?\s*", "", attribute)
    return re.sub("|".join(_VARIABLES), lambda found: f"var({_VARIABLES[found.group()]})", attribute)


def _own_ids(body: str, name: str) -> str:
    """Drop ids that nothing points to, and give the others the figure's name, so that no two figures share one."""
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', body))
    wanted = {first or second for first, second in used}
    body = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in wanted else "", body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', body)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
