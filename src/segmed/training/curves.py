"""The learning curves of a run as a picture."""

from collections.abc import Sequence
from pathlib import Path

from segmed.core.files import written_aside
from segmed.io.figures import save_figure
from segmed.training.epoch_row import EpochRow


def draw_curves(rows: Sequence[EpochRow], path: Path, *, title: str) -> None:
    """Draw loss and validation Dice by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2))
    # set here, since matplotlib finds them by drawing all of it once more
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.16, top=0.88, wspace=0.25)
    left, right = figure.subplots(1, 2)
    epochs = [row.epoch + 1 for row in rows]
    left.plot(epochs, [row.training_loss for row in rows], marker=".", label="training")
    left.plot(epochs, [row.validation_loss for row in rows], marker=".", label="validation")
    left.set(xlabel="epoch", ylabel="loss")
    left.legend(frameon=False)
    right.plot(epochs, [row.validation_dice for row in rows], marker=".", color="C2")
    right.set(xlabel="epoch", ylabel="mean validation Dice", ylim=(0, 1))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(title)
    with written_aside(path) as temporary:
        save_figure(figure, temporary, dpi=150)
