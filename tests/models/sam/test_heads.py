"""The drawn box, and what it is made of."""

import numpy as np
import torch

from segmed.core.grid import box_coverage as coverage_of_core
from segmed.models.sam.heads import BoxMap, box_coverage


def test_the_drawing_of_a_box_is_the_share_of_each_cell_that_it_covers() -> None:
    boxes = np.array([[3.0, 5.0, 50.5, 33.0], [0, 0, 64, 64], [10.2, 10.2, 10.9, 10.9]])
    expected = coverage_of_core(boxes, (64, 64), (16, 16))
    drawn = box_coverage(torch.from_numpy(boxes / 64), 16)
    np.testing.assert_allclose(drawn.numpy(), expected, atol=1e-12)


def test_a_row_without_a_box_adds_nothing_once_others_are_trained() -> None:
    torch.manual_seed(0)
    box_map = BoxMap(8)
    torch.nn.init.normal_(box_map.project.weight)
    mapped = box_map(torch.tensor([[0.1, 0.1, 0.6, 0.7], [0, 0, 0, 0]]), 16)
    assert mapped.shape == (2, 8, 4, 4)
    assert mapped[0].abs().max() > 0
    assert not mapped[1].any()
