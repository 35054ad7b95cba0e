"""Neighbours of a slice: the volume's own order, its ends, and its gaps."""

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.slice_neighbours import neighbour_indices, stacked


def test_a_slice_has_its_neighbours_and_the_ends_repeat_the_edge() -> None:
    assert neighbour_indices((4, 5, 6), 1) == ((0, 0, 1), (0, 1, 2), (1, 2, 2))


def test_a_gap_is_an_end() -> None:
    assert neighbour_indices((1, 2, 5, 6), 2) == ((0, 0, 0, 1, 1), (0, 0, 1, 1, 1), (2, 2, 2, 3, 3), (2, 2, 3, 3, 3))


def test_without_reach_a_slice_stands_alone() -> None:
    assert neighbour_indices((3, 9), 0) == ((0,), (1,))


@pytest.mark.parametrize("positions", [(2, 1), (1, 1)])
def test_positions_that_do_not_rise_are_refused(positions: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="in order, each place once"):
        neighbour_indices(positions, 1)


def test_components_do_not_cross_a_gap_in_a_stack() -> None:
    one = np.ones((2, 3), bool)
    assert stacked([one, one, one], (1, 2, 7)).any(axis=(1, 2)).tolist() == [True, True, False, True]


def test_slices_of_several_sizes_are_no_stack() -> None:
    with pytest.raises(DataError, match=r"differ in size \(3x5 and 4x5\)"):
        stacked([np.zeros((4, 5), bool), np.zeros((3, 5), bool)], [1, 2])
