"""The global adaptive filtering layer: the identity at first, then the filter that its weights describe."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import nn

from segmed.core.errors import ModelError
from segmed.layers import GAFL
from segmed.layers.gafl import ACTIVATIONS, MODES, PARAMETRISATIONS
from segmed.layers.gafl.modes import MAX_LOG_GAIN, Activation, ModeName

KINDS = [(mode, "relu") for mode in MODES if mode != "general"] + [("general", name) for name in ACTIVATIONS]
"""Every mode, and general with every activation."""

SIZES = [(31, 31), (32, 47), (65, 34), (96, 96)]


def shaken(layer: GAFL, *, by: float = 0.2, seed: int = 0) -> GAFL:
    """The layer with every weight moved away from its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in layer.parameters():
            weight += by * torch.randn(weight.shape, generator=generator)
    return layer


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_every_mode_and_activation_that_a_recipe_may_name_can_be_built() -> None:
    assert (tuple(MODES), tuple(ACTIVATIONS)) == (get_args(ModeName), get_args(Activation))


# --- the start -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@pytest.mark.parametrize(("mode", "activation"), KINDS)
def test_a_new_layer_is_the_identity_at_any_size(mode: str, activation: str, parametrisation: str) -> None:
    layer = GAFL(2, mode, parametrisation, activation=activation)
    for size in [(31, 31), (48, 31), (65, 130)]:
        image = images(1, 2, *size)
        assert (layer(image) - image).abs().max() <= 2e-6


@pytest.mark.parametrize("mode", MODES)
def test_a_new_layer_is_the_identity_at_512(mode: str) -> None:
    image = images(1, 1, 512, 511)
    assert (GAFL(1, mode, padding=16)(image) - image).abs().max() <= 2e-6


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_new_layer_returns_the_image_to_the_last_bit_in_its_own_precision(dtype: torch.dtype, adaptive: bool) -> None:
    image = images(1, 3, 31, 40).to(dtype) * 300
    filtered = GAFL(3, padding=4, adaptive=adaptive)(image)
    assert filtered.dtype == dtype
    assert torch.equal(filtered, image)


# --- the reference ---------------------------------------------------------------------------------------------------


def reference_spectrum(image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mode spectrum of the reference, said again: rfftn over channels, rows and columns; relu(w) for every bin."""
    spectrum = torch.fft.rfftn(image, dim=(1, 2, 3))
    return torch.fft.irfftn(torch.relu(weight) * spectrum, dim=(1, 2, 3))


@pytest.mark.parametrize("size", [(32, 32), (34, 48)])
def test_a_free_gain_gives_the_numbers_of_the_reference_for_one_channel_and_even_sizes(
    size: tuple[int, int],
) -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(3, 1, *size, generator=generator)
    weight = torch.rand(1, size[0], size[1] // 2 + 1, generator=generator) * 3 + 0.1
    for column in (0, -1):  # a real image's own conjugates: one number for both
        weight[..., column] = (weight[..., column] + weight[..., column].flip(-1).roll(1, -1)) / 2
    layer = GAFL(1, "spectrum", "free", size=size)
    with torch.no_grad():
        layer.mode.log_gain.weight.copy_((MAX_LOG_GAIN * torch.atanh(weight.log() / MAX_LOG_GAIN)).flatten(1))
    assert (layer(image) - reference_spectrum(image, weight)).abs().max() <= 1e-5


# --- the filter is what its response says ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@pytest.mark.parametrize("mode", ["spectrum", "phase"])
def test_the_spectrum_is_multiplied_by_the_response(mode: str, parametrisation: str, size: tuple[int, int]) -> None:
    layer, image = shaken(GAFL(2, mode, parametrisation, size=(40, 40))), images(2, 2, *size)
    before, after = torch.fft.rfft2(image, norm="ortho"), torch.fft.rfft2(layer(image).detach(), norm="ortho")
    assert (after - before * layer.response(*size)).abs().max() < 1e-5
    assert (after - before).abs().max() > 0.1


@pytest.mark.parametrize("size", SIZES)
def test_the_control_is_a_convolution_of_each_channel_that_wraps_around(size: tuple[int, int]) -> None:
    layer, image = shaken(GAFL(2, "convolution-control")), images(3, 2, *size)
    taps = layer.mode.taps.detach()
    expected = image + torch.nn.functional.conv2d(
        torch.nn.functional.pad(image, (2, 2, 2, 2), mode="circular"), taps.flip(1, 2)[:, None], groups=2
    )
    torch.testing.assert_close(layer(image).detach(), expected, atol=1e-5, rtol=1e-5)
    assert sum(weight.numel() for weight in layer.parameters()) == 2 * 25


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_gains_stay_positive_whatever_the_weights(parametrisation: str) -> None:
    response = shaken(GAFL(1, "spectrum", parametrisation, size=(16, 16)), by=100.0).response(33, 30)
    assert response.real.min() > 0.01
    assert response.real.max() < 60
    assert response.imag.abs().max() == 0


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_a_phase_is_odd_and_zero_where_a_frequency_is_its_own_negative(
    parametrisation: str, size: tuple[int, int]
) -> None:
    height, width = size
    angle = shaken(GAFL(1, "phase", parametrisation, size=(20, 20))).response(height, width).angle()[0]
    for column in (column for column in range(width // 2 + 1) if 2 * column % width == 0):
        for row in range(height):
            assert angle[row, column].item() == pytest.approx(-angle[-row % height, column].item(), abs=1e-6)
            if 2 * row % height == 0:
                assert angle[row, column] == 0


def test_a_phase_changes_no_amplitude() -> None:
    layer, image = shaken(GAFL(1, "phase", "free", size=(24, 26)), by=2.0), images(1, 1, 24, 26)
    before, after = torch.fft.rfft2(image).abs(), torch.fft.rfft2(layer(image).detach()).abs()
    assert torch.allclose(before, after, rtol=1e-4, atol=1e-4)


def test_a_radial_phase_that_grows_with_frequency_moves_the_image() -> None:
    layer, image = GAFL(1, "phase"), images(1, 1, 15, 21)
    radii = torch.arange(1, 24) / 23 * math.sqrt(0.5)
    with torch.no_grad():
        layer.mode.angle.weight[0, 0] = -2 * math.pi * 2 * radii
        layer.mode.angle.weight[0, 1] = -2 * math.pi * -1 * radii
        assert torch.allclose(layer(image), image.roll((2, -1), dims=(2, 3)), atol=1e-4)


def test_the_even_columns_of_a_free_gain_agree_with_their_negatives() -> None:
    gain = shaken(GAFL(1, "spectrum", "free", size=(8, 8))).response(8, 8).real[0]
    assert torch.allclose(gain[1:, 0], gain[1:, 0].flip(0))
    assert torch.allclose(gain[1:, 4], gain[1:, 4].flip(0))
    assert not torch.allclose(gain[1:, 2], gain[1:, 2].flip(0))


# --- known answers on a single bright pixel, whose amplitudes are all alike ----------------------------------------


def spark() -> torch.Tensor:
    image = torch.zeros(1, 1, 16, 17)
    image[..., 5, 6] = 3.0
    return image


def test_spectrum_log_raises_one_plus_the_relative_amplitude_to_a_power() -> None:
    layer = GAFL(1, "spectrum-log")
    with torch.no_grad():
        layer.mode.log_exponent.weight.fill_(0.5)
        exponent = math.exp(1.2 * math.tanh(0.5 / 1.2))
        assert torch.allclose(layer(spark()), spark() * (2**exponent - 1), atol=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_general_is_affine_around_its_activation(activation: str) -> None:
    layer = GAFL(1, "general", activation=activation)
    with torch.no_grad():
        layer.mode.log_inner_gain.weight.fill_(-0.3)
        layer.mode.inner_bias.weight.fill_(0.2)
        layer.mode.log_outer_gain.weight.fill_(0.4)
        layer.mode.outer_bias.weight.fill_(-0.1)
        layer.mode.gate.fill_(0.5)
        w1, w2 = (math.exp(4 * math.tanh(b / 4)) for b in (-0.3, 0.4))
        one = torch.tensor(1.0)

        def act(values: torch.Tensor) -> torch.Tensor:
            return 0.99 * ACTIVATIONS[activation](values) + 0.01 * values

        amplitude = 1 + 1.5 * (w2 * act(w1 * one + 0.2) - 0.1) - act(one)
        assert torch.allclose(layer(spark()), spark() * amplitude, atol=1e-4)


def test_general_with_relu_is_the_formula_of_the_paper() -> None:
    layer, image = GAFL(1, "general"), images(1, 1, 20, 21)
    with torch.no_grad():
        layer.mode.log_outer_gain.weight.fill_(0.4)
        layer.mode.inner_bias.weight.fill_(0.3)
        before, after = torch.fft.rfft2(image, norm="ortho").abs(), torch.fft.rfft2(layer(image), norm="ortho").abs()
    expected = math.exp(4 * math.tanh(0.1)) * (before + 0.3 * torch.fft.fft2(image, norm="ortho").abs().mean())
    assert torch.allclose(after, expected, rtol=1e-3, atol=1e-3)


# --- symmetry, size, precision, batch -----------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.rot90(1, (-2, -1))])
@pytest.mark.parametrize("mode", ["spectrum", "spectrum-log", "general"])
def test_a_radial_gain_commutes_with_flips_and_turns(mode: str, turn: Callable[[torch.Tensor], torch.Tensor]) -> None:
    layer, image = shaken(GAFL(2, mode)), images(1, 2, 24, 24)
    assert torch.allclose(layer(turn(image)), turn(layer(image)), atol=1e-5)


@pytest.mark.parametrize("size", [(192, 192), (320, 320), (191, 321)])
def test_free_weights_of_256_mean_the_same_at_other_sizes(size: tuple[int, int]) -> None:
    def wanted(height: int, width: int) -> torch.Tensor:
        down, right = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
        return 1 - 0.8 * torch.exp(-((down / 0.1) ** 2) - ((right - 0.1) / 0.05) ** 2)

    layer = GAFL(1, "spectrum", "free")
    with torch.no_grad():
        log_gain = wanted(256, 256).log()
        layer.mode.log_gain.weight.copy_(4 * torch.atanh(log_gain / 4).view(1, -1))
    assert (layer.response(256, 256)[0].real - wanted(256, 256)).abs().max() < 1e-5
    assert (layer.response(*size)[0].real - wanted(*size)).abs().max() < 1e-2


def test_low_rank_weights_of_256_mean_the_same_at_other_sizes() -> None:
    layer = GAFL(1, "spectrum", "lowrank")
    with torch.no_grad():
        layer.mode.log_gain.rows *= 1.4
    base, other = layer.response(256, 256)[0].real, layer.response(128, 384)[0].real
    same = base[::2].index_select(0, torch.arange(128))
    assert (other[:, ::3][:, :65] - same[:, ::2][:, :65]).abs().max() < 1e-2
    assert (base - 1).abs().max() > 0.1


def test_autocast_does_not_reach_inside() -> None:
    layer, image = shaken(GAFL(2, "general")), images(1, 2, 31, 32) * 100
    with torch.autocast("cpu", torch.bfloat16):
        inside = layer(image)
    assert torch.equal(inside, layer(image))


@pytest.mark.parametrize(("mode", "adaptive"), [("spectrum", True), ("spectrum-log", True), ("general", False)])
def test_an_image_is_filtered_alike_alone_and_in_a_batch(mode: str, adaptive: bool) -> None:
    layer, batch = shaken(GAFL(2, mode, adaptive=adaptive)), images(3, 2, 31, 32)
    alone = torch.cat([layer(image[None]) for image in batch])
    assert torch.allclose(layer(batch), alone, atol=1e-5)


def test_padding_keeps_the_filter_from_wrapping_around() -> None:
    image = torch.zeros(1, 1, 32, 32)
    image[..., -4:] = 1.0
    plain, padded = GAFL(1), GAFL(1, padding=12)
    with torch.no_grad():
        for layer in (plain, padded):
            layer.mode.log_gain.weight[:, 4:] = -20.0
        assert plain(image)[..., 0].mean() > 0.3
        assert padded(image)[..., 0].abs().max() < 0.05


def test_the_first_size_may_be_seen_in_prediction_and_trained_later() -> None:
    layer = GAFL(1, bands=7)
    with torch.inference_mode():
        layer(images(1, 1, 37, 39))
    layer(images(1, 1, 37, 39)).square().sum().backward()
    assert layer.mode.log_gain.weight.grad.abs().min() > 0


# --- gains that follow the image -------------------------------------------------------------------------------------


def test_adaptive_gains_differ_between_images_and_not_with_brightness() -> None:
    layer, image = shaken(GAFL(1, adaptive=True)), images(1, 1, 32, 32)
    with torch.no_grad():
        layer.mode.log_gain.weight.zero_()
        smooth = nn.functional.avg_pool2d(image, 5, 1, 2)

        def gain(x: torch.Tensor) -> torch.Tensor:
            return (torch.fft.rfft2(layer(x)) / torch.fft.rfft2(x)).real

        assert (gain(image) - gain(smooth)).abs().max() > 0.01
        assert (gain(image) - gain(7 * image)).abs().max() < 1e-3


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"Unknown mode 'spectral' of GAFL\. Choose one of: spectrum, spectrum-log, "):
        GAFL(1, "spectral")


def test_an_unknown_parametrisation_and_activation_are_refused() -> None:
    with pytest.raises(ModelError, match="Choose one of: radial, free, lowrank"):
        GAFL(1, "spectrum", "ring")
    with pytest.raises(ModelError, match="Unknown activation 'gelu'"):
        GAFL(1, "general", activation="gelu")


def test_other_channels_are_refused() -> None:
    with pytest.raises(ModelError, match="made for 3 channels, got an image of 1"):
        GAFL(3)(images(1, 1, 32, 32))


def test_more_padding_than_image_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot reflect 16 pixels of an image of 16 x 40"):
        GAFL(1, padding=16)(images(1, 1, 16, 40))


def test_adaptive_gains_are_refused_where_there_is_no_gain() -> None:
    with pytest.raises(ModelError, match="not for phase"):
        GAFL(1, "phase", adaptive=True)


@pytest.mark.parametrize("options", [{"mode": "general"}, {"mode": "spectrum-log"}, {"adaptive": True}])
def test_a_filter_that_follows_the_image_has_no_response(options: dict[str, object]) -> None:
    layer = GAFL(1, **options)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="depends on the image: it has no response"):
        layer.response(32, 32)


def test_counts_below_the_least_are_refused() -> None:
    with pytest.raises(ModelError, match="bands is too small"):
        GAFL(1, bands=1)
