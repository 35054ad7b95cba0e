"""An image whose maps would not fit the memory is refused before the network is run on it."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import segmed.inference.room as room
from segmed.core.errors import ModelError
from segmed.inference.room import LARGE, SMALL, Room, free_mib


class Counting(nn.Module):
    """A network that keeps the sizes that it was run on; with `only` it reads images of that size alone."""

    def __init__(self, only: tuple[int, int] | None = None, refusal: type[Exception] = AssertionError) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 16, 3, padding=1)
        self.only, self.refusal = only, refusal
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if self.only is not None and tuple(image.shape[2:]) != self.only:
            raise self.refusal("wrong size")
        self.sizes.append(tuple(image.shape))
        return self.layer(image)


@pytest.fixture
def peaks(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the free MiB; networks then take 1000 MiB, and 3e-4 MiB more for each pixel."""
    measured = room._peak

    def peak(network: nn.Module, shape: tuple[int, ...]) -> float:
        measured(network, shape)
        return 1000 + 3e-4 * shape[0] * shape[2] * shape[3]

    monkeypatch.setattr(room, "_peak", peak)
    return lambda free: monkeypatch.setattr(room, "free_mib", lambda device: free)


def test_a_large_image_is_refused_with_what_it_needs_and_only_small_ones_are_run(
    peaks: Callable[[float], None],
) -> None:
    peaks(100.0)
    network = Counting()
    with pytest.raises(
        ModelError, match=r"u would need about 25\.\d GiB for 1 image of 9401 x 9400 px, and 0\.1 GiB are"
    ):
        Room(network, what="u").require(1, (9401, 9400))
    assert max(network.sizes) == (1, 1, LARGE, LARGE)
    Room(network, what="u").require(1, (2049, 100))


def test_memory_is_measured_on_two_small_images_in_evaluation_mode() -> None:
    network = Counting().train()
    Room(network).require(1, (2049, 2048))
    assert network.sizes == [(1, 1, side, side) for side in (SMALL, SMALL, LARGE)]
    assert network.training


def test_what_a_network_needs_is_measured_once() -> None:
    network = Counting()
    memory = Room(network)
    for images in (8, 8, 5):
        memory.require(1, (1024, 1024), images)
    assert len(network.sizes) == 3


@pytest.mark.parametrize("refusal", [AssertionError, RuntimeError, ModelError])
def test_a_network_of_one_size_is_measured_once_on_one_and_two_images_of_it(refusal: type[Exception]) -> None:
    network = Counting(only=(1024, 1056), refusal=refusal)
    memory = Room(network)
    for _ in range(3):
        memory.require(1, (1024, 1056), 5)
    assert network.sizes == [(images, 1, 1024, 1056) for images in (1, 1, 2)]


def test_more_images_of_the_one_size_than_there_is_memory_for_are_refused(peaks: Callable[[float], None]) -> None:
    peaks(2000.0)
    memory = Room(Counting(only=(1024, 1024)), what="sam")
    memory.require(1, (1024, 1024), 6)  # 1887 MiB
    with pytest.raises(ModelError, match=r"sam would need about 2\.2 GiB for 7 images of 1024 x 1024 px.*fewer at a"):
        memory.require(1, (1024, 1024), 7)


def test_one_image_of_the_one_size_is_run_without_a_measurement() -> None:
    network = Counting(only=(2049, 2048))
    Room(network).require(1, (2049, 2048))
    assert network.sizes == []


def test_no_image_is_run_where_free_memory_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_mib", lambda device: None)
    network = Counting()
    Room(network).require(1, (9401, 9400))
    assert network.sizes == []


def test_small_images_are_not_measured() -> None:
    network = Counting()
    Room(network).require(1, (512, 512), images=8)
    assert network.sizes == []


def test_several_at_a_time_need_as_much_as_one_of_all_their_pixels(peaks: Callable[[float], None]) -> None:
    peaks(1500.0)
    Room(Counting()).require(1, (2048, 2049))
    with pytest.raises(ModelError, match="for 2 images of 2048 x 2049 px"):
        Room(Counting()).require(1, (2048, 2049), images=2)


def test_free_memory_of_a_processor_is_told_where_the_system_tells_it() -> None:
    free = free_mib(torch.device("cpu"))
    assert free is None or free > 10
