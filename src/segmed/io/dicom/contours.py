"""Outlines of masks in a plane, and the masks of outlines: a pixel is inside where its centre is."""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Bool, Float

Contour = Float[np.ndarray, "_ 2"]
"""(row, column) in pixels, whole numbers at centres, closed without repeating the first point."""

ON_EDGE = 1e-3
"""Pixels from a contour up to which a centre lies on it, and is inside: some tools draw through centres."""


def filled(contours: Iterable[Contour], shape: tuple[int, int]) -> Bool[np.ndarray, "rows columns"]:
    """The pixels inside an odd number of contours: a contour in another is a hole.

    Args:
        contours: Of one structure in one plane; parts outside of the image are left out.
        shape: (rows, columns).
    """
    rows, columns = shape
    toggles, edges = np.zeros((rows, columns + 1), bool), np.zeros(shape, bool)
    for contour in contours:
        near = np.rint(contour)
        points = np.where(np.abs(contour - near) <= ON_EDGE, near, contour)
        for (y0, x0), (y1, x1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            (top, left), (bottom, right) = sorted([(y0, x0), (y1, x1)])
            whole = np.arange(max(int(np.ceil(top)), 0), min(int(np.floor(bottom)), rows - 1) + 1)
            if not whole.size:
                continue
            if top == bottom:
                edges[whole, max(int(np.ceil(left)), 0) : max(int(np.floor(right)) + 1, 0)] = True
                continue
            at = left + (whole - top) / (bottom - top) * (right - left)
            centre = np.rint(at).astype(int)
            on = (np.abs(at - centre) <= ON_EDGE) & (centre >= 0) & (centre < columns)
            edges[whole[on], centre[on]] = True
            crossed = whole < bottom  # a row through a vertex is crossed once
            first = np.clip(np.ceil(at[crossed]).astype(int), 0, columns)
            toggles[whole[crossed], first] ^= True
    return np.logical_xor.accumulate(toggles, axis=1)[:, :columns] | edges


def outlines(mask: Bool[np.ndarray, "rows columns"]) -> Iterator[Contour]:
    """The contours along the edges of a mask's pixels, holes too; `filled` gives the mask back exactly."""
    ends = _edges(mask)
    while ends:
        start, following = next(iter(ends.items()))
        step = following[0]
        points, here, way = [start], start, step
        while True:
            ends[here].remove(way)
            if not ends[here]:
                del ends[here]
            here = (here[0] + way[0], here[1] + way[1])
            if here == start:
                break
            turned = _next(ends[here], way)
            if turned != way:
                points.append(here)
            way = turned
        if way == step:
            points = points[1:]
        yield np.array(points, float) - 0.5


Way = tuple[int, int]


def _edges(mask: Bool[np.ndarray, "rows columns"]) -> dict[tuple[int, int], list[Way]]:
    """By corner: the ways along pixel edges that begin there, with the mask to the right hand."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    sides = (
        (padded[:-2, 1:-1], (0, 0), (0, 1)),
        (padded[1:-1, 2:], (0, 1), (1, 0)),
        (padded[2:, 1:-1], (1, 1), (0, -1)),
        (padded[1:-1, :-2], (1, 0), (-1, 0)),
    )
    ends = dict[tuple[int, int], list[Way]]()
    for neighbour, (down, right), way in sides:
        for row, column in np.argwhere(inside & ~neighbour).tolist():
            ends.setdefault((row + down, column + right), []).append(way)
    return ends


def _next(ways: list[Way], way: Way) -> Way:
    """Where pixels touch by a corner only, the way that stays with the pixel: to the right."""
    right = (way[1], -way[0])
    return right if right in ways else ways[0]
