"""The learning curves of a run as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segmed.core.files import written_aside
from segmed.io.figures import save_png


def draw_curves(rows: Sequence[dict[str, Any]], path: Path, *, title: str) -> None:
    """Draw loss and validation Dice by epoch; `rows` are those of metrics.csv."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [int(row["epoch"]) + 1 for row in rows]
    for name, label in (("train/loss", "training"), ("validation/loss", "validation")):
        left.plot(epochs, [float(row[name]) for row in rows], marker=".", label=label)
    left.set(xlabel="epoch", ylabel="loss")
    left.legend(frameon=False)
    right.plot(epochs, [float(row["validation/dice"]) for row in rows], marker=".", color="C2")
    right.set(xlabel="epoch", ylabel="mean validation Dice", ylim=(0, 1))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(title)
    with written_aside(path) as temporary:
        save_png(figure, temporary, dpi=150)
