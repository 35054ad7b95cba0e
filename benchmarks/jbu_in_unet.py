"""A training step of a U-Net whose decoder upsamples by FeatUp, how much longer, and on what.

    python benchmarks/jbu_in_unet.py --out benchmarks/results/jbu-in-unet.json

U-Nets of ResNet-18 and of EfficientNet-Lite0 (as in `unet-lite-cpu`), a batch of 16 at 128 px in float32: forward, loss
and backward. Plain interpolation, the control with as many parameters, and FeatUp take turns. Reported are the medians
of the processor time and of the ratios of the same round, and for one profiled step with FeatUp the share of the
processor time of the operators that take most.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from segmed.core.files import write_json
from segmed.core.provenance import commit, machine, versions
from segmed.losses import LossConfig, build_loss
from segmed.models.config import ModelConfig
from segmed.models.zoo import build_model
from turns import in_turns

ENCODERS = {"resnet18": {}, "tu-tf_efficientnet_lite0": {"decoder_channels": (128, 64, 32, 16, 16)}}
LISTED = 12
"""Operators whose shares are reported."""


class Step:
    """One training step on a fixed batch, without the optimiser, which costs both the same."""

    def __init__(self, encoder: str, upsampler: str, *, batch: int, size: int) -> None:
        torch.manual_seed(0)
        config = ModelConfig(
            name="unet", encoder=encoder, encoder_weights="none", upsampler=upsampler, **ENCODERS[encoder]
        )
        self.model: nn.Module = build_model(config).to(memory_format=torch.channels_last).train()
        self.image = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
        self.mask: Tensor = (torch.rand(batch, 1, size, size) > 0.97).float()
        self.loss = build_loss(LossConfig())

    def __call__(self) -> None:
        """Forward, loss, backward."""
        self.loss(self.model(self.image).float(), self.mask).backward()
        self.model.zero_grad()


def shares(step: Step) -> dict[str, float]:
    """Share of the processor time that each operator itself takes, largest first."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        step()
    spent = {event.key: event.self_cpu_time_total for event in recorded.key_averages()}
    largest = sorted(spent, key=lambda name: -spent[name])[:LISTED]
    return {name: round(spent[name] / sum(spent.values()), 3) for name in largest}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {}
    for encoder in ENCODERS:
        steps = {
            upsampler: Step(encoder, upsampler, batch=options.batch, size=options.size)
            for upsampler in ("interpolate", "bilinear-control", "jbu")
        }
        found[encoder] = {"step": in_turns(steps, options.repeats), "shares_with_jbu": shares(steps["jbu"])}
    settings = {"batch": options.batch, "size": options.size, "threads": options.threads, "repeats": options.repeats}
    write_json(
        options.out,
        {"what": settings, "encoders": found, "machine": machine(), "commit": commit(), "versions": versions()},
    )
    for encoder, facts in found.items():
        print(encoder, facts)


if __name__ == "__main__":
    main()
