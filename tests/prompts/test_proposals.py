"""Components of a probability map become boxes, peaks and mask prompts, and each claims the lesions that it means."""

import numpy as np
import pytest

from segmed.prompts.grid import PromptGrid
from segmed.prompts.proposals import SUREST, ProposeConfig, claimed, map_logits, propose

SIZE = (12, 20)


def map_of(*blocks: tuple[slice, slice, float]) -> np.ndarray:
    probability = np.zeros(SIZE, np.float32)
    for rows, columns, value in blocks:
        probability[rows, columns] = value
    return probability


TWO = map_of((slice(2, 4), slice(3, 6), 0.7), (slice(5, 10), slice(10, 18), 0.9), (slice(0, 1), slice(19, 20), 0.8))


def test_components_are_the_largest_first_and_small_ones_propose_nothing() -> None:
    found = propose(TWO, ProposeConfig(min_pixels=2, margin=0))
    assert found.boxes.tolist() == [[10, 5, 18, 10], [3, 2, 6, 4]]
    assert found.components.sum(axis=(1, 2)).tolist() == [40, 6]
    assert len(propose(TWO, ProposeConfig(probability=0.75))) == 2
    assert len(propose(TWO, ProposeConfig(min_pixels=50))) == len(propose(TWO, ProposeConfig(probability=0.95))) == 0


def test_a_pixel_of_just_the_probability_asked_for_is_part_of_a_component() -> None:
    exact = map_of((slice(2, 4), slice(3, 6), 0.5))
    assert propose(exact, ProposeConfig(probability=0.5)).components.sum() == 6
    assert len(propose(exact, ProposeConfig(probability=0.5001))) == 0


def test_boxes_grow_by_a_share_of_their_sides_and_stay_in_the_image() -> None:
    assert propose(TWO, ProposeConfig(min_pixels=2, margin=0.5)).boxes.tolist() == [[6, 2.5, 20, 12], [1.5, 1, 7.5, 5]]


def test_the_peak_is_the_centre_of_the_most_probable_pixel() -> None:
    probability = TWO.copy()
    probability[7, 12] = 0.95
    found = propose(probability, ProposeConfig(min_pixels=2))
    assert found.peaks.tolist() == [[12.5, 7.5], [3.5, 2.5]]


def test_mask_prompts_hold_the_maps_logits_in_the_box_and_background_outside() -> None:
    found = propose(TWO, ProposeConfig(min_pixels=2, margin=0))
    lowest = np.log(SUREST / (1 - SUREST))
    assert found.logits[0, 6, 11] == pytest.approx(np.log(9))
    assert found.logits[0, 2, 3] == pytest.approx(lowest)  # the other component's place
    assert np.isfinite(map_logits(np.array([0, 1], np.float32))).all()


@pytest.mark.parametrize(("kinds", "points", "masks"), [("box", 0, False), ("box+point+mask", 2, True)])
def test_prompts_have_what_is_asked_for(kinds: str, points: int, masks: bool) -> None:
    grid = PromptGrid(SIZE, (24, 40), (32, 64))
    prompts = propose(TWO, ProposeConfig(min_pixels=2)).prompts(kinds, grid, (8, 16))  # type: ignore[arg-type]
    assert (len(prompts), len(prompts.points)) == (2, points)
    assert (prompts.logits is not None) == masks
    if prompts.logits is not None:
        assert prompts.logits.shape == (2, 8, 16)
        assert prompts.logits[0, 3, 5] > 0 > prompts.logits[1, 3, 5]
    assert len(propose(map_of(), ProposeConfig()).prompts(kinds, grid, (8, 16))) == 0  # type: ignore[arg-type]


def test_a_proposal_claims_the_whole_lesions_that_it_touches_or_holds_half_of() -> None:
    found = propose(TWO, ProposeConfig(min_pixels=2, margin=0))  # boxes (10, 5, 18, 10) and (3, 2, 6, 4)
    reference = np.zeros(SIZE, bool)
    reference[9:12, 17:20] = True  # touched by the large one at a corner
    reference[2, 4] = True  # within the small one
    targets = claimed(reference, found)
    assert targets[0].sum() == 9
    assert targets[1].sum() == 1
    apart = propose(map_of((slice(0, 4), slice(0, 1), 0.9), (slice(0, 1), slice(0, 4), 0.9)), ProposeConfig(margin=0))
    beside = np.zeros(SIZE, bool)
    beside[2:5, 2:4] = True  # four of six pixels in the box of an L that does not touch it
    assert claimed(beside, apart).sum() == 6
    half = np.zeros(SIZE, bool)
    half[2:4, 3:5] = True  # two of four pixels in that box
    assert claimed(half, apart).sum() == 4
    less = half.copy()
    less[2, 5] = True  # two of five
    assert not claimed(less, apart).any()


def test_a_false_alarm_claims_nothing() -> None:
    far = np.zeros(SIZE, bool)
    far[11, 0:3] = True
    found = propose(TWO, ProposeConfig(min_pixels=2))
    assert not claimed(far, found).any()
    assert claimed(np.zeros(SIZE, bool), found).shape == (2, *SIZE)
