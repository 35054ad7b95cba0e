"""Names of users in pictures are drawn as they are written."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from segmed.io.figures import save_png


def drawn(title: str) -> np.ndarray:
    figure = Figure(figsize=(4, 2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([1, 10, 100], label=title)
    axes.set_yscale("log")
    axes.set_title(title)
    axes.set_ylabel(title)
    axes.legend()
    figure.suptitle(title)
    stream = io.BytesIO()
    save_png(figure, stream, dpi=60)
    with Image.open(stream) as picture:
        return np.asarray(picture.convert("L"))


@pytest.mark.parametrize("name", [r"$\frac$", r"p$_01$", "$", "a$b$c", "患者\x1b[0m \U0001f600"])
def test_a_name_that_looks_like_a_formula_is_drawn_as_it_is_written(name: str) -> None:
    assert drawn(name).shape == (120, 240)


def test_dollars_are_drawn() -> None:
    assert (drawn("aa$b$") != drawn("aab")).any()
    assert (drawn("$aab$") != drawn("aab")).any()
