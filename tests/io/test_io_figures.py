"""Names of users in pictures are drawn as they are written."""

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from segmed.core.errors import ConfigError
from segmed.io.figures import save_figure


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
    save_figure(figure, stream, dpi=60)
    with Image.open(stream) as picture:
        return np.asarray(picture.convert("L"))


@pytest.mark.parametrize("name", [r"$\frac$", r"p$_01$", "$", "a$b$c", "患者\x1b[0m \U0001f600"])
def test_a_name_that_looks_like_a_formula_is_drawn_as_it_is_written(name: str) -> None:
    assert drawn(name).shape == (120, 240)


BEGINNINGS = {"a.png": b"\x89PNG", "a.PNG": b"\x89PNG", "a.pdf": b"%PDF", "a.svg": b"<?xml", "a.jpg": b"\xff\xd8\xff"}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_file_is_of_the_format_that_its_name_says(tmp_path: Path, name: str) -> None:
    save_figure(Figure(), tmp_path / name, dpi=30)
    assert (tmp_path / name).read_bytes().startswith(BEGINNINGS[name])


def test_a_name_of_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.txt: not the name of a picture. End it in one of: \.png, \.pdf"):
        save_figure(Figure(), tmp_path / "a.txt", dpi=30)
    assert not (tmp_path / "a.txt").exists()


def test_dollars_are_drawn() -> None:
    assert (drawn("aa$b$") != drawn("aab")).any()
    assert (drawn("$aab$") != drawn("aab")).any()
