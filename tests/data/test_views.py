"""The views of a square are its eight symmetries, exact, and closed as sets."""

import pytest
import torch

from segmed.core.errors import ConfigError
from segmed.data.views import SETS, VIEWS, View, parse_views, viewed

CORNERS = torch.tensor([[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("identity", [[1, 2], [3, 4]]),
        ("hflip", [[2, 1], [4, 3]]),
        ("vflip", [[3, 4], [1, 2]]),
        ("rot90", [[2, 4], [1, 3]]),
        ("rot180", [[4, 3], [2, 1]]),
        ("rot270", [[3, 1], [4, 2]]),
        ("transpose", [[1, 3], [2, 4]]),
        ("antitranspose", [[4, 2], [3, 1]]),
    ],
)
def test_a_view_moves_the_corners_as_its_name_says(view: View, expected: list[list[int]]) -> None:
    assert viewed(CORNERS, view).tolist() == expected


@pytest.mark.parametrize("name", SETS)
def test_a_view_of_a_view_is_in_the_same_set(name: str) -> None:
    shown = {tuple(viewed(CORNERS, view).flatten().tolist()) for view in SETS[name]}
    again = {tuple(viewed(viewed(CORNERS, a), b).flatten().tolist()) for a in SETS[name] for b in SETS[name]}
    assert len(shown) == len(SETS[name])
    assert again == shown


def test_leading_axes_stay() -> None:
    pixels = torch.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    assert viewed(pixels, "rot90").shape == (2, 3, 7, 5)
    assert torch.equal(viewed(pixels, "hflip")[1, 2], pixels[1, 2].flip(-1))


def test_views_are_named_by_a_set_or_one_by_one_and_the_identity_is_always_there() -> None:
    assert parse_views("all") == tuple(VIEWS)
    assert parse_views("hflip, rot90") == ("identity", "rot90", "hflip")


def test_an_unknown_view_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown view 'rot9'\. Did you mean 'rot90'\?"):
        parse_views("rot9")
