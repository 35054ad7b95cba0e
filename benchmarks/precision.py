"""Is bf16 autocast faster than float32 on this processor, for the networks we train?

Times training steps of both, interleaved in one run so that whatever else the machine does hits both alike, and writes
the median of each and their ratio. `segmed.training.precision` cites the result.

    python benchmarks/precision.py --out benchmarks/results/precision.json
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from segmed.core.files import write_json
from segmed.core.provenance import commit, machine, versions
from segmed.losses import LossConfig, build_loss
from segmed.models.config import ModelConfig
from segmed.models.zoo import build_model

NETWORKS = (
    ("unet", "resnet18"), ("deeplabv3plus", "resnet18"), ("pan", "resnet18"), ("unet", "efficientnet-b0"),
    ("unet", "tu-tf_efficientnet_lite0"), ("deeplabv3plus", "tu-tf_efficientnet_lite0"),
    ("pan", "tu-tf_efficientnet_lite0"),
)  # fmt: skip


class Step:
    """A training step of one network in one precision."""

    def __init__(self, name: str, encoder: str, *, bf16: bool, batch: int, size: int) -> None:
        torch.manual_seed(0)
        config = ModelConfig(name=name, encoder=encoder, encoder_weights="none")
        self.model = build_model(config).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.image = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
        self.mask = (torch.rand(batch, 1, size, size) > 0.97).float()
        self.loss, self.bf16 = build_loss(LossConfig()), bf16

    def __call__(self) -> float:
        """Take the step; seconds."""
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits = self.model(self.image)
        self.loss(logits.float(), self.mask).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.perf_counter() - started


def main() -> None:
    """Measure every network and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    rows = []
    for name, encoder in NETWORKS:
        steps = [Step(name, encoder, bf16=bf16, batch=options.batch, size=options.size) for bf16 in (False, True)]
        times: tuple[list[float], list[float]] = ([], [])
        for repeat in range(options.repeats + 1):
            for step, found in zip(steps, times, strict=True):
                seconds = step()
                if repeat:
                    found.append(seconds)
        float32, bf16 = (statistics.median(found) for found in times)
        rows.append({"model": name, "encoder": encoder, "float32_s": float32, "bf16_s": bf16, "ratio": float32 / bf16})
        print(f"{name} {encoder}: float32 {float32:.3f} s, bf16 {bf16:.3f} s, bf16 is {float32 / bf16:.2f}x")
    write_json(
        options.out,
        {
            "batch": options.batch,
            "size": options.size,
            "threads": torch.get_num_threads(),
            "amx": torch.cpu._is_amx_tile_supported(),
            "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
            "machine": machine(),
            "commit": commit(),
            "versions": versions(),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
