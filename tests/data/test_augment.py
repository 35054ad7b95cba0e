"""Augmentation: image and mask move together, every draw comes from the generator, ranges are respected."""

import dataclasses

import pytest
import torch
from torch import Tensor

from segmed.core.config import config_from_mapping
from segmed.core.errors import ConfigError
from segmed.data.augment import PRESETS, Augment, AugmentConfig, build_augment
from segmed.data.augment.geometry import warp

RANDOM_PRESETS = [name for name in PRESETS if name != "none"]
GEOMETRY = {
    "affine": AugmentConfig(affine=1),
    "horizontal flip": AugmentConfig(horizontal_flip=1),
    "vertical flip": AugmentConfig(vertical_flip=1),
    "quarter turns": AugmentConfig(rotate90=1),
    "crop": AugmentConfig(crop=0.8),
    "all": AugmentConfig(affine=1, horizontal_flip=0.5, vertical_flip=0.5, rotate90=0.5, crop=0.9),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def square(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A dark image of about normal range with an off-centre bright rectangle, and the rectangle's mask."""
    mask = torch.zeros(batch, 1, height, width)
    mask[:, :, height // 3 : height // 3 + 12, width // 2 : width // 2 + 17] = 1
    return (mask * 4 - 1).repeat(1, 3, 1, 1), mask


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("size", [(64, 64), (61, 83)])
def test_a_bright_square_stays_under_its_mask(name, size):
    image, mask = square(8, *size)
    moved, moved_mask = Augment(GEOMETRY[name], size)(image, mask, generator())
    bright = (moved > 1).float()  # half way between dark and bright
    assert moved_mask.sum() > 0
    assert (bright - moved_mask).abs().sum() <= 0.06 * 3 * moved_mask.sum()


@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_moves_most_samples(name):
    image, mask = square(16, 61, 83)
    _, moved = Augment(GEOMETRY[name], (61, 83))(image, mask, generator())
    assert ((moved != mask).flatten(1).any(1)).sum() >= 12


def test_a_horizontal_flip_mirrors_columns_exactly():
    image, mask = torch.randn(2, 3, 31, 45), (torch.rand(2, 2, 31, 45) > 0.5).float()
    flipped, flipped_mask = Augment(AugmentConfig(horizontal_flip=1), (31, 45))(image, mask, generator())
    torch.testing.assert_close(flipped, image.flip(-1), atol=1e-4, rtol=0)
    assert torch.equal(flipped_mask, mask.flip(-1))


def test_a_soft_mask_is_interpolated_as_the_image_is():
    image, mask = torch.rand(4, 3, 61, 83), torch.rand(4, 1, 61, 83)
    image[:, 0] = mask[:, 0]
    draws = Augment(AugmentConfig(affine=1), (61, 83)).draw(4, 3, generator())
    moved, soft = warp(image, mask, draws.sampling, soft=True)
    assert torch.equal(soft[:, 0], moved[:, 0])
    through = Augment(AugmentConfig(affine=1), (61, 83), soft=True).apply(image, mask, draws)[1]
    assert torch.equal(through, soft)


def test_a_quarter_turn_of_a_square_image_is_rot90_of_some_count():
    image, mask = torch.randn(1, 3, 33, 33), (torch.rand(1, 1, 33, 33) > 0.5).float()
    _, turned = Augment(AugmentConfig(rotate90=1), (33, 33))(image, mask, generator())
    assert any(torch.equal(turned, mask.rot90(turns, (-2, -1))) for turns in (1, 2, 3))


def test_non_square_images_are_only_turned_by_180_degrees():
    image, mask = torch.randn(4, 3, 31, 45), (torch.rand(4, 1, 31, 45) > 0.5).float()
    _, turned = Augment(AugmentConfig(rotate90=1), (31, 45))(image, mask, generator())
    assert torch.equal(turned, mask.flip(-1, -2))


def test_a_crop_keeps_the_scale_and_pads_with_the_darkest_value():
    mask = torch.zeros(1, 1, 40, 40)
    mask[:, :, 16:23, 14:25] = 1  # whole in every crop
    image = (mask * 4 - 1).repeat(1, 3, 1, 1)
    cropped, cropped_mask = Augment(AugmentConfig(crop=0.75), (40, 40))(image, mask, generator())
    assert cropped_mask.sum() == mask.sum()
    assert torch.all(cropped[:, :, :5] == image.min())
    assert torch.all(cropped[:, :, :, -5:] == image.min())


@pytest.mark.parametrize("preset", RANDOM_PRESETS)
def test_the_same_generator_state_gives_the_same_result(preset):
    image, mask = square(6, 48, 64)
    augment = build_augment(preset, (48, 64))
    first, second, other = (augment(image, mask, generator(seed)) for seed in (7, 7, 8))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("preset", RANDOM_PRESETS)
def test_global_random_state_is_neither_used_nor_changed(preset):
    image, mask = square(6, 48, 64)
    augment = build_augment(preset, (48, 64))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = augment(image, mask, generator())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(augment(image, mask, generator())[0], first[0])


@pytest.mark.parametrize("preset", RANDOM_PRESETS)
def test_recorded_draws_can_be_replayed(preset):
    image, mask = square(5, 48, 64)
    augment = build_augment(preset, (48, 64))
    draws = augment.draw(5, 3, generator())
    assert torch.equal(augment.apply(image, mask, draws)[0], augment(image, mask, generator())[0])


@pytest.mark.parametrize("preset", RANDOM_PRESETS)
@pytest.mark.parametrize("size", [(65, 97), (128, 96)])
def test_sizes_and_dtypes_stay_and_masks_stay_binary(preset, size):
    image, mask = torch.randn(4, 3, *size), (torch.rand(4, 2, *size) > 0.5).float()
    moved, moved_mask = build_augment(preset, size)(image, mask, generator())
    assert moved.shape == image.shape
    assert moved.dtype == image.dtype
    assert set(moved_mask.unique().tolist()) == {0.0, 1.0}


def test_the_preset_none_returns_its_input():
    image, mask = square(2, 31, 45)
    moved, moved_mask = build_augment("none", (31, 45))(image, mask, generator())
    assert torch.equal(moved, image)
    assert torch.equal(moved_mask, mask)


@pytest.mark.parametrize("preset", RANDOM_PRESETS)
@pytest.mark.parametrize("value", [0.0, -3.5])
def test_constant_images_stay_constant(preset, value):
    image, mask = torch.full((8, 3, 64, 64), value), torch.zeros(8, 1, 64, 64)
    moved, _ = build_augment(preset, (64, 64))(image, mask, generator())
    assert torch.all(moved == value)


@pytest.mark.parametrize("preset", RANDOM_PRESETS)
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.5, 6.0), (-2.1, 2.6)])
def test_intensities_stay_near_the_range_of_the_input(preset, low, high):
    image = low + (high - low) * torch.rand(16, 3, 64, 64, generator=generator(1))
    moved, _ = build_augment(preset, (64, 64))(image, torch.zeros(16, 1, 64, 64), generator())
    assert moved.isfinite().all()
    assert moved.min() >= low - 0.3 * (high - low)
    assert moved.max() <= high + 1.6 * (high - low)


def test_intensity_changes_do_not_depend_on_the_normalisation():
    config = AugmentConfig(gamma=1, bias_field=1, brightness_contrast=1, clahe=1, noise=1)
    image, mask = torch.rand(4, 3, 64, 64, generator=generator(1)), torch.zeros(4, 1, 64, 64)
    augment = Augment(config, (64, 64))
    plain = augment(image, mask, generator())[0]
    scored = augment(image * 5 - 2, mask, generator())[0]
    difference = (scored - (plain * 5 - 2)).abs()
    assert difference.median() < 1e-4  # rounding may move a pixel to the next bin of CLAHE's histogram


@pytest.mark.parametrize(
    "change", [{"clahe": 1}, {"brightness_contrast": 1}, {"gamma": 1}, {"bias_field": 1}, {"noise": 1}]
)
def test_an_intensity_change_leaves_masks_and_changes_every_image(change):
    image, mask = torch.randn(4, 3, 64, 64), (torch.rand(4, 1, 64, 64) > 0.5).float()
    moved, moved_mask = Augment(AugmentConfig(**change), (64, 64))(image, mask, generator())
    assert torch.equal(moved_mask, mask)
    assert ((moved - image).abs().amax((1, 2, 3)) > 0.01).all()


def test_a_bias_field_is_smooth_and_multiplies():
    flat = torch.ones(1, 1, 64, 64)
    flat[0, 0, 0, 0] = 0  # the minimum, so that 1 is the top of the range
    moved, _ = Augment(AugmentConfig(bias_field=1), (64, 64))(flat, torch.zeros(1, 1, 64, 64), generator())
    field = moved[0, 0, 1:, 1:]
    assert moved[0, 0, 0, 0] == 0
    assert field.max() / field.min() > 1.1
    assert field.diff(dim=0).abs().max() < 0.1


def test_sequence_dropout_copies_flair_after_all_other_changes():
    config = AugmentConfig(gamma=1, noise=1, affine=1, drop_post=1, drop_pre=1)
    image, mask = torch.randn(4, 3, 32, 32), torch.zeros(4, 1, 32, 32)
    moved, _ = Augment(config, (32, 32))(image, mask, generator())
    assert torch.equal(moved[:, 2], moved[:, 1])
    assert torch.equal(moved[:, 0], moved[:, 1])


def test_pre_contrast_is_dropped_only_where_post_contrast_is():
    draws = build_augment("lgg", (32, 32)).draw(2000, 3, generator())
    assert 0.06 < draws.drop_post.float().mean() < 0.14
    assert 0 < draws.drop_pre.sum() < draws.drop_post.sum()
    assert not (draws.drop_pre & ~draws.drop_post).any()


def test_sequences_are_not_dropped_from_images_of_two_channels():
    image, mask = torch.randn(4, 2, 32, 32), torch.zeros(4, 1, 32, 32)
    moved, _ = Augment(AugmentConfig(drop_post=1, drop_pre=1), (32, 32))(image, mask, generator())
    torch.testing.assert_close(moved, image, atol=1e-4, rtol=0)


def test_half_precision_images_come_back_in_their_dtype():
    image, mask = square(2, 32, 48)
    moved, moved_mask = build_augment("mri", (32, 48))(image.bfloat16(), mask, generator())
    assert moved.dtype == torch.bfloat16
    assert moved_mask.dtype == torch.float32


def test_the_input_is_not_changed_in_place():
    image, mask = square(8, 48, 48)
    kept = image.clone(), mask.clone()
    for preset in RANDOM_PRESETS:
        build_augment(preset, (48, 48))(image, mask, generator())
    assert torch.equal(image, kept[0])
    assert torch.equal(mask, kept[1])


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match=r"Unknown augmentation preset 'mir'\. Did you mean 'mri'\?"):
        build_augment("mir", (32, 32))


def test_a_wrong_size_names_both_sizes():
    image, mask = square(1, 32, 48)
    with pytest.raises(ConfigError, match="for images of 64x64, got 32x48"):
        build_augment("mri", (64, 64))(image, mask, generator())


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(ConfigError, match=r"Did you mean 'gamma'\?"):
        config_from_mapping(AugmentConfig, {"gama": 0.5}, source="recipe")


def test_every_preset_is_a_complete_config():
    assert set(PRESETS) == {"none", "reproduction", "mri", "lgg", "colour"}
    assert all(dataclasses.is_dataclass(config) for config in PRESETS.values())


def test_random_gains_of_frequencies_keep_the_mean_and_stay_within_their_strength() -> None:
    config = AugmentConfig(band_gain=1.0, band_gain_strength=0.7)
    image = torch.rand(3, 2, 33, 48, generator=torch.Generator().manual_seed(3))
    moved, _ = build_augment(config, (33, 48))(image, torch.zeros(3, 1, 33, 48), torch.Generator().manual_seed(4))
    gain = (torch.fft.rfft2(moved).abs() / torch.fft.rfft2(image).abs()).log()
    torch.testing.assert_close(moved.mean((2, 3)), image.mean((2, 3)))
    assert gain.abs().max() <= 0.7 + 1e-3
    assert gain.abs().max() > 0.3
    assert not torch.allclose(gain[0, 0], gain[0, 1], atol=1e-3)
    together = dataclasses.replace(config, per_channel=False)
    moved, _ = build_augment(together, (33, 48))(image, torch.zeros(3, 1, 33, 48), torch.Generator().manual_seed(4))
    gain = (torch.fft.rfft2(moved).abs() / torch.fft.rfft2(image).abs()).log()
    torch.testing.assert_close(gain[:, 0], gain[:, 1], atol=1e-3, rtol=0)


def test_noise_in_a_ring_has_no_other_frequencies() -> None:
    config = AugmentConfig(ring_noise=1.0, ring_noise_level=0.5)
    image = torch.zeros(4, 1, 64, 80)
    image[..., ::7] = 1
    moved, _ = build_augment(config, (64, 80))(image, torch.zeros(4, 1, 64, 80), torch.Generator().manual_seed(5))
    power = torch.fft.rfft2(moved - image).abs().square()
    radius = (torch.fft.fftfreq(64)[:, None].square() + torch.fft.rfftfreq(80).square()).sqrt()
    for sample in power[:, 0]:
        centre = radius.flatten()[sample.argmax()]
        assert 0.01 < centre < 0.31
        assert sample[(radius - centre).abs() > 0.1].sum() < 0.02 * sample.sum()
    assert (moved - image).abs().max() > 0.05


def test_changes_of_the_spectrum_leave_what_other_settings_draw_as_it_was() -> None:
    plain = build_augment("lgg", (32, 48)).draw(5, 3, torch.Generator().manual_seed(6))
    config = dataclasses.replace(PRESETS["lgg"], band_gain=1.0, ring_noise=1.0)
    both = build_augment(config, (32, 48)).draw(5, 3, torch.Generator().manual_seed(6))
    assert torch.equal(plain.sampling, both.sampling)
    assert torch.equal(plain.noise, both.noise)
    assert torch.equal(plain.drop_pre, both.drop_pre)
