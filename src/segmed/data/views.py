"""The eight ways to turn and mirror a square: the views of an image that an embedding cache can hold.

A view is exact, it moves pixels and interpolates nothing, so a mask turned alike is the mask of the turned image.
"""

import difflib
from typing import Literal

import torch
from jaxtyping import Shaped
from torch import Tensor

from segmed.core.errors import ConfigError

View = Literal["identity", "rot90", "rot180", "rot270", "hflip", "vflip", "transpose", "antitranspose"]

VIEWS: dict[View, tuple[bool, int]] = {
    "identity": (False, 0),
    "rot90": (False, 1),
    "rot180": (False, 2),
    "rot270": (False, 3),
    "hflip": (True, 0),
    "transpose": (True, 1),
    "vflip": (True, 2),
    "antitranspose": (True, 3),
}
"""Whether a view mirrors left and right, and how many quarter turns (against the clock) follow."""

SETS: dict[str, tuple[View, ...]] = {
    "none": ("identity",),
    "flips": ("identity", "hflip", "vflip", "rot180"),
    "rot90": ("identity", "rot90", "rot180", "rot270"),
    "all": tuple(VIEWS),
}
"""Sets of views by name, each closed: a view of a view is in the set again."""


def viewed(pixels: Shaped[Tensor, "*some h w"], view: View) -> Shaped[Tensor, "*some H W"]:
    """The last two axes of `pixels` as the view shows them."""
    mirrored, turns = VIEWS[view]
    return torch.rot90(pixels.flip(-1) if mirrored else pixels, turns, (-2, -1))


def parse_views(text: str) -> tuple[View, ...]:
    """The views that a word of `SETS` or a list such as `identity,hflip` names; the identity is always first.

    Raises `ConfigError`, with the nearest name, for an unknown one.
    """
    if text in SETS:
        return SETS[text]
    asked = {name.strip() for name in text.split(",")}
    for name in sorted(asked - set(VIEWS)):
        near = difflib.get_close_matches(name, [*SETS, *VIEWS], n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"Unknown view {name!r}. {hint}Choose {', '.join(SETS)}, or some of {', '.join(VIEWS)}.")
    return tuple(view for view in VIEWS if view in asked or view == "identity")
