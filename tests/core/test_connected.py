"""Connected components: what touches, how large each is, and how they are taken out again."""

import numpy as np
import pytest

from segmed.core.components import components


def test_pixels_touch_at_corners_unless_that_is_left_out() -> None:
    mask = np.zeros((5, 7), bool)
    mask[0, 0] = mask[1, 1] = mask[2, 2] = mask[4, 6] = True
    assert components(mask).sizes.tolist() == [3, 1]
    assert components(mask, corners=False).sizes.tolist() == [1, 1, 1, 1]


def test_slices_of_a_volume_are_joined_or_kept_apart() -> None:
    volume = np.zeros((3, 4, 5), bool)
    volume[0, 0, 0] = volume[1, 1, 1] = volume[1, 2, 2] = True
    assert components(volume).sizes.tolist() == [3]
    assert components(volume, within_slices=True).sizes.tolist() == [1, 2]


def test_chosen_components_come_back_as_a_mask() -> None:
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]], bool)
    found = components(mask)
    assert len(found) == 3
    assert found.where(found.sizes >= 2).sum() == 5
    assert not found.where(np.zeros(3, bool)).any()


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 5)])
def test_an_empty_mask_has_none(shape: tuple[int, ...]) -> None:
    found = components(np.zeros(shape, bool))
    assert len(found) == 0
    assert not found.where(np.zeros(0, bool)).any()
