"""What FeatUp costs a promptable model that encodes a smaller image, beside encoders that read more pixels.

    python benchmarks/encode_half.py --out benchmarks/results/encode-half.json

The model of `sam-tiny-lite-cpu` at 192 px with random weights, in float32: the embedding of a batch, without a graph.
The encoder reads 192 px as it was made, 96 px upsampled by FeatUp (`jbu`), and the sizes between 96 and 176 px
upsampled by the control, which has as many parameters. They take turns; reported are the medians of the processor time
and of the ratios to the model at 192 px of the same round.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from segmed.core.files import write_json
from segmed.core.provenance import commit, machine, versions
from segmed.models.config import ModelConfig
from segmed.models.sam_config import SamConfig
from segmed.models.zoo import build_model

FULL = 192
READ = (96, 112, 128, 144, 160, 176)


def variants() -> dict[str, SamConfig]:
    """What is compared, by name."""
    made = {"full": SamConfig(size=FULL, box_prior=True)}
    made["jbu-96"] = SamConfig(size=FULL, box_prior=True, encode_at=96, encode_upsampler="jbu")
    for side in READ:
        made[f"control-{side}"] = SamConfig(
            size=FULL, box_prior=True, encode_at=side, encode_upsampler="bilinear-control"
        )
    return made


def measured(batch: int, repeats: int) -> dict[str, dict[str, float]]:
    """Processor time of the embedding of a batch by each variant, in turns, after a round that does not count."""
    torch.manual_seed(0)
    image = torch.randn(batch, 3, FULL, FULL)
    models = {
        name: build_model(
            ModelConfig(name="sam-tiny", encoder="tu-tf_efficientnet_lite0", encoder_weights="none", sam=sam)
        ).eval()
        for name, sam in variants().items()
    }
    spent: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for round_ in range(repeats + 1):
            for name in list(models) if round_ % 2 else list(models)[::-1]:
                started = time.process_time()
                models[name].encode(image)
                if round_:
                    spent[name].append(time.process_time() - started)
    return {
        name: {
            "cpu_ms": round(1000 * statistics.median(seconds), 1),
            "cpu_ratio": round(statistics.median(a / b for a, b in zip(seconds, spent["full"], strict=True)), 3),
        }
        for name, seconds in spent.items()
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {f"batch-{batch}": measured(batch, options.repeats) for batch in options.batches}
    settings = {"size": FULL, "threads": options.threads, "repeats": options.repeats}
    write_json(
        options.out,
        {"what": settings, "encoding": found, "machine": machine(), "commit": commit(), "versions": versions()},
    )
    for name, facts in found.items():
        print(name, facts)


if __name__ == "__main__":
    main()
