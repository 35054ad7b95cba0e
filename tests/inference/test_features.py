"""The picture of features: one basis for all panels, the one that upsamples most, and a clear word without one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from commands import segmed
from segmed.core.errors import DataError, ModelError
from segmed.core.labels import LabelMap
from segmed.inference import load
from segmed.inference.features import captured, feature_panels, fit_basis
from segmed.models.checkpoint import RunConfig, save_run
from segmed.models.config import ModelConfig
from segmed.models.sam_config import SamConfig
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig


def run(folder: Path, preprocess: PreprocessConfig | None = None, **settings: object) -> Path:
    """An untrained run on a small encoder, at 64 px by default."""
    torch.manual_seed(0)
    values = {"name": "sam-tiny", "encoder": "test_efficientnet", **settings}
    if values["name"] != "sam-tiny":
        values["encoder"] = f"tu-{values['encoder']}"
    config = ModelConfig(encoder_weights="none", **values)  # type: ignore[arg-type]
    contract = preprocess or PreprocessConfig(size=(64, 64))
    save_run(folder, build_model(config), RunConfig(config, contract, LabelMap(), 0.5))
    return folder


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (80, 70, 3), np.uint8)


@pytest.mark.parametrize(
    ("settings", "low", "upsampled"),
    [
        ({"sam": SamConfig(size=64, encode_at=32)}, 4, 8),
        ({"sam": SamConfig(size=64, featup="jbu", encode_at=32)}, 8, 32),
        ({"name": "unet", "upsampler": "jbu"}, 32, 64),
        ({"name": "unetplusplus", "upsampler": "bilinear-control"}, 32, 64),
    ],
)
def test_panels_show_the_upsampler_that_raises_most(
    tmp_path: Path, settings: dict[str, object], low: int, upsampled: int
) -> None:
    panels = feature_panels(load(run(tmp_path, **settings), device="cpu"), image())
    assert panels.low.shape == (low, low, 3)
    assert panels.bilinear.shape == panels.upsampled.shape == (upsampled, upsampled, 3)
    assert panels.image.shape == (64, 64, 3)
    assert 0 < panels.kept <= 1
    for picture in (panels.image, panels.low, panels.bilinear, panels.upsampled):
        assert picture.min() >= 0
        assert picture.max() <= 1


def test_the_same_features_have_the_same_colours_whatever_the_panel() -> None:
    features = torch.randn(5, 6, 7)
    basis = fit_basis(features)
    enlarged = features.repeat_interleave(2, 1).repeat_interleave(2, 2)
    np.testing.assert_allclose(basis.colours(enlarged)[::2, ::2], basis.colours(features), atol=1e-6)


def test_three_directions_that_hold_everything_show_everything() -> None:
    features = torch.einsum("cn,nhw->chw", torch.randn(8, 3), torch.randn(3, 5, 5))
    assert fit_basis(features).kept == pytest.approx(1, abs=1e-5)


def test_features_of_two_channels_leave_the_third_colour_dark() -> None:
    features = torch.randn(2, 4, 4)
    assert not fit_basis(features).colours(features)[..., 2].any()


def test_a_network_without_featup_is_answered_with_how_to_get_one() -> None:
    with pytest.raises(ModelError, match=r"no FeatUp to draw. Train one with --upsampler jbu"):
        captured(torch.nn.Conv2d(3, 1, 1), torch.randn(1, 3, 8, 8))


def test_the_command_writes_a_picture(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", sam=SamConfig(size=64, encode_at=32))
    Pillow.fromarray(image()).save(tmp_path / "slice.png")
    out = tmp_path / "features.png"
    assert str(out) in segmed("features", folder, tmp_path / "slice.png", "-o", out)
    with Pillow.open(out) as picture:
        assert picture.width > 1000


def test_the_command_says_where_features_of_a_run_in_mm_are_drawn(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", PreprocessConfig(size=(64, 64), spacing=(1.0, 1.0)), name="unet", upsampler="jbu")
    Pillow.fromarray(image()).save(tmp_path / "slice.png")
    with pytest.raises(DataError, match=r"slice\.png: says no millimetres per pixel.*features\.feature_panels in Pyt"):
        segmed("features", folder, tmp_path / "slice.png", "-o", tmp_path / "features.png")
    assert feature_panels(load(folder, device="cpu"), image(), spacing=(1.0, 1.0)).channels > 0
