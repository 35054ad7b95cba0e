"""GAFL beside a plain re-statement of the reference, and what it adds to a training step of the U-Net.

The reference filters with `rfftn` over channels, rows and columns and repeats its weights over the batch. Both filter
the same images, interleaved in one run; the peer does its own work right (the same spectrum mode) but not ours, as its
weights belong to frequencies across the channels. `transforms` are the FFTs alone, which no such filter does without.

A training step is that of `segmed train unet-cpu`: forward, loss, backward, clipping, AdamW, moving average, on a batch
of 16 at 128 px, and of 8 at 256 px, in float32. Steps without a filter, with one, and with a learned factor per channel
in its place take turns, so that whatever else the machine does hits all alike. Reported are medians in wall and in
processor time (over all threads; on a machine that others use too it is the one to read), and the medians of the ratios
of the same round.

    python benchmarks/gafl.py --parts layers --out benchmarks/results/gafl.json
    python benchmarks/gafl.py --parts 128 256 --out benchmarks/results/gafl.json

A second call adds its parts to the file of the first.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segmed.core.files import write_json
from segmed.core.provenance import commit, machine, versions
from segmed.core.reading import read_json
from segmed.layers.gafl import GAFL, GaflConfig
from segmed.losses import LossConfig, build_loss
from segmed.models.config import ModelConfig
from segmed.models.zoo import build_model
from segmed.training.module import moving_average
from segmed.training.parameter_groups import parameter_groups
from segmed.training.recipe import OptimConfig

SHAPE = (8, 3, 256, 256)
STEPS = {"128": (16, 128), "256": (8, 256)}


class ChannelWide(nn.Module):
    """The reference's spectrum mode, said again: relu(w) on every bin of an FFT over channels, rows and columns."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, height, width // 2 + 1))

    def forward(self, image: Tensor) -> Tensor:
        """The filtered images."""
        spectrum = torch.fft.rfftn(image, dim=(1, 2, 3))
        weight = torch.relu(self.weight).repeat(len(image), 1, 1, 1)
        return torch.fft.irfftn(weight * spectrum, dim=(1, 2, 3))


class Transforms(nn.Module):
    """Nothing but `rfft2` and `irfft2` of every image: about what a filter costs whose gains cost nothing."""

    def forward(self, image: Tensor) -> Tensor:
        """The same images."""
        return torch.fft.irfft2(torch.fft.rfft2(image), s=image.shape[-2:])


def both_ways(layer: nn.Module, image: Tensor) -> Callable[[], object]:
    """Forward and backward, for the weights and the image."""
    image = image.clone().requires_grad_()

    def run() -> None:
        layer.zero_grad(set_to_none=True)
        image.grad = None
        layer(image).square().sum().backward()

    return run


def one_way(layer: nn.Module, image: Tensor) -> Callable[[], object]:
    """Forward alone."""

    def run() -> Tensor:
        with torch.no_grad():
            return layer(image)

    return run


class Scale(nn.Module):
    """A learned factor for each channel: the least that can learn in front of a network.

    The network's first convolution then owes its input a gradient, which it does not without a part that learns there.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """The images, each channel times its factor."""
        return image * self.factor


class Step:
    """A training step of the U-Net with or without a filter, or with a learned factor in place of one."""

    def __init__(self, gafl: GaflConfig | None, batch: int, size: int, *, scale: bool = False) -> None:
        torch.manual_seed(0)
        config = ModelConfig(name="unet", encoder="resnet18", encoder_weights="none", gafl=gafl)
        network = build_model(config)
        self.model = nn.Sequential(Scale(3), network) if scale else network
        self.model.to(memory_format=torch.channels_last).train()
        average = torch.optim.swa_utils.AveragedModel(self.model, multi_avg_fn=moving_average(0.99), use_buffers=True)
        self.averaged = average.requires_grad_(False).eval()
        self.optimizer = torch.optim.AdamW(parameter_groups(self.model, OptimConfig()), lr=1e-3)
        self.image = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
        self.mask = (torch.rand(batch, 1, size, size) > 0.97).float()
        self.loss = build_loss(LossConfig())

    def __call__(self) -> None:
        """Take the step."""
        self.loss(self.model(self.image).float(), self.mask).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.averaged.update_parameters(self.model)


Times = dict[str, list[tuple[float, float]]]
"""Wall and processor seconds of every call, by subject."""


def interleaved(subjects: dict[str, Callable[[], object]], repeats: int) -> Times:
    """Time every call, the subjects taking turns in a changing order, after one round that does not count."""
    spent: Times = {name: [] for name in subjects}
    names = list(subjects)
    for round_ in range(repeats + 1):
        for name in names if round_ % 2 else names[::-1]:
            started = time.perf_counter(), time.process_time()
            subjects[name]()
            if round_:
                spent[name].append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return spent


def summary(spent: Times, base: str) -> dict[str, Any]:
    """Medians in ms, and medians of the ratios to `base` in the same round; wall and processor time."""
    found: dict[str, Any] = {}
    for name, times in spent.items():
        found[name] = {}
        for index, clock in enumerate(("wall", "cpu")):
            own, theirs = ([pair[index] for pair in each] for each in (times, spent[base]))
            ratios = [mine / other for mine, other in zip(own, theirs, strict=True)]
            found[name][f"{clock}_ms"] = round(1000 * statistics.median(own), 2)
            found[name][f"{clock}_ratio_to_{base}"] = round(statistics.median(ratios), 4)
            found[name][f"{clock}_all_ms"] = [round(1000 * each, 1) for each in own]
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", nargs="*", choices=("layers", *STEPS), default=["layers", *STEPS])
    parser.add_argument("--repeats", type=int, default=40, help="of the layers")
    parser.add_argument("--steps", type=int, default=20, help="training steps of each kind")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {}
    if options.out is not None and options.out.is_file():
        result = read_json(options.out, dict[str, Any], what="an earlier part of the result")
    for part in options.parts:
        result[part] = {"threads": options.threads, **(layers(options.repeats) if part == "layers" else {})}
        if part != "layers":
            result[part] |= steps(*STEPS[part], options.steps)
        print(part, json.dumps(result[part]), flush=True)
        if options.out is not None:
            write_json(options.out, {**result, "machine": machine(), "commit": commit(), "versions": versions()})


def layers(repeats: int) -> dict[str, Any]:
    """The layers alone, on images of `SHAPE`."""
    image = torch.rand(SHAPE)
    subjects: dict[str, nn.Module] = {
        "reference": ChannelWide(*SHAPE[1:]),
        "transforms": Transforms(),
        "radial": GAFL(3),
        "free": GAFL(3, parametrisation="free"),
        "general": GAFL(3, "general"),
    }
    found: dict[str, Any] = {"shape": list(SHAPE)}
    for way, make in (("forward", one_way), ("forward_backward", both_ways)):
        spent = interleaved({name: make(layer, image) for name, layer in subjects.items()}, repeats)
        found[way] = summary(spent, "reference")
    return found


def steps(batch: int, size: int, repeats: int) -> dict[str, Any]:
    """Training steps of the U-Net without and with a filter."""
    filters = {
        "none": None,
        "radial": GaflConfig(size=(size, size)),
        "free": GaflConfig(parametrisation="free", size=(size, size)),
    }
    subjects: dict[str, Callable[[], object]] = {name: Step(gafl, batch, size) for name, gafl in filters.items()}
    subjects["scale"] = Step(None, batch, size, scale=True)
    spent = interleaved(subjects, repeats)
    return {"shape": [batch, 3, size, size], "step": summary(spent, "none")}


if __name__ == "__main__":
    main()
