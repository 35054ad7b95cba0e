"""The learned filter of a run can be looked at, and shows the frequencies that were planted."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from commands import segmed
from filter_parts import filter_of
from segmed.core.errors import DataError, ModelError
from segmed.core.labels import LabelMap
from segmed.evaluation.filters import filter_figure, write_filter_curve
from segmed.inference.filters import (
    BeforeAndAfter,
    FilterResponse,
    LearnedFilter,
    filter_image,
    filter_response,
    input_names,
    learned_filter,
)
from segmed.layers.gafl import GAFL, GaflConfig
from segmed.models.checkpoint import RunConfig, save_run
from segmed.models.config import ModelConfig
from segmed.models.sam_config import SamConfig
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig

ENCODER = "tu-test_efficientnet"


SLICES = PreprocessConfig(channels=(0, 1, 2), size=(64, 96))


def run_with(
    folder: Path, gafl: GaflConfig | None, name: str = "unet", shift: float = 0.3, preprocess: PreprocessConfig = SLICES
) -> Path:
    model = ModelConfig(
        name=name,
        encoder=ENCODER,
        encoder_weights="none",
        gafl=gafl,
        sam=SamConfig(size=64),
        channels=preprocess.inputs,
    )
    network = build_model(model)
    if gafl is not None:
        with torch.no_grad():
            for weight in filter_of(network).parameters():
                weight += shift
    config = RunConfig(model=model, preprocess=preprocess, labels=LabelMap(), threshold=0.5)
    save_run(folder, network, config)
    return folder


def picture(size: tuple[int, int] = (50, 60)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)


def test_the_curve_of_a_flat_gain_is_flat_and_its_spectrum_is_whole(tmp_path: Path) -> None:
    learned = learned_filter(run_with(tmp_path, GaflConfig()))
    response = filter_response(learned)
    gain = np.exp(4 * np.tanh(0.3 / 4))
    assert learned.size == (64, 96)
    assert response.spectra.shape == (3, 64, 96)
    np.testing.assert_allclose(response.curves, gain, rtol=1e-4)
    np.testing.assert_allclose(response.spectra, gain, rtol=1e-4)


@pytest.mark.parametrize("size", [(15, 22), (16, 21)])
@pytest.mark.parametrize("mode", ["spectrum", "phase"])
def test_the_whole_spectrum_is_that_of_the_filter(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    learned = learned_filter(run_with(tmp_path, GaflConfig(mode=mode, parametrisation="free", size=size), shift=0.0))
    with torch.no_grad():
        for weight in learned.layer.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        impulse = torch.zeros(1, 3, *size)
        impulse[..., 0, 0] = 1.0
        response = torch.fft.fftshift(torch.fft.fft2(learned.layer(impulse)[0]), dim=(-2, -1)).numpy()
    expected = np.angle(response) if mode == "phase" else response.real
    np.testing.assert_allclose(filter_response(learned).spectra, expected, atol=1e-4)


def test_a_filter_that_follows_the_image_is_seen_on_one(tmp_path: Path) -> None:
    learned = learned_filter(run_with(tmp_path, GaflConfig(mode="general")))
    with pytest.raises(DataError, match="mode general depend on the image: name one"):
        filter_response(learned)
    views = filter_image(learned, picture())
    assert views.before.shape == (3, 64, 96)
    assert filter_response(learned, views).curves[:, 5:40].min() > 1.1


def test_a_run_that_resamples_to_mm_shows_its_filter_on_an_image_of_known_spacing(tmp_path: Path) -> None:
    preprocess = PreprocessConfig(channels=(0, 1, 2), size=(64, 96), spacing=(0.5, 1.0), padding="zero")
    learned = learned_filter(run_with(tmp_path, GaflConfig(), preprocess=preprocess))
    with pytest.raises(DataError, match="spacing"):
        filter_image(learned, picture())
    views = filter_image(learned, picture((20, 60)), (1.0, 1.0))
    rows = np.flatnonzero(np.ptp(views.before, axis=(0, 2)) > 0.5)
    assert 38 <= np.ptp(rows) + 1 <= 40  # 20 rows of 1 mm are 40 of 0.5 mm, and the rest is padding


def test_a_filter_on_the_embedding_is_read_and_has_no_image(tmp_path: Path) -> None:
    gafl = GaflConfig(place="embedding", parametrisation="lowrank", rank=1)
    learned = learned_filter(run_with(tmp_path, gafl, "sam-tiny"))
    assert filter_response(learned).curves.shape[0] == 256
    with pytest.raises(DataError, match="on the image embedding"):
        filter_image(learned, picture())


def test_the_command_says_where_the_filter_of_a_run_in_mm_is_shown_on_an_image(tmp_path: Path) -> None:
    preprocess = PreprocessConfig(channels=(0, 1, 2), size=(64, 96), spacing=(0.5, 1.0))
    run = run_with(tmp_path / "run", GaflConfig(), preprocess=preprocess)
    Pillow.fromarray(picture()).save(tmp_path / "image.png")
    with pytest.raises(DataError, match=r"image\.png: says no millimetres per pixel.*filters\.filter_image in Python"):
        segmed("filters", run, tmp_path / "image.png", "-o", tmp_path / "out")


def test_the_command_writes_a_picture_and_the_curve(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", GaflConfig())
    Pillow.fromarray(picture()).save(tmp_path / "image.png")
    segmed("filters", run, tmp_path / "image.png", "-o", tmp_path / "out")
    with Pillow.open(tmp_path / "out" / "filter.png") as shown:
        assert shown.width > shown.height > 300
    rows = list(csv.DictReader((tmp_path / "out" / "filter.csv").read_text().splitlines()))
    assert float(rows[7]["gain_channel_1"]) == pytest.approx(np.exp(4 * np.tanh(0.3 / 4)), rel=1e-3)
    assert float(rows[-1]["cycles_per_pixel"]) == pytest.approx(0.5**0.5, abs=1e-5)


def test_the_channels_of_a_25d_run_are_named_by_their_slice_in_the_order_of_the_input() -> None:
    names = input_names(PreprocessConfig(channels=(1, 2), neighbours=1))
    assert names[:3] == ("channel 1, slice -1", "channel 2, slice -1", "channel 1, slice 0")
    assert names[-1] == "channel 2, slice 1"
    assert input_names(PreprocessConfig(channels=(1,))) == ("channel 1",)


@pytest.mark.parametrize("channels", [(1,), (0, 1, 2)])
def test_the_curve_of_a_25d_run_has_a_column_for_every_channel_of_the_network(
    tmp_path: Path, channels: tuple[int, ...]
) -> None:
    run = run_with(
        tmp_path / "run", GaflConfig(), preprocess=PreprocessConfig(size=(32, 32), channels=channels, neighbours=1)
    )
    segmed("filters", run, "-o", tmp_path / "out")
    header, *rows = csv.reader((tmp_path / "out" / "filter.csv").read_text().splitlines())
    assert header[1] == f"gain_channel_{channels[0]}_slice_-1"
    assert {len(row) for row in rows} == {len(header)} == {1 + 3 * len(channels)}


def test_the_picture_of_a_25d_run_names_the_slice_of_each_curve(tmp_path: Path) -> None:
    preprocess = PreprocessConfig(size=(32, 32), channels=(1,), neighbours=1)
    learned = learned_filter(run_with(tmp_path, GaflConfig(), preprocess=preprocess))
    figure = filter_figure(learned, filter_response(learned), None, title="2.5D")
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == ["channel 1, slice -1", "channel 1, slice 0", "channel 1, slice 1"]


def test_names_that_are_not_as_many_as_the_channels_write_no_curve(tmp_path: Path) -> None:
    response = FilterResponse("gain", np.array([0.0, 0.7]), np.ones((3, 2)), np.ones((3, 8, 8)))
    with pytest.raises(ValueError, match="zip"):
        write_filter_curve(response, ["channel 1"], tmp_path / "filter.csv")


@pytest.mark.parametrize(("gain", "reach", "ticks"), [(0.25, 4, [0.25, 1, 4]), (1.0, 1.1, [0.91, 1, 1.1])])
def test_gains_are_drawn_as_far_below_one_as_above(gain: float, reach: float, ticks: list[float]) -> None:
    response = FilterResponse("gain", np.array([0.0, 0.7]), np.full((1, 2), gain), np.full((1, 8, 8), gain))
    layer = GAFL(1)
    learned = LearnedFilter(layer, GaflConfig(), PreprocessConfig(), ("channel 0",))
    figure = filter_figure(learned, response, None, title="flat")
    curve, spectrum = figure.axes[:2]
    assert curve.get_yscale() == "log"
    assert curve.get_ylim() == pytest.approx((1 / reach**1.1, reach**1.1))
    assert list(curve.get_yticks()) == ticks
    assert spectrum.images[0].get_clim() == pytest.approx((1 / reach, reach))


def test_either_image_has_a_grey_scale_of_its_own() -> None:
    before = np.linspace(0, 1, 64).reshape(1, 8, 8)
    response = FilterResponse("gain", np.array([0.0, 0.7]), np.ones((1, 2)), np.ones((1, 8, 8)))
    learned = LearnedFilter(GAFL(1), GaflConfig(), PreprocessConfig(), ("channel 0",))
    figure = filter_figure(learned, response, BeforeAndAfter(before, 20 * before), title="louder")
    first, second = (np.array(axes.images[0].get_clim()) for axes in figure.axes[2:4])
    assert second == pytest.approx(20 * first)


def test_a_filter_is_not_read_from_weights_that_are_damaged(tmp_path: Path) -> None:
    weights = run_with(tmp_path, GaflConfig()) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 64
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="weights are not those that were saved"):
        learned_filter(tmp_path)


def test_a_run_without_a_filter_is_refused_with_the_way_to_one(tmp_path: Path) -> None:
    assert learned_filter(run_with(tmp_path / "run", None)) is None
    with pytest.raises(ModelError, match=r"has no learned filter\. Train one with `segmed train --gafl radial`"):
        segmed("filters", tmp_path / "run", "-o", tmp_path / "out")


def test_training_a_segmentation_finds_the_planted_band() -> None:
    """A square under strong noise in one ring of frequencies, and a single weight behind the filter."""
    size, generator = 48, torch.Generator().manual_seed(0)
    rings = (torch.fft.fftfreq(size)[:, None] ** 2 + torch.fft.rfftfreq(size) ** 2).sqrt()
    band = (rings > 0.2) & (rings < 0.3)
    mask = torch.zeros(16, 1, size, size)
    for index in range(16):
        top, left = torch.randint(4, 28, (2,), generator=generator)
        mask[index, :, top : top + 16, left : left + 16] = 1
    noise = torch.fft.irfft2(torch.fft.rfft2(torch.randn(mask.shape, generator=generator)) * band * 6, s=(size, size))
    torch.manual_seed(0)  # of the weight behind the filter, which was the order's of the tests before
    layer, head = GAFL(1), torch.nn.Conv2d(1, 1, 1)
    optimiser = torch.optim.Adam([{"params": layer.parameters(), "lr": 0.2}, {"params": head.parameters(), "lr": 0.05}])
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(head(layer(mask + noise)), mask).backward()
        optimiser.step()
    gain = layer.response(size, size)[0].real
    inside = gain[(rings > 0.22) & (rings < 0.28)].max()
    assert inside < 0.25
    assert gain[rings < 0.1].mean() > 4 * inside
