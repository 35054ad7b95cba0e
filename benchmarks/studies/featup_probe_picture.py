"""What training did to the upsampler of experiment A: one slice's features before and after, in one basis of colours.

    python benchmarks/studies/featup_probe_picture.py runs/probe --data PHANTOM --slice SLICE --out picture.png

The probe's folder needs a finished `jbu` of the fold and seed. The slice may be of any data set: the frozen
encoder sees it, and the upsampler that was trained on the fold's patients raises its map. Draw a phantom where the
picture is to be published.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from featup_probe import Bilinear
from jaxtyping import Float
from probe_maps import CELLS, CHANNELS, LEVEL, SIDE, frozen_encoder
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from segmed.core.errors import DataError, SegmedError
from segmed.core.files import written_aside
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.sources import open_dataset
from segmed.inference.features import Colours, fit_basis
from segmed.io.figures import save_figure
from segmed.layers.featup import GuidedUpsampler
from segmed.preprocess import Preprocess, PreprocessConfig

Panel = tuple[str, Colours]


def main(arguments: list[str] | None = None) -> int:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe", type=Path, help="the folder of featup_probe.py")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--slice", required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        folder = options.probe / f"fold-{options.fold}"
        image = preprocessed(decode(open_dataset(options.data)), options.slice)
        low, target = maps_of(frozen_encoder(), image, *standard(folder / f"train-{SIDE}.safetensors"))
        trained = GuidedUpsampler("jbu", CHANNELS, 2)
        trained.load_state_dict(load_file(folder / f"jbu-seed-{options.seed}.safetensors"))
        torch.manual_seed(options.seed)
        guidance = functional.adaptive_avg_pool2d(image, CELLS)[None]
        figure = draw(panels(low, target, guidance, GuidedUpsampler("jbu", CHANNELS, 2), trained))
        with written_aside(options.out) as temporary:
            save_figure(figure, temporary, dpi=110)
    except (SegmedError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def preprocessed(decoded: DecodedDataset, slice_id: str) -> Float[Tensor, "3 h w"]:
    """A slice as the probe's encoder reads it, normalised by its volume."""
    records = {record.slice_id: record for record in decoded.dataset.records}
    if slice_id not in records:
        raise DataError(f"{slice_id} is no slice of {decoded.dataset.name}. Its first is {next(iter(records))}.")
    preprocess = Preprocess(PreprocessConfig(size=(SIDE, SIDE)))
    volume = [decoded.image(each) for each, record in records.items() if record.volume == records[slice_id].volume]
    return preprocess.apply(decoded.image(slice_id), preprocess.statistics(volume))[0]


def standard(kept: Path) -> tuple[Float[Tensor, "1 c 1 1"], Float[Tensor, "1 c 1 1"]]:
    """Mean and deviation of each channel over the training slices, as the probe standardises by."""
    features = load_file(kept)["features"].float()
    return features.mean((0, 2, 3), keepdim=True), features.std((0, 2, 3), keepdim=True).clamp(min=1e-6)


@torch.inference_mode()
def maps_of(
    encoder: nn.Module,
    image: Float[Tensor, "3 h w"],
    shift: Float[Tensor, "1 c 1 1"],
    scale: Float[Tensor, "1 c 1 1"],
) -> tuple[Float[Tensor, "c p q"], Float[Tensor, "c P Q"]]:
    """The encoder's map of the slice, and of the slice at four times the size, which training aimed at."""
    enlarged = functional.interpolate(image[None], (4 * SIDE, 4 * SIDE), mode="bilinear", align_corners=False)
    low, target = (((encoder(each)[LEVEL] - shift) / scale)[0] for each in (image[None], enlarged))
    return low, target


@torch.inference_mode()
def panels(
    low: Float[Tensor, "c p q"],
    target: Float[Tensor, "c P Q"],
    guidance: Float[Tensor, "1 3 P Q"],
    before: nn.Module,
    after: nn.Module,
) -> Sequence[Panel]:
    """Titles and colours: the first three principal components of the low-resolution map serve all."""
    basis = fit_basis(low)
    raised = [each.eval()(low[None], guidance)[0] for each in (Bilinear(), before, after)]
    names = ("features", "bilinear", "FeatUp, untrained", "FeatUp, trained", "of the enlarged slice")
    return [
        (f"{name}, {each.shape[1]} x {each.shape[2]}", basis.colours(each))
        for name, each in zip(names, (low, *raised, target), strict=True)
    ]


def draw(shown: Sequence[Panel]) -> Any:
    """The panels side by side, their cells as they are."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(shown), 3.4), layout="constrained")
    for axes, (title, colours) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        axes.imshow(colours, interpolation="nearest")
        axes.set_title(title, fontsize=11)
        axes.axis("off")
    return figure


if __name__ == "__main__":
    sys.exit(main())
