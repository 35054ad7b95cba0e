"""Prompts are drawn with the generator that is passed in, then applied without chance."""

import numpy as np
import pytest
from test_prompts_masks import SIZE, mask_of

from segmed.core.config import config_from_mapping
from segmed.core.errors import ConfigError, DataError
from segmed.prompts.sampling import PROMPTS, PromptConfig, Prompter, slice_generator

MASK = mask_of((10, 9, 18, 15))
TIGHT = [10, 9, 18, 15]
TWO = mask_of((2, 2, 8, 8), (20, 10, 30, 20))


def boxes(config: PromptConfig, mask: np.ndarray = MASK, times: int = 120) -> np.ndarray:
    """Many draws of a mask's boxes, one below the other."""
    rng = np.random.default_rng(0)
    return np.concatenate([Prompter(config)(mask, rng).prompts.boxes for _ in range(times)])


def test_the_default_is_the_tight_box_of_the_whole_mask():
    prompted = Prompter(PromptConfig())(TWO, np.random.default_rng(0))
    assert prompted.prompts.boxes.tolist() == [[2, 2, 30, 20]]
    np.testing.assert_array_equal(prompted.targets, TWO[None])


def test_each_lesion_has_its_box_and_its_target():
    prompted = Prompter(PROMPTS["lesions"])(TWO, np.random.default_rng(0))
    assert prompted.prompts.boxes.tolist() == [[20, 10, 30, 20], [2, 2, 8, 8]]
    np.testing.assert_array_equal(prompted.targets, np.stack([mask_of((20, 10, 30, 20)), mask_of((2, 2, 8, 8))]))


@pytest.mark.parametrize("name", PROMPTS)
def test_the_same_generator_draws_the_same_prompts(name):
    prompter = Prompter(PROMPTS[name])
    one, again = (prompter(TWO, np.random.default_rng(3)).prompts for _ in range(2))
    assert one == again


@pytest.mark.parametrize("name", PROMPTS)
def test_applying_the_same_draws_gives_the_same_prompts(name):
    prompter = Prompter(PROMPTS[name])
    draws = prompter.draw(len(prompter.objects(TWO)), np.random.default_rng(3))
    assert prompter.apply(TWO, draws).prompts == prompter.apply(TWO, draws).prompts
    assert prompter.apply(TWO, draws).prompts == prompter(TWO, np.random.default_rng(3)).prompts


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_of_any_mask_lie_in_the_image(name):
    rng = np.random.default_rng(0)
    for block in [(0, 0, 1, 1), (30, 22, 31, 23), (0, 0, 31, 23), (0, 5, 3, 7), (28, 0, 31, 2)]:
        for _ in range(20):
            Prompter(PROMPTS[name])(mask_of(block), rng).prompts.within(SIZE)


@pytest.mark.parametrize("name", PROMPTS)
def test_an_empty_mask_gets_no_prompt_and_is_its_own_target(name):
    prompted = Prompter(PROMPTS[name])(mask_of(), np.random.default_rng(0))
    assert len(prompted.prompts) == 0
    np.testing.assert_array_equal(prompted.targets, np.zeros((1, *SIZE), bool))


def test_outward_jitter_moves_each_side_by_every_number_of_pixels_up_to_its_own():
    drawn = boxes(PromptConfig(outward=3))
    for side, direction in enumerate((-1, -1, 1, 1)):
        assert set((drawn[:, side] - TIGHT[side]) * direction) == {0, 1, 2, 3}


def test_medsams_jitter_is_twenty_pixels_of_1024_on_each_axis():
    mask = np.zeros((128, 256), bool)
    mask[40:60, 100:140] = True
    moved = np.abs(boxes(PROMPTS["medsam"], mask) - [100, 40, 140, 60])
    assert moved[:, [0, 2]].max() == 20 * 256 / 1024
    assert moved[:, [1, 3]].max() == 20 * 128 / 1024


def test_symmetric_jitter_moves_sides_in_and_out():
    drawn = boxes(PromptConfig(symmetric=2))
    for side in range(4):
        assert set(drawn[:, side] - TIGHT[side]) == {-2, -1, 0, 1, 2}


def test_a_box_that_jitter_closes_stays_a_pixel_wide():
    drawn = boxes(PromptConfig(symmetric=9), mask_of((10, 9, 12, 11)))
    assert (drawn[:, 2:] - drawn[:, :2]).min() == 1


def test_a_loose_box_keeps_its_centre_and_scales_its_sides():
    assert boxes(PROMPTS["loose"], times=1).tolist() == [[8, 7.5, 20, 16.5]]


def test_a_scaled_box_stays_between_its_factors():
    extent = np.ptp(boxes(PromptConfig(enlarge=(0.5, 1.25))).reshape(-1, 2, 2), axis=1)
    assert (extent >= [4, 3]).all()
    assert (extent <= [10, 7.5]).all()
    assert np.ptp(extent[:, 0]) > 5


def test_a_shifted_box_keeps_its_sides_and_moves_by_up_to_its_share():
    drawn = boxes(PROMPTS["shifted"])
    np.testing.assert_allclose(drawn[:, 2:] - drawn[:, :2], [[8, 6]] * 120)
    moved = drawn[:, :2] - [10, 9]
    assert (np.abs(moved) <= [2, 1.5]).all()
    assert (np.abs(moved).max(axis=0) > [1.8, 1.35]).all()


def test_points_are_labelled_and_belong_to_their_object():
    config = PromptConfig(per="lesion", inside=2, outside=1)
    prompted = Prompter(config)(TWO, np.random.default_rng(0))
    assert prompted.prompts.point_objects.tolist() == [0, 0, 0, 1, 1, 1]
    assert prompted.prompts.point_labels.tolist() == [1, 1, 0, 1, 1, 0]
    columns, rows = np.floor(prompted.prompts.points).astype(int).T
    on_target = prompted.targets[prompted.prompts.point_objects, rows, columns]
    assert on_target.tolist() == [True, True, False, True, True, False]


def test_without_boxes_and_points_the_target_is_the_whole_mask():
    prompted = Prompter(PromptConfig(per="lesion", box_share=0.0))(TWO, np.random.default_rng(0))
    assert len(prompted.prompts) == 0
    np.testing.assert_array_equal(prompted.targets, TWO[None])


def test_boxes_are_given_as_often_as_asked():
    rng = np.random.default_rng(0)
    prompter = Prompter(PromptConfig(box_share=0.25))
    given = np.mean([len(prompter(MASK, rng).prompts) for _ in range(300)])
    assert given == pytest.approx(0.25, abs=0.1)


def test_draws_for_another_number_of_objects_are_refused():
    prompter = Prompter(PROMPTS["lesions"])
    with pytest.raises(DataError, match="draws are for 3 objects, but the mask has 2"):
        prompter.apply(TWO, prompter.draw(3, np.random.default_rng(0)))


def test_a_slices_prompts_do_not_depend_on_what_came_before():
    one, other = slice_generator(0, "TCGA_1").random(4), slice_generator(0, "TCGA_2").random(4)
    np.testing.assert_array_equal(one, slice_generator(0, "TCGA_1").random(4))
    assert (one != other).all()
    assert (one != slice_generator(1, "TCGA_1").random(4)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"enlarge": (1.5, 1.0)}, "enlarge must rise"),
        ({"enlarge": (0.0, 1.0)}, "enlarge must rise"),
        ({"shift": 0.6}, "shift"),
        ({"outward": -1}, "outward"),
        ({"jitter": 5}, "unknown key 'jitter'"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        config_from_mapping(PromptConfig, settings, source="recipe")
