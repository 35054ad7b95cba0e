"""Does training find a known band? Noise in one ring of frequencies hides the phantom's tumours from a small network.

A GAFL of 3 x 24 numbers and three convolutions learn to segment 8 slices, and
the filter is then shown as `segmed filters` shows it. Seconds of one core.

    python benchmarks/gafl_planted.py filter.png
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from segmed.data.phantom import write_phantom
from segmed.evaluation.filters import filter_figure, png_of
from segmed.inference.filters import BeforeAndAfter, LearnedFilter, filter_response
from segmed.io import read_image
from segmed.layers.gafl import GAFL, GaflConfig
from segmed.preprocess import Preprocess, PreprocessConfig

SIZE, BAND, STRENGTH, STEPS = 96, (0.2, 0.3), 4.0, 120
FLAIR = 1
"""The sequence that the picture shows; what all three learn is printed."""


def slices(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The 8 phantom slices with most tumour, preprocessed, and their masks."""
    write_phantom(folder, patients=1, seed=0, size=SIZE, slices=12)
    preprocess, images, masks = Preprocess(PreprocessConfig()), [], []
    for patient in sorted((folder / "kaggle_3m").glob("PHANTOM*")):
        files = [file for file in sorted(patient.glob("*.tif")) if not file.stem.endswith("_mask")]
        volume = [read_image(file).array for file in files]
        statistics = preprocess.statistics(volume)
        images += [preprocess.apply(each, statistics)[0] for each in volume]
        masks += [read_image(file.with_name(f"{file.stem}_mask.tif")).array for file in files]
    marked = torch.from_numpy(np.stack([np.squeeze(mask) > 0 for mask in masks])).float()[:, None]
    best = marked.sum((1, 2, 3)).argsort(descending=True)[:8]
    return torch.stack(images)[best], marked[best]


def main() -> None:
    """Plant, train, draw."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        clean, masks = slices(Path(folder))
    rings = (torch.fft.fftfreq(SIZE)[:, None] ** 2 + torch.fft.rfftfreq(SIZE) ** 2).sqrt()
    ring = (rings > BAND[0]) & (rings < BAND[1])
    layer = GAFL(3)
    head = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1)
    )
    optimiser = torch.optim.Adam(
        [{"params": layer.parameters(), "lr": 0.03}, {"params": head.parameters(), "lr": 0.01}]
    )
    for step in range(STEPS):
        noise = torch.fft.irfft2(torch.fft.rfft2(torch.randn_like(clean)) * ring * STRENGTH, s=(SIZE, SIZE))
        optimiser.zero_grad()
        weight = torch.tensor(10.0)  # tumours are small
        loss = nn.functional.binary_cross_entropy_with_logits(head(layer(clean + noise)), masks, pos_weight=weight)
        loss.backward()
        optimiser.step()
        if step % 40 == 39:
            print(f"step {step + 1}: loss {loss.item():.3f}")
    gain = layer.response(SIZE, SIZE).real
    for channel in range(3):
        inside, outside = gain[channel][ring].mean(), gain[channel][~ring].mean()
        print(f"channel {channel}: mean gain {inside:.2f} in the band, {outside:.2f} elsewhere")
    config = GaflConfig(size=(SIZE, SIZE))
    learned = LearnedFilter(layer.eval(), config, PreprocessConfig(), (f"channel {FLAIR}",))
    with torch.no_grad():
        before = (clean + noise)[0]
        after = layer(before[None])[0]
    shown = slice(FLAIR, FLAIR + 1)
    views = BeforeAndAfter(before.numpy()[shown], after.numpy()[shown])
    response = filter_response(learned)
    response = replace(response, curves=response.curves[shown], spectra=response.spectra[shown])
    title = f"noise planted between {BAND[0]} and {BAND[1]} cycles per pixel"
    Path(sys.argv[1]).write_bytes(png_of(filter_figure(learned, response, views, title=title)))


if __name__ == "__main__":
    main()
