"""Prompts take the same way to the network's grid as the image and its mask do."""

import numpy as np
import pytest

from segmed.preprocess import Preprocess, PreprocessConfig
from segmed.prompts.grid import prompt_grid
from segmed.prompts.masks import tight_boxes
from segmed.prompts.value import Prompts

FITS = [
    PreprocessConfig(size=(96, 64), fit="squash"),
    PreprocessConfig(size=(96, 64), fit="letterbox"),
    PreprocessConfig(size=(64, 160), fit="letterbox"),
    PreprocessConfig(),
]


@pytest.mark.parametrize("config", FITS)
@pytest.mark.parametrize("size", [(37, 51), (130, 75), (31, 96)])
def test_a_box_lands_where_its_mask_does(config: PreprocessConfig, size: tuple[int, int]) -> None:
    labels = np.zeros(size, np.uint8)
    labels[7:25, 11:40] = 1
    preprocess = Preprocess(config)
    image = np.repeat(labels[..., None] + 1, 3, axis=2)
    tensor, undo = preprocess.apply(image, preprocess.statistics([image]))
    grid = prompt_grid(undo, (tensor.shape[1], tensor.shape[2]))
    crossed = grid.to_network(Prompts(boxes=tight_boxes(labels[None] == 1)))
    landed = tight_boxes(preprocess.apply_mask(labels)[None].numpy() == 1)
    np.testing.assert_allclose(crossed.boxes, landed, atol=0.5 + 1e-9)  # a mask has no parts of pixels
    assert grid.to_image(crossed).boxes.tolist() == [[11, 7, 40, 25]]


@pytest.mark.parametrize("config", FITS)
def test_a_mask_prompt_lies_on_the_low_resolution_grid_as_the_image_does(config: PreprocessConfig) -> None:
    ramp = np.linspace(1, 200, 60, dtype=np.float32)[None, :, None].repeat(45, 0).repeat(3, 2)
    preprocess = Preprocess(config)
    statistics = preprocess.statistics([ramp])
    tensor, undo = preprocess.apply(ramp, statistics)
    network = (tensor.shape[1], tensor.shape[2])
    normalised = (ramp[None, ..., 0] - statistics.shift[0]) / statistics.scale[0]
    cells = (network[0] // 4, network[1] // 4)
    low = prompt_grid(undo, network).mask_prompt(normalised, cells)[0]
    pooled = tensor[0].numpy().reshape(cells[0], 4, cells[1], 4).mean(axis=(1, 3))
    inner = np.s_[: undo.content[0] // 4, 2 : undo.content[1] // 4 - 2]
    np.testing.assert_allclose(low[inner], pooled[inner], atol=0.02)
