"""Preprocessing is exact, deterministic and undone exactly."""

import numpy as np
import pytest
import torch

from segmed.core.errors import ConfigError, DataError
from segmed.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess, PreprocessConfig


def volume(rng: np.random.Generator, size: tuple[int, int] = (37, 51)) -> list[np.ndarray]:
    return [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(3)]


RNG = np.random.default_rng(0)


def test_zscore_makes_the_clipped_nonzero_voxels_of_the_volume_mean_0_and_deviation_1() -> None:
    images = volume(RNG)
    preprocess = Preprocess(PreprocessConfig(divisor=1))
    statistics = preprocess.statistics(images)
    outputs = np.stack([preprocess.apply(image, statistics)[0].numpy() for image in images])
    for channel in range(3):
        tissue = np.stack(images)[..., channel] != 0
        values = outputs[:, channel][tissue]
        assert abs(values.mean()) < 1e-5
        assert abs(values.std() - 1) < 1e-5


def test_tissue_zscore_leaves_noise_of_the_background_out() -> None:
    images = [RNG.integers(0, 9, (37, 51, 3), np.uint8) for _ in range(3)]  # noise
    for image in images:
        image[10:20, 7:40] = RNG.integers(100, 200, (10, 33, 3), np.uint8)
    preprocess = Preprocess(PreprocessConfig(normalisation="tissue-zscore", clip_percentiles=(0, 100), divisor=1))
    statistics = preprocess.statistics(images)
    outputs = np.stack([preprocess.apply(image, statistics)[0].numpy() for image in images])
    inside = outputs[:, :, 10:20, 7:40]
    assert np.abs(inside.mean((0, 2, 3))).max() < 1e-5
    assert np.abs(inside.std((0, 2, 3)) - 1).max() < 1e-5
    assert outputs[:, :, 0].max() < -4


def test_tissue_zscore_of_constant_and_blank_channels_is_never_nan() -> None:
    image = RNG.integers(1, 256, (32, 32, 3), np.uint8)
    image[..., 1], image[..., 2] = 0, 9
    preprocess = Preprocess(PreprocessConfig(normalisation="tissue-zscore"))
    output, _ = preprocess.apply(image, preprocess.statistics([image]))
    assert torch.equal(output[1:], torch.zeros(2, 32, 32))


def test_minmax_reaches_exactly_0_and_1() -> None:
    images = volume(RNG)
    preprocess = Preprocess(PreprocessConfig(normalisation="minmax", divisor=1))
    statistics = preprocess.statistics(images)
    outputs = torch.stack([preprocess.apply(image, statistics)[0] for image in images])
    tissue = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2) != 0)
    assert outputs[tissue].min() == 0
    assert outputs[tissue].max() == 1


def test_imagenet_normalisation_of_mid_grey_is_the_published_arithmetic() -> None:
    image = np.full((32, 32, 3), 255, np.uint8)
    preprocess = Preprocess(PreprocessConfig(normalisation="imagenet"))
    output, _ = preprocess.apply(image, preprocess.statistics([image]))
    expected = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    assert torch.allclose(output[:, 5, 7], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("factor", "offset", "dtype"),
    [(65535, 0, "uint16"), (4095, 0, "uint16"), (2047, -1024, "int16"), (1, 0, "float32"), (255, 0, "float64")],
)
def test_imagenet_normalisation_gives_one_contrast_whatever_the_stored_type(
    factor: float, offset: float, dtype: str
) -> None:
    grey = RNG.uniform(0.01, 0.97, (37, 51, 3))
    preprocess = Preprocess(PreprocessConfig(normalisation="imagenet"))
    eight_bits, stored = np.rint(grey * 255).astype(np.uint8), np.rint(grey * factor + offset).astype(dtype)
    stored = stored if dtype != "float32" else grey.astype(np.float32)
    expected, _ = preprocess.apply(eight_bits, preprocess.statistics([eight_bits]))
    output, _ = preprocess.apply(stored, preprocess.statistics([stored]))
    assert (output - expected).abs().max() < 1 / 255 / 0.224  # a grey level


def test_the_range_of_the_run_and_not_of_the_image_is_black_and_white() -> None:
    dark = np.full((32, 32, 3), 200, np.uint16)
    preprocess = Preprocess(PreprocessConfig(normalisation="imagenet", intensity_range=(-1000, 1000)))
    output, _ = preprocess.apply(dark, preprocess.statistics([dark]))
    assert output[0, 3, 5].item() == pytest.approx((0.6 - 0.485) / 0.229, abs=1e-5)


def test_pixels_beyond_a_chosen_window_are_clipped() -> None:
    image = np.array([-1000, 40, 900, 100] * 8, np.int16).reshape(4, 8, 1).repeat(3, 2)
    preprocess = Preprocess(PreprocessConfig(normalisation="imagenet", intensity_range=(0, 400), divisor=1))
    output, _ = preprocess.apply(image, preprocess.statistics([image]))
    assert (output[0, 0, :4] * 0.229 + 0.485).tolist() == pytest.approx([0, 0.1, 1, 0.25], abs=1e-6)


@pytest.mark.parametrize("normalisation", ["volume-zscore", "tissue-zscore", "minmax"])
@pytest.mark.parametrize("slice_range", [False, True])
def test_the_unit_of_intensities_changes_nothing(normalisation: str, slice_range: bool) -> None:
    image = RNG.uniform(0.5, 2, (37, 51, 1)).astype(np.float32)
    preprocess = Preprocess(
        PreprocessConfig(channels=(0,), normalisation=normalisation, slice_range=slice_range, size=(32, 64))
    )
    outputs = [
        preprocess.apply(image * np.float32(unit), preprocess.statistics([image * np.float32(unit)]))[0]
        for unit in (1, 1e-9, 1e9)
    ]
    assert outputs[0].std() > 0.1
    assert all(torch.allclose(output, outputs[0], atol=1e-4) for output in outputs[1:])


@pytest.mark.parametrize("normalisation", ["volume-zscore", "minmax"])
@pytest.mark.parametrize("value", [3e-9, 7.0, 4e5])
def test_a_constant_image_stays_constant_in_any_unit(normalisation: str, value: float) -> None:
    image = np.full((37, 51, 1), value, np.float32)
    config = PreprocessConfig(channels=(0,), normalisation=normalisation, slice_range=True, size=(64, 64))
    output, _ = Preprocess(config).apply(image, Preprocess(config).statistics([image]))
    assert output.abs().max() < 1e-5


def test_a_blank_channel_becomes_zero_and_never_nan() -> None:
    image = RNG.integers(1, 256, (32, 32, 3), np.uint8)
    image[..., 1] = 0
    image[..., 2] = 9
    preprocess = Preprocess(PreprocessConfig())
    output, _ = preprocess.apply(image, preprocess.statistics([image]))
    assert torch.equal(output[1:], torch.zeros(2, 32, 32))


def test_channels_are_chosen_in_the_order_asked_for() -> None:
    image = RNG.integers(1, 256, (32, 32, 3), np.uint8)
    chosen = Preprocess(PreprocessConfig(channels=(2, 0)))
    every = Preprocess(PreprocessConfig())
    output, _ = chosen.apply(image, chosen.statistics([image]))
    reference, _ = every.apply(image, every.statistics([image]))
    assert torch.equal(output, reference[[2, 0]])


@pytest.mark.parametrize("size", [(32, 64), (33, 31), (1, 95), (256, 250)])
def test_padding_to_the_divisor_is_undone_bit_for_bit(size: tuple[int, int]) -> None:
    image = RNG.integers(0, 256, (*size, 3), np.uint8)
    preprocess = Preprocess(PreprocessConfig())
    output, undo = preprocess.apply(image, preprocess.statistics([image]))
    assert output.shape[1] % 32 == output.shape[2] % 32 == 0
    padded = torch.randn(2, *output.shape[1:])
    assert torch.equal(undo(padded), padded[:, : size[0], : size[1]])


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
def test_a_resized_ramp_comes_back_to_its_own_grid(fit: str) -> None:
    ramp = np.linspace(1, 200, 60, dtype=np.float32)[None, :, None].repeat(45, 0).repeat(3, 2)
    preprocess = Preprocess(PreprocessConfig(size=(96, 96), fit=fit, normalisation="minmax"))
    output, undo = preprocess.apply(ramp, preprocess.statistics([ramp]))
    assert output.shape == (3, 96, 96)
    back = undo(output)
    assert back.shape == (3, 45, 60)
    expected = (ramp - ramp.min()) / (ramp.max() - ramp.min())
    assert np.abs(back.numpy()[0] - expected[..., 0])[:, 2:-2].max() < 0.02


def test_the_mask_takes_the_same_way_as_the_image() -> None:
    labels = np.zeros((45, 60), np.uint8)
    labels[10:30, 20:50] = 2
    image = (labels[..., None] * 100).repeat(3, 2)
    preprocess = Preprocess(PreprocessConfig(size=(96, 128), fit="letterbox", normalisation="imagenet"))
    output, _ = preprocess.apply(image, preprocess.statistics([image]))
    mask = preprocess.apply_mask(labels)
    assert mask.shape == output.shape[1:]
    bright = output[0] > output[0].mean()
    assert (bright == (mask == 2)).float().mean() > 0.97


def test_shares_of_a_mask_are_areas_by_label_on_a_coarser_grid() -> None:
    labels = np.zeros((4, 6), np.uint8)
    labels[0, 0], labels[2:4, 2:4], labels[3, 5] = 1, 2, 1
    shares = Preprocess(PreprocessConfig(size=(2, 3), divisor=1)).apply_mask_shares(labels, 2)
    assert shares.tolist() == [[[0.25, 0, 0], [0, 0, 0.25]], [[0, 0, 0], [0, 1, 0]]]


def test_shares_of_a_mask_are_0_where_padded_and_binary_on_its_own_grid() -> None:
    shares = Preprocess(PreprocessConfig(divisor=32)).apply_mask_shares(np.ones((20, 40), np.uint8), 1)
    assert shares.shape == (1, 32, 64)
    assert shares[0, :20, :40].min() == 1
    assert shares.sum() == 800


def test_padding_of_a_mask_is_background() -> None:
    mask = Preprocess(PreprocessConfig()).apply_mask(np.ones((31, 33), np.uint8))
    assert mask.shape == (32, 64)
    assert int(mask.sum()) == 31 * 33


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (250, 256)}, r"not a multiple of the model's stride 32. Use \(256, 256\)"),
        ({"clip_percentiles": (50.0, 10.0)}, "must rise"),
        ({"channels": ()}, "at least one"),
        ({"channels": (0,), "normalisation": "imagenet"}, "three channels"),
        ({"intensity_range": (5.0, 5.0)}, "must rise from black to white"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PreprocessConfig(**settings)  # type: ignore[arg-type]


def test_an_image_without_the_channel_is_refused() -> None:
    with pytest.raises(DataError, match=r"reads channels \(0, 1, 2\) but the image has 1"):
        Preprocess(PreprocessConfig(channels=(0, 1, 2))).statistics([np.zeros((8, 8, 1), np.uint8)])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    image = np.ones((8, 8, 3), np.float32)
    image[3, 4, 1] = bad
    with pytest.raises(DataError, match="NaN or infinite"):
        Preprocess(PreprocessConfig()).statistics([image])


@pytest.mark.parametrize("sizes", [((4, 4), (3, 3)), ((256, 256), (192, 192)), ((5, 7), (9, 4)), ((2, 2), (3, 3))])
def test_shares_are_exact_areas_for_every_ratio_of_the_sizes(
    sizes: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    (height, width), size = sizes
    mask = (np.random.default_rng(0).random((height, width)) > 0.5).astype(np.uint8)
    found = Preprocess(PreprocessConfig(size=size, divisor=1)).apply_mask_shares(mask, 1)[0].numpy()
    rows = np.repeat(mask, size[0], axis=0).reshape(size[0], height, width).mean(1)  # each pixel cut into so many
    fine = np.repeat(rows, size[1], axis=1).reshape(size[0], size[1], width).mean(2)
    np.testing.assert_allclose(found, fine, atol=1e-6)


def test_a_first_row_of_four_covers_three_quarters_of_the_first_of_three() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[0] = 1
    found = Preprocess(PreprocessConfig(size=(3, 3), divisor=1)).apply_mask_shares(mask, 1)
    np.testing.assert_allclose(found[0, :, 0].numpy(), [0.75, 0, 0], atol=1e-7)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_a_volume_of_the_lowest_whole_number_alone_is_finite(dtype: type[np.signedinteger]) -> None:
    image = np.full((4, 4, 1), np.iinfo(dtype).min, dtype)
    preprocess = Preprocess(PreprocessConfig(divisor=1))
    read, _ = preprocess.apply(image, preprocess.statistics([image]))
    assert torch.isfinite(read).all()


def test_pixels_beyond_single_precision_are_refused() -> None:
    with pytest.raises(DataError, match="single precision does not"):
        Preprocess(PreprocessConfig(divisor=1)).statistics([np.full((4, 4, 1), 1e39)])


def test_minmax_then_imagenet_is_a_volume_stretched_to_0_to_1_with_imagenets_statistics() -> None:
    volume = [np.random.default_rng(z).integers(1, 4096, (5, 7, 3)).astype(np.int16) for z in range(3)]
    preprocess = Preprocess(PreprocessConfig(normalisation="minmax-imagenet", clip_percentiles=(0, 100), divisor=1))
    read, _ = preprocess.apply(volume[1], preprocess.statistics(volume))
    voxels = np.concatenate([image.reshape(-1, 3) for image in volume]).astype(float)
    stretched = (volume[1] - voxels.min(0)) / (voxels.max(0) - voxels.min(0))
    expected = (stretched - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    np.testing.assert_allclose(read.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_minmax_then_imagenet_is_of_three_channels() -> None:
    with pytest.raises(ConfigError, match="minmax-imagenet normalisation has three channels"):
        PreprocessConfig(normalisation="minmax-imagenet", channels=(0,))
    preprocess = Preprocess(PreprocessConfig(normalisation="minmax-imagenet"))
    with pytest.raises(DataError, match="minmax-imagenet normalisation is of three channels, and the image has 1"):
        preprocess.statistics([np.ones((4, 4, 1))])
