"""What FeatUp costs at inference, beside an encoder that reads more pixels instead.

    python benchmarks/featup_or_pixels.py --out benchmarks/results/featup-or-pixels.json

Two settings, those of experiments A and B of docs/results/featup-gafl.md, with random weights in float32 and without a
graph. `promptable`: the embedding of `sam-tiny-lite-cpu` at 192 px, whose encoder reads 192 px, or fewer and is
upsampled. `frozen`: the map of 64 x 64 cells from stride 16 of EfficientNet-Lite0, which reads 256 px or more.
`control` has as many parameters as FeatUp (`jbu`) and no kernels. All take turns; reported are the medians of the
processor time and of the ratios to the first of the same round.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from segmed.core.files import write_json
from segmed.core.provenance import commit, machine, versions
from segmed.layers.featup import GuidedKind, GuidedUpsampler
from segmed.models.config import ModelConfig
from segmed.models.dense import build_encoder
from segmed.models.sam_config import SamConfig
from segmed.models.zoo import build_model
from turns import in_turns

ENCODER = "tu-tf_efficientnet_lite0"
FULL, READ = 192, (96, 112, 128, 144, 160, 176)
SLICE, CELLS, CHANNELS, LEVEL = 256, 64, 112, 4
Run = Callable[[], Tensor]


def promptable(batch: int) -> dict[str, Run]:
    """The embedding of a batch by sam-tiny, the whole image first."""
    image = torch.randn(batch, 3, FULL, FULL)
    made = {"full": SamConfig(size=FULL, box_prior=True)}
    made["jbu-96"] = SamConfig(size=FULL, box_prior=True, encode_at=96, encode_upsampler="jbu")
    for side in READ:
        control = SamConfig(size=FULL, box_prior=True, encode_at=side, encode_upsampler="bilinear-control")
        made[f"control-{side}"] = control

    def run(sam: SamConfig) -> Run:
        config = ModelConfig(name="sam-tiny", encoder=ENCODER, encoder_weights="none", sam=sam)
        model = build_model(config).eval()
        return lambda: model.encode(image).first

    return {name: run(sam) for name, sam in made.items()}


def frozen(batch: int) -> dict[str, Run]:
    """A map of `CELLS` cells from a frozen encoder's stride 16, interpolation from `SLICE` pixels first."""
    encoder = build_encoder(ENCODER).eval()
    image = torch.randn(batch, 3, SLICE, SLICE)

    def bilinear(side: int) -> Run:
        enlarged = functional.interpolate(image, (side, side), mode="bilinear", align_corners=False)
        cells = (CELLS, CELLS)
        return lambda: functional.interpolate(encoder(enlarged)[LEVEL], cells, mode="bilinear", align_corners=False)

    def guided(kind: GuidedKind) -> Run:
        upsampler = GuidedUpsampler(kind, CHANNELS, 2).eval()
        return lambda: upsampler(encoder(image)[LEVEL], functional.adaptive_avg_pool2d(image, CELLS), (CELLS, CELLS))

    pixels = {f"pixels-{side}": bilinear(side) for side in (320, 384, 512)}
    return {"bilinear-256": bilinear(SLICE), "jbu": guided("jbu"), "control": guided("bilinear-control"), **pixels}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        found = {
            setting.__name__: {f"batch-{batch}": in_turns(setting(batch), options.repeats) for batch in options.batches}
            for setting in (promptable, frozen)
        }
    what = {"encoder": ENCODER, "threads": options.threads, "repeats": options.repeats}
    write_json(options.out, {"what": what, **found, "machine": machine(), "commit": commit(), "versions": versions()})
    for name, batches in found.items():
        for batch, facts in batches.items():
            print(name, batch, {each: spent["cpu_ratio"] for each, spent in facts.items()})


if __name__ == "__main__":
    main()
