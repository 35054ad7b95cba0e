"""An image whose maps would not fit the memory is refused before the network is run on it."""

import pytest
import torch
from torch import nn

import segmed.inference.room as room
from segmed.core.errors import ModelError
from segmed.inference.room import LARGE, SMALL, free_mib, require_room


class Counting(nn.Module):
    """A network that keeps the sizes that it was run on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 16, 3, padding=1)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.sizes.append(tuple(image.shape))
        return self.layer(image)


def test_a_large_image_is_refused_with_what_it_needs_and_only_small_ones_are_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "free_mib", lambda device: 100.0)
    monkeypatch.setattr(room, "_mib_per_pixel", lambda network, channels: 3e-4)
    with pytest.raises(
        ModelError, match=r"u would need about 25\.\d GiB for 1 image of 9401 x 9400 px, and 0\.1 GiB are"
    ):
        require_room(Counting(), 1, (9401, 9400), what="u")
    require_room(Counting(), 1, (2049, 100), what="u")


def test_memory_is_measured_on_two_small_images_in_evaluation_mode() -> None:
    network = Counting().train()
    require_room(network, 1, (2049, 2048))
    assert network.sizes == [(1, 1, side, side) for side in (SMALL, SMALL, LARGE)]
    assert network.training


def test_small_images_are_not_measured() -> None:
    network = Counting()
    require_room(network, 1, (512, 512), images=8)
    assert network.sizes == []


def test_several_at_a_time_need_as_much_as_one_of_all_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_mib", lambda device: 1000.0)
    monkeypatch.setattr(room, "_mib_per_pixel", lambda network, channels: 2e-4)
    require_room(Counting(), 1, (2048, 2049))
    with pytest.raises(ModelError, match="for 2 images of 2048 x 2049 px"):
        require_room(Counting(), 1, (2048, 2049), images=2)


def test_free_memory_of_a_processor_is_told_where_the_system_tells_it() -> None:
    free = free_mib(torch.device("cpu"))
    assert free is None or free > 10
