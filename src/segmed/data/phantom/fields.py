"""Smooth random fields and soft edges: the brushes that the phantom is painted with."""

import functools

import numpy as np
from jaxtyping import Float32

Volume = Float32[np.ndarray, "s h w"]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], cells: tuple[int, int, int]) -> Volume:
    """A field of mean 0 and variance about 1: random values on a grid of `cells`, cubic B-splines between."""
    field = rng.standard_normal([count + 3 for count in cells], np.float32)
    for axis in (0, 2, 1):  # the last is the largest, and quickest to gather by whole rows
        field = _spline_along(field, axis, shape[axis], cells[axis])
    return field * np.float32(0.479**-1.5)  # the squares of a spline's weights sum to 0.479, on average


def soft_step(distance: Volume, width: float) -> Volume:
    """From 0 (far below zero) to 1 (far above), over about `width` either side of zero."""
    return np.float32(0.5) * (1 + np.tanh(distance / np.float32(width)))


def distance_to_zero(field: Volume, pixel: float) -> Volume:
    """About how far, in plane, each voxel is from the nearest zero of `field`; `pixel` is one step's length."""
    down, across = np.gradient(field, pixel, axis=(1, 2))
    steepness = np.sqrt(down**2 + across**2)
    return (np.abs(field) / np.maximum(steepness, np.float32(1e-3))).astype(np.float32)


def _spline_along(
    knots: Float32[np.ndarray, "a b c"], axis: int, length: int, cells: int
) -> Float32[np.ndarray, "d e f"]:
    """Uniform cubic B-spline through `cells + 3` knots of one axis, at `length` evenly spread positions.

    Sums four terms elementwise instead of multiplying matrices: the same bytes for any number of threads.
    """
    position = (np.arange(length) + 0.5) / length * cells
    first = np.floor(position).astype(int)
    t = position - first
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * (t + t**2 - t**3), t**3)
    along = [1, 1, 1]
    along[axis] = length
    terms = (
        np.take(knots, first + offset, axis) * (weight / 6).astype(np.float32).reshape(along)
        for offset, weight in enumerate(weights)
    )
    return functools.reduce(np.add, terms)
