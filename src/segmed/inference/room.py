"""Whether a large image fits a network's memory, known before the network is run on it."""

import math
from pathlib import Path

import torch
from torch import nn

from segmed.core.errors import ModelError
from segmed.core.image import Size
from segmed.inference.memory import PeakMemory, ran_out

SMALL, LARGE = 512, 1024
"""Sides of the two blank images whose memory is measured, in pixels."""
UNCHECKED = 2048 * 2048
"""Pixels at a time that are run without a measurement."""
OF_ANOTHER_SIZE = (AssertionError, RuntimeError, ValueError)
"""What networks raise for images of a size that they do not read, each in a way of its own."""


class Room:
    """The memory that a network needs, measured when it is first asked for and remembered.

    Example:
        >>> Room(torch.nn.Conv2d(3, 1, 3)).require(3, (512, 512), images=8)
    """

    def __init__(self, network: nn.Module, *, what: str = "The network") -> None:
        """Measure nothing yet.

        Args:
            network: maps images `b c h w`; it is run without gradients, on its own device.
            what: what is run, for the message.
        """
        self._network, self._what = network, what
        self._rises: dict[Size | None, float | None] = {}  # MiB per pixel, by size; None: of every size

    def require(self, channels: int, size: Size, images: int = 1) -> None:
        """Refuse images of which the network's maps would not fit the free memory.

        Memory of a convolutional network rises with the pixels: two small blank images are run, and the rise between
        them is carried on to the size that is asked for. A network that reads images of one size is run on one and on
        two of these, and the rise is carried on to their number; of one such image nothing can be known before it is
        run. Small images are not measured, nor are machines on which no peak of memory can be read (those without
        Linux's counters or CUDA).

        Args:
            channels: of an image.
            size: (height, width) of the images, in pixels.
            images: how many go through together.

        Raises:
            ModelError: with the memory that is needed, the memory that is free, and what to do.
        """
        pixels = math.prod(size) * images
        if pixels <= UNCHECKED or free_mib(_device(self._network)) is None:
            return
        needed, free = self._mib_per_pixel(channels, size, images) * pixels, free_mib(_device(self._network))
        if free is not None and needed > free:
            raise ModelError(
                f"{self._what} would need about {needed / 1024:.1f} GiB for {images} image{'s' if images > 1 else ''} "
                f"of {size[0]} x {size[1]} px, and {free / 1024:.1f} GiB are free. Train with a smaller "
                "preprocess.size, cut images into tiles, or run fewer at a time."
            )

    def _mib_per_pixel(self, channels: int, size: Size, images: int) -> float:
        if None not in self._rises:
            try:
                self._rises[None] = self._rise((1, channels, SMALL, SMALL), (1, channels, LARGE, LARGE))
            except OF_ANOTHER_SIZE as error:
                if ran_out(error):
                    raise
                self._rises[None] = None
        found = self._rises[None]
        if found is not None:
            return found
        if images == 1:
            return 0.0
        if size not in self._rises:
            self._rises[size] = self._rise((1, channels, *size), (2, channels, *size))
        return self._rises[size] or 0.0

    def _rise(self, small: tuple[int, ...], large: tuple[int, ...]) -> float:
        """MiB per pixel from one batch of blank images to another."""
        _peak(self._network, small)  # the first run also loads code and makes buffers that stay
        least, most = (_peak(self._network, shape) for shape in (small, large))
        more = math.prod(large) / large[1] - math.prod(small) / small[1]
        return 0.0 if least is None or most is None else max(0.0, most - least) / more


def free_mib(device: torch.device) -> float | None:
    """Memory that can be had now on a device, in MiB; None where the system does not tell."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0] / 2**20)
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text(encoding="ascii").splitlines() if meminfo.is_file() else []
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found and device.type == "cpu" else None


def _peak(network: nn.Module, shape: tuple[int, ...]) -> float | None:
    device, memory = _device(network), PeakMemory(str(_device(network)))
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode(), memory.measuring():
            network(torch.zeros(shape, device=device))
    finally:
        network.train(was_training)
    return memory.mib


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
