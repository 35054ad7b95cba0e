"""The augmentation that suits a data set: by what its channels are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segmed.core.errors import ConfigError
from segmed.data.augment import PRESETS, AugmentConfig, augment_for, build_augment, preset_of
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.sources import open_dataset
from toydata import toy


def folder_of(root: Path, suffix: str, channels: int) -> DecodedDataset:
    for name in ("images", "masks"):
        (root / name).mkdir()
    pixels = np.arange(19 * 23 * channels).reshape(19, 23, channels).astype(np.uint8)
    if suffix == ".npy":
        np.save(root / "images" / "a.npy", pixels)
    else:
        Image.fromarray(pixels.squeeze()).save(root / "images" / f"a{suffix}")
    Image.fromarray(np.full((19, 23), 255, np.uint8)).save(root / "masks" / "a.png")
    return decode(open_dataset(root), cache_dir=root / "cache")


@pytest.mark.parametrize(
    ("suffix", "channels", "preset"),
    [(".png", 3, "colour"), (".jpg", 3, "colour"), (".png", 1, "mri"), (".npy", 3, "mri")],
)
def test_pictures_in_colour_are_changed_as_colours_and_all_else_as_sequences(
    tmp_path: Path, suffix: str, channels: int, preset: str
) -> None:
    data = folder_of(tmp_path, suffix, channels)
    assert data.in_colour == (preset == "colour")
    assert preset_of(augment_for(data, None)) == preset


def test_lgg_s_three_channels_are_its_sequences(tmp_path: Path) -> None:
    data = toy(tmp_path)
    assert not data.in_colour
    assert augment_for(data, None) == PRESETS["lgg"]


def test_the_chosen_augmentation_stays(tmp_path: Path) -> None:
    chosen = AugmentConfig(noise=0.5)
    assert augment_for(folder_of(tmp_path, ".png", 3), chosen) == chosen


def test_dropping_lgg_s_sequences_is_refused_for_other_data(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"augment.drop_post replaces LGG's .*is other data. Set augment.drop_post=0"):
        augment_for(folder_of(tmp_path, ".png", 3), PRESETS["lgg"])


def test_the_preset_for_colour_keeps_grey_grey() -> None:
    image = torch.rand(8, 1, 33, 47).repeat(1, 3, 1, 1)
    quiet = AugmentConfig(affine=0.8, brightness_contrast=1.0, gamma=1.0, per_channel=False)
    moved, _ = build_augment(quiet, (33, 47))(image, torch.zeros(8, 1, 33, 47), torch.Generator().manual_seed(1))
    torch.testing.assert_close(moved, moved[:, :1].expand_as(moved))
