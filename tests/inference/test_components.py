"""Small components go, in the slice or in the volume; nothing else changes."""

import numpy as np

from segmed.inference.components import remove_small


def volume() -> list[np.ndarray]:
    masks = [np.zeros((7, 9), np.uint8) for _ in range(3)]
    masks[0][0:2, 0:2] = 1  # four pixels, and one more in the next slice, touching at a corner
    masks[1][2, 2] = 1
    masks[2][5, 7:9] = 2  # two pixels of another label
    return masks


def test_small_parts_of_a_slice_become_background() -> None:
    cleaned = remove_small(volume(), (1, 2, 3), in_slice=2)
    assert [int((mask > 0).sum()) for mask in cleaned] == [4, 0, 2]


def test_a_part_is_as_large_as_it_is_in_the_volume_corners_included() -> None:
    cleaned = remove_small(volume(), (1, 2, 3), in_volume=5)
    assert [int((mask > 0).sum()) for mask in cleaned] == [4, 1, 0]


def test_a_gap_between_slices_parts_a_component() -> None:
    cleaned = remove_small(volume(), (1, 3, 4), in_volume=4)
    assert [int((mask > 0).sum()) for mask in cleaned] == [4, 0, 0]


def test_the_order_of_slices_does_not_matter() -> None:
    masks = volume()
    cleaned = remove_small([masks[2], masks[0], masks[1]], (3, 1, 2), in_volume=5)
    assert [int((mask > 0).sum()) for mask in cleaned] == [0, 4, 1]
    falling = remove_small(masks[::-1], (3, 2, 1), in_volume=5)
    assert [int((mask > 0).sum()) for mask in falling] == [0, 1, 4]


def test_a_share_of_1_keeps_the_largest_component_of_each_label_alone() -> None:
    masks = volume()
    masks[0][6, 8] = 1
    cleaned = remove_small(masks, (1, 2, 3), share=1.0)
    assert [int((mask > 0).sum()) for mask in cleaned] == [4, 1, 2]
    assert [int((mask > 0).sum()) for mask in remove_small(masks, (1, 2, 3), share=0.2)] == [5, 1, 2]
    assert [int((mask > 0).sum()) for mask in remove_small(masks, (1, 2, 3), share=0.21)] == [4, 1, 2]
    assert not any(mask.any() for mask in remove_small([np.zeros((3, 4), np.uint8)], (1,), share=1.0))


def test_the_masks_given_are_left_as_they_are() -> None:
    masks = volume()
    remove_small(masks, (1, 2, 3), in_slice=9)
    assert [int(mask.sum()) for mask in masks] == [4, 1, 4]
