"""The preprocessing that belongs to weights: SAM's and MedSAM's, against their own steps written out again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from segmed.core.config import config_from_mapping
from segmed.models.families import contract_named
from segmed.models.sam.contract import contract_by_name, contract_of, contract_warning, differences
from segmed.preprocess import Preprocess, PreprocessConfig
from segmed.training.recipe import load_recipe


def head(size: tuple[int, int], slices: int = 3) -> list[np.ndarray]:
    """A grey volume of smooth blobs in an ellipse, zero around it, 16 bits in three equal channels."""
    rng = np.random.default_rng(4)
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in size), indexing="ij")
    tissue = (x / 0.8) ** 2 + (y / 0.85) ** 2 < 1
    blobs = ndimage.gaussian_filter(rng.normal(size=(slices, *size, 1)), (0, 3, 3, 0)).repeat(3, axis=3)
    volume = 400 + 900 * blobs / blobs.std() * 0.2
    volume[1] *= 0.4  # a dim slice
    return list((volume * tissue[None, ..., None]).clip(0).astype(np.uint16))


def as_sam_does(image: np.ndarray, side: int) -> np.ndarray:
    """Longest side to `side` through 8-bit bilinear resizing, ImageNet's statistics, zeros at the bottom and right."""
    scale = side / max(image.shape[:2])
    height, width = (int(length * scale + 0.5) for length in image.shape[:2])
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR), np.float64)
    normalised = (resized - (123.675, 116.28, 103.53)) / (58.395, 57.12, 57.375)
    padded = np.zeros((side, side, 3))
    padded[:height, :width] = normalised
    return padded.transpose(2, 0, 1)


def as_medsam_does(volume: np.ndarray, side: int) -> np.ndarray:
    """Percentile clip of what is above zero, 0 to 255 in 8 bits, cubic spline to the square, each slice to 0 to 1."""
    low, high = np.percentile(volume[volume > 0], (0.5, 99.5))
    clipped = np.clip(volume.astype(np.float64), low, high)
    stretched = (clipped - clipped.min()) / (clipped.max() - clipped.min()) * 255
    stretched[volume == 0] = 0
    slices = []
    for image in np.uint8(stretched).astype(np.float64):
        factors = np.array(image.shape[:2]) / side
        blurred = ndimage.gaussian_filter(image, (*np.maximum(0, (factors - 1) / 2), 0), mode="constant")
        zoomed = ndimage.zoom(blurred, (*(1 / factors), 1), order=3, mode="grid-constant", grid_mode=True)
        zoomed = np.clip(zoomed, image.min(), image.max())
        slices.append((zoomed - zoomed.min()) / (zoomed.max() - zoomed.min()))
    return np.stack(slices).transpose(0, 3, 1, 2)


def prepared(config: PreprocessConfig, volume: list[np.ndarray]) -> torch.Tensor:
    preprocess = Preprocess(config)
    statistics = preprocess.statistics(volume)
    return torch.stack([preprocess.apply(image, statistics)[0] for image in volume])


@pytest.mark.parametrize("size", [(37, 51), (150, 101), (75, 50)])
def test_sams_contract_is_its_own_code_to_a_grey_level(size: tuple[int, int]) -> None:
    image = (head(size)[0] / 8).clip(0, 255).astype(np.uint8)
    expected = as_sam_does(image, 64)
    ours = prepared(contract_of("sam", 64), [image])[0].numpy()
    assert (np.abs(ours - expected).max(axis=(1, 2)) < np.array([1 / 58.395, 1 / 57.12, 1 / 57.375])).all()
    nothing = (expected == 0).all(axis=0)
    assert nothing.any()
    assert not ours[:, nothing].any()


def test_a_side_of_half_a_pixel_is_rounded_up_as_sam_does() -> None:
    image = np.full((81, 96, 3), 200, np.uint8)
    assert (prepared(contract_of("sam", 48), [image])[0] != 0).any(0).sum() == 41 * 48  # of 40.5 rows


@pytest.mark.parametrize(
    ("size", "mean", "most"),
    [((64, 64), 0.002, 0.006), ((37, 51), 0.004, 0.03), ((96, 80), 0.006, 0.08)],
    ids=["as it is, 8 bits apart", "enlarged, another cubic kernel", "reduced, another filter before"],
)
def test_medsams_contract_is_its_own_code_to_grey_levels(size: tuple[int, int], mean: float, most: float) -> None:
    volume = head(size)
    expected = as_medsam_does(np.stack(volume), 64)
    ours = prepared(contract_of("medsam", 64), volume).numpy()
    assert ours.min(axis=(1, 2, 3)).tolist() == [0, 0, 0]
    assert ours.max(axis=(1, 2, 3)) == pytest.approx(1)
    error = np.abs(ours - expected)
    assert error.mean() < mean
    assert np.quantile(error, 0.99) < most
    wrong = prepared(contract_of("sam", 64), [(image / 8).clip(0, 255).astype(np.uint8) for image in volume]).numpy()
    assert np.abs(wrong - expected).mean() > 0.3


def test_without_the_last_stretch_a_dim_slice_stays_dim() -> None:
    volume = head((64, 64))
    config = replace(contract_of("medsam", 64), slice_range=False)
    assert prepared(config, volume)[1].max() < 0.7


def test_a_blank_slice_stays_zero_under_every_contract_of_medsam() -> None:
    volume = [*head((64, 64)), np.zeros((64, 64, 3), np.uint16)]
    assert not prepared(contract_of("medsam", 64), volume)[3].any()


def test_settings_saved_before_contracts_still_load_and_mean_the_same() -> None:
    old = {
        "channels": [0, 1, 2], "normalisation": "volume-zscore", "clip_percentiles": [0.5, 99.5], "size": [64, 64],
        "fit": "letterbox", "divisor": 32,
    }  # fmt: skip
    config = config_from_mapping(PreprocessConfig, old, source="config.json")
    assert (config.interpolation, config.padding, config.slice_range) == ("bilinear", "edge", False)


@pytest.mark.parametrize(
    ("recipe", "contract"), [("sam-vit-b", "sam"), ("sam-vit-b-reproduction", "sam"), ("medsam", "medsam")]
)
def test_recipes_follow_the_contract_of_their_weights(recipe: str, contract: str) -> None:
    chosen = load_recipe(recipe)
    assert differences(contract_named(contract).preprocess, chosen.preprocess) == []
    assert chosen.model.sam is not None
    assert chosen.model.sam.trains == "decoder"
    assert chosen.preprocess.size == (chosen.model.sam.size, chosen.model.sam.size)


def test_images_made_otherwise_than_the_weights_want_are_told() -> None:
    assert contract_warning(None, PreprocessConfig()) is None
    assert contract_warning("medsam", contract_of("medsam", 256)) is None
    warning = contract_warning("medsam", PreprocessConfig(size=(64, 64)))
    assert warning is not None
    assert "preprocess.normalisation=minmax, preprocess.interpolation=bicubic, preprocess.slice_range=True" in warning


@pytest.mark.parametrize(
    ("place", "contract"),
    [
        ("medsam_vit_b.pth", "medsam"),
        ("wanglab/medsam-vit-base", "medsam"),
        ("home/medsam/sam_vit_b_01ec64.pth", "sam"),
        ("facebook/sam-vit-huge", "sam"),
        ("hub/models--wanglab--medsam-vit-base/snapshots/1ed1aa", "medsam"),
        ("best.pth", None),
    ],
)
def test_the_last_part_of_a_name_tells_the_contract(place: str, contract: str | None) -> None:
    assert contract_by_name(place) == contract
