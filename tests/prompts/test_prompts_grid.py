"""Prompts cross between the image's grid and the network's in one place, and come back exactly."""

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.prompts.grid import PADDING_LOGIT, PromptGrid, box_coverage, fill_boxes
from segmed.prompts.value import Prompts

SQUASH = PromptGrid((37, 51), (96, 64), (96, 64))
LETTERBOX = PromptGrid((37, 51), (46, 64), (64, 64))
SMALLER = PromptGrid((511, 333), (64, 42), (64, 64))
PADDED = PromptGrid((37, 51), (37, 51), (64, 64))
GRIDS = [SQUASH, LETTERBOX, SMALLER, PADDED]


@pytest.mark.parametrize("grid", GRIDS)
def test_the_whole_image_becomes_the_content(grid):
    height, width = grid.original
    assert grid.to_network(Prompts(boxes=[[0, 0, width, height]])).boxes.tolist() == [
        [0, 0, grid.content[1], grid.content[0]]
    ]


def test_a_stretched_box_is_scaled_by_its_own_factor_on_each_axis():
    grid = PromptGrid((30, 60), (60, 60), (64, 64))
    network = grid.to_network(Prompts(boxes=[[10, 10, 20, 15]], points=[[10, 10]]))
    assert network.boxes.tolist() == [[10, 20, 20, 30]]
    assert network.points.tolist() == [[10, 20]]


@pytest.mark.parametrize("grid", GRIDS)
def test_prompts_come_back_bit_for_bit(grid):
    rng = np.random.default_rng(0)
    limit = np.array(grid.original[::-1], np.float32)
    points = (rng.random((500, 2), np.float32) * limit).astype(np.float32)
    whole = rng.integers(0, grid.original[::-1], (500, 2)).astype(np.float32)
    corners = np.concatenate([points, whole])
    boxes = np.concatenate([corners, corners + np.float32(0.7)], axis=1).astype(np.float32)
    prompts = Prompts(boxes=boxes, points=corners, point_objects=np.arange(1000)).clipped_to(grid.original)
    assert grid.to_image(grid.to_network(prompts)) == prompts


def test_mask_prompts_cross_unchanged():
    prompts = Prompts(boxes=[[1, 2, 3, 4]], logits=np.random.default_rng(0).normal(size=(1, 8, 8)))
    np.testing.assert_array_equal(LETTERBOX.to_network(prompts).logits, prompts.logits)


def test_a_box_outside_the_image_does_not_cross():
    with pytest.raises(DataError, match="leaves the image of 37x51"):
        LETTERBOX.to_network(Prompts(boxes=[[0, 0, 51, 38]]))


def test_a_box_over_the_padding_returns_only_when_cut():
    beyond = Prompts(boxes=[[0, 0, 64, 60]])
    with pytest.raises(DataError, match="leaves the image of 46x64"):
        LETTERBOX.to_image(beyond)
    assert LETTERBOX.to_image(beyond.clipped_to(LETTERBOX.content)).boxes.tolist() == [[0, 0, 51, 37]]


def test_impossible_sizes_are_refused():
    with pytest.raises(DataError, match="cannot be"):
        PromptGrid((37, 51), (46, 65), (64, 64))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_constant_mask_prompt_is_constant_on_the_image_and_padding_is_background(grid):
    low = grid.mask_prompt(np.full((2, *grid.original), 3.0), (16, 16))
    assert low.shape == (2, 16, 16)
    centres = (np.arange(16) + 0.5)[:, None] * np.array(grid.network) / 16
    rows, columns = (centres < np.array(grid.content)).T
    np.testing.assert_allclose(low[:, rows][:, :, columns], 3.0, atol=1e-6)
    np.testing.assert_array_equal(low[:, ~rows], PADDING_LOGIT)
    np.testing.assert_array_equal(low[:, :, ~columns], PADDING_LOGIT)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_ramp_becomes_the_image_coordinate_of_each_cell(grid):
    ramp = np.broadcast_to(np.arange(grid.original[1]) + 0.5, grid.original)[None]
    cells = 64
    low = grid.mask_prompt(ramp, (cells, cells))[0, 0]
    expected = (np.arange(cells) + 0.5) * grid.network[1] / cells * grid.original[1] / grid.content[1]
    inner = (expected > 8) & (expected < grid.original[1] - 8)
    np.testing.assert_allclose(low[inner], expected[inner], atol=0.01)  # pixels


def test_a_mask_prompt_on_its_own_grid_stays_as_it_is():
    logits = np.random.default_rng(0).normal(size=(1, 5, 7)).astype(np.float32)
    np.testing.assert_allclose(PromptGrid((5, 7), (5, 7), (5, 7)).mask_prompt(logits, (5, 7)), logits, rtol=1e-6)


def test_logits_of_another_size_cannot_become_a_mask_prompt():
    with pytest.raises(DataError, match="Return them to the image's grid"):
        SQUASH.mask_prompt(np.zeros((1, 36, 51)), (16, 16))


def test_a_box_holds_the_pixels_whose_centre_it_holds():
    filled = fill_boxes(np.array([[1.0, 0.0, 3.0, 2.0], [0.5, 1.6, 1.4, 3.0]]), (3, 5))
    assert filled.astype(int).tolist() == [
        [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]],
        [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]],
    ]


def test_no_box_fills_nothing():
    assert fill_boxes(np.zeros((0, 4)), (3, 5)).shape == (0, 3, 5)


def test_coverage_is_the_share_of_each_cell_that_the_box_covers():
    cover = box_coverage(np.array([[2.0, 0.0, 8.0, 4.0]]), (6, 12), (2, 3))
    np.testing.assert_allclose(cover, [[[0.5, 1, 0], [0.5 / 3, 1 / 3, 0]]])


def test_coverage_keeps_the_area_of_a_box():
    box = np.array([[3.3, 7.1, 21.9, 30.2]])
    cover = box_coverage(box, (37, 51), (8, 16))
    area = (21.9 - 3.3) * (30.2 - 7.1)
    assert cover.sum() * (37 / 8) * (51 / 16) == pytest.approx(area)
