"""Whether a large image fits a network's memory, known before the network is run on it."""

import math
from pathlib import Path

import torch
from torch import nn

from segmed.core.errors import ModelError
from segmed.core.image import Size
from segmed.inference.memory import PeakMemory

SMALL, LARGE = 512, 1024
"""Sides of the two blank images whose memory is measured, in pixels."""
UNCHECKED = 2048 * 2048
"""Pixels at a time that are run without a measurement."""


def require_room(network: nn.Module, channels: int, size: Size, images: int = 1, *, what: str = "The network") -> None:
    """Refuse images of which a network's maps would not fit the free memory.

    Memory of a convolutional network rises with the pixels: two small blank images are run, and the rise between them
    is carried on to the size that is asked for. Small images are not measured, nor are machines on which no peak of
    memory can be read (those without Linux's counters or CUDA).

    Args:
        network: maps images `b c h w`; it is run without gradients, on its own device.
        channels: of an image.
        size: (height, width) of the images, in pixels.
        images: how many go through together.
        what: what is run, for the message.

    Raises:
        ModelError: with the memory that is needed, the memory that is free, and what to do.
    """
    pixels = math.prod(size) * images
    if pixels <= UNCHECKED:
        return
    needed, free = _mib_per_pixel(network, channels) * pixels, free_mib(_device(network))
    if free is not None and needed > free:
        raise ModelError(
            f"{what} would need about {needed / 1024:.1f} GiB for {images} image{'s' if images > 1 else ''} of "
            f"{size[0]} x {size[1]} px, and {free / 1024:.1f} GiB are free. Train with a smaller preprocess.size, cut "
            "images into tiles, or run fewer at a time."
        )


def free_mib(device: torch.device) -> float | None:
    """Memory that can be had now on a device, in MiB; None where the system does not tell."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0] / 2**20)
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text(encoding="ascii").splitlines() if meminfo.is_file() else []
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found and device.type == "cpu" else None


def _mib_per_pixel(network: nn.Module, channels: int) -> float:
    _peak(network, channels, SMALL)  # the first run also loads code and makes buffers that stay
    peaks = [_peak(network, channels, side) for side in (SMALL, LARGE)]
    if any(peak is None for peak in peaks):
        return 0.0
    return max(0.0, (peaks[1] or 0.0) - (peaks[0] or 0.0)) / (LARGE**2 - SMALL**2)


def _peak(network: nn.Module, channels: int, side: int) -> float | None:
    device, memory = _device(network), PeakMemory(str(_device(network)))
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode(), memory.measuring():
            network(torch.zeros(1, channels, side, side, device=device))
    finally:
        network.train(was_training)
    return memory.mib


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
