"""Each lesion of a volume gets one box, on the slice where it is largest."""

import numpy as np

from segmed.prompts.volumes import largest_slices

SIZE = (10, 14)


def plane(*blocks: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    for x0, y0, x1, y1 in blocks:
        mask[y0:y1, x0:x1] = True
    return mask


SMALL, LARGE, OTHER = (1, 1, 3, 3), (1, 1, 5, 4), (9, 5, 12, 9)


def boxes(masks: list[np.ndarray], positions: list[int]) -> list[list[list[float]]]:
    return [each.prompts.boxes.tolist() for each in largest_slices(masks, positions)]


def test_a_lesion_is_boxed_once_where_it_is_largest() -> None:
    drawn = largest_slices([plane(SMALL), plane(LARGE), plane(SMALL), plane()], [1, 2, 3, 4])
    assert [each.prompts.boxes.tolist() for each in drawn] == [[], [list(LARGE)], [], []]
    assert np.array_equal(drawn[1].targets[0], plane(LARGE))
    assert np.array_equal(drawn[0].targets[0], plane(SMALL))  # nothing asked: the target is the whole mask


def test_lesions_that_do_not_touch_have_boxes_of_their_own_the_largest_part_first() -> None:
    assert boxes([plane(SMALL, OTHER), plane(SMALL)], [1, 2]) == [[list(OTHER), list(SMALL)], []]
    assert boxes([plane(SMALL), plane(OTHER)], [1, 2]) == [[list(SMALL)], [list(OTHER)]]


def test_slices_apart_do_not_touch_and_their_order_is_that_of_positions() -> None:
    assert boxes([plane(SMALL), plane(LARGE)], [1, 3]) == [[list(SMALL)], [list(LARGE)]]
    assert boxes([plane(LARGE), plane(), plane(SMALL)], [2, 9, 1]) == [[list(LARGE)], [], []]


def test_a_volume_without_lesions_gets_no_box() -> None:
    assert boxes([plane(), plane()], [1, 2]) == [[], []]
