"""The drawn box and what it is made of, and where the cells of a mask lie in it."""

import numpy as np
import torch

from segmed.models.sam.heads import BoxMap, BoxPrior, box_coverage
from segmed.prompts.grid import box_coverage as coverage_of_core


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


def test_places_in_a_box_are_one_at_its_sides_and_on_its_ellipse() -> None:
    places = BoxPrior(4).places(torch.tensor([[0.05, 0.25, 0.75, 0.75]], dtype=torch.float64), 10)[0]
    cover, down, across, farther, squares = places.unbind(-1)
    assert cover[5, 3] == 1
    assert cover[5, 0] == 0.5  # the box begins in the middle of this cell
    torch.testing.assert_close(down[:, 3], torch.arange(-9, 10, 2).double().mul(0.2).clamp(-2, 2))
    assert across[4, 7].item() == across[5, 7].item() == 1.0
    assert farther[5, 9].item() == across[5, 9].item() > 1
    expected = (0.2**2 + ((0.35 - 0.4) / 0.35) ** 2) * torch.ones(1, dtype=torch.float64)
    torch.testing.assert_close(squares[5, 3][None], expected)


def test_a_box_that_is_thinner_than_a_cell_has_places_all_the_same() -> None:
    prior = BoxPrior(4)
    torch.nn.init.ones_(prior.gate)
    mapped = prior(torch.tensor([[0.31, 0.1, 0.311, 0.9]]), 7)
    assert mapped.shape == (1, 4, 7, 7)
    assert mapped.isfinite().all()
    assert mapped[0, :, 3, 2].ne(mapped[0, :, 3, 6]).any()


def test_rows_without_a_box_get_no_places_once_others_are_trained() -> None:
    prior = BoxPrior(4)
    torch.nn.init.ones_(prior.gate)
    mapped = prior(torch.tensor([[0.1, 0.1, 0.6, 0.7], [0, 0, 0, 0]]), 16)
    assert mapped[0].any()
    assert not mapped[1].any()
