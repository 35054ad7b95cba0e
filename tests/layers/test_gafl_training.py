"""Every weight of the layer learns, from the first step on, and nothing turns into nan."""

import pytest
import torch

from segmed.layers import GAFL
from segmed.layers.gafl import ACTIVATIONS, MODES, PARAMETRISATIONS, gain_parameters

KINDS = [(mode, "relu") for mode in MODES if mode != "general"] + [("general", name) for name in ACTIVATIONS]


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def shaken(layer: GAFL) -> GAFL:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in layer.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight.dtype)
    return layer


def share_with_gradient(layer: GAFL) -> float:
    gradients = [weight.grad for weight in layer.parameters()]
    assert all(gradient is not None for gradient in gradients)
    alive = sum(int((gradient != 0).sum()) for gradient in gradients)
    return alive / sum(gradient.numel() for gradient in gradients)


@pytest.mark.parametrize("size", [(31, 48), (32, 32)])
@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@pytest.mark.parametrize(("mode", "activation"), KINDS)
def test_every_weight_has_a_gradient_at_the_first_step(
    mode: str, activation: str, parametrisation: str, size: tuple[int, int]
) -> None:
    layer = GAFL(2, mode, parametrisation, activation=activation, size=size)
    image = images(2, 2, *size) + 10  # a mean far above the rest: where bounded activations are flat
    (layer(image) - images(2, 2, *size, seed=1)).square().sum().backward()
    assert share_with_gradient(layer) == 1.0


@pytest.mark.parametrize("mode", ["spectrum", "spectrum-log"])
def test_every_weight_of_adaptive_gains_has_a_gradient_at_the_first_step(mode: str) -> None:
    layer = GAFL(2, mode, adaptive=True)
    (layer(images(2, 2, 48, 48)) - images(2, 2, 48, 48, seed=1)).square().sum().backward()
    assert share_with_gradient(layer) == 1.0


@pytest.mark.parametrize(
    ("mode", "activation", "parametrisation"),
    [
        ("spectrum", "relu", "free"),
        ("spectrum-log", "relu", "radial"),
        ("phase", "relu", "free"),
        ("general", "relu", "free"),
        ("general", "relu6", "radial"),
        ("general", "tanh", "lowrank"),
    ],
)
def test_over_99_percent_of_the_weights_still_learn_at_step_300(
    mode: str, activation: str, parametrisation: str
) -> None:
    layer = GAFL(1, mode, parametrisation, activation=activation, size=(16, 17))
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-2)
    image = images(2, 1, 16, 17) + 3
    target = 0.5 * image.roll(1, -1) + 0.3 * images(2, 1, 16, 17, seed=1)
    losses = []
    for _ in range(300):
        optimiser.zero_grad()
        loss = (layer(image) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    optimiser.zero_grad()  # another batch: a weight that has arrived at its best for the first one rests there
    (layer(images(2, 1, 16, 17, seed=2) + 3) - images(2, 1, 16, 17, seed=3)).square().mean().backward()
    assert share_with_gradient(layer) > 0.99


def awkward(name: str) -> torch.Tensor:
    image = images(1, 1, 24, 25).expand(2, 3, 24, 25)
    return {"zero": torch.zeros_like(image), "constant": torch.full_like(image, 5.0), "duplicated": image}[name].clone()


@pytest.mark.parametrize("kind", ["zero", "constant", "duplicated"])
@pytest.mark.parametrize(("mode", "activation"), KINDS)
def test_awkward_images_give_no_nan(mode: str, activation: str, kind: str) -> None:
    for layer in (GAFL(3, mode, activation=activation), shaken(GAFL(3, mode, activation=activation))):
        image = awkward(kind).requires_grad_()
        filtered = layer(image)
        (filtered - 1).square().sum().backward()
        assert torch.isfinite(filtered).all()
        assert torch.isfinite(image.grad).all()
        assert all(torch.isfinite(weight.grad).all() for weight in layer.parameters())


@pytest.mark.parametrize("kind", ["zero", "constant", "duplicated"])
def test_awkward_images_give_no_nan_with_adaptive_gains(kind: str) -> None:
    layer, image = shaken(GAFL(3, "spectrum-log", adaptive=True)), awkward(kind).requires_grad_()
    (layer(image) - 1).square().sum().backward()
    assert torch.isfinite(image.grad).all()
    assert all(torch.isfinite(weight.grad).all() for weight in layer.parameters())


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_finite_differences(mode: str, parametrisation: str) -> None:
    layer = shaken(GAFL(1, mode, parametrisation, bands=4, rank=2, size=(4, 5), activation="tanh", padding=1).double())
    image = images(1, 1, 5, 4).double().requires_grad_()
    names, weights = zip(*layer.named_parameters(), strict=True)

    def call(image: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (image,))

    assert torch.autograd.gradcheck(call, (image, *weights))


def test_adaptive_gradients_are_those_of_finite_differences() -> None:
    layer = shaken(GAFL(1, bands=4, adaptive=True).double())
    assert torch.autograd.gradcheck(layer, (images(1, 1, 6, 5).double().requires_grad_(),))


def test_training_finds_a_planted_band() -> None:
    rings = (torch.fft.fftfreq(48)[:, None] ** 2 + torch.fft.rfftfreq(48) ** 2).sqrt()
    band = (rings > 0.2) & (rings < 0.3)
    clean = images(8, 1, 48, 48)
    noise = torch.fft.irfft2(torch.fft.rfft2(images(8, 1, 48, 48, seed=1)) * band * 5, s=(48, 48))
    layer = GAFL(1)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.2)
    for _ in range(80):
        optimiser.zero_grad()
        (layer(clean + noise) - clean).square().mean().backward()
        optimiser.step()
    gain = layer.response(48, 48)[0].real
    assert gain[(rings > 0.22) & (rings < 0.28)].max() < 0.2
    assert gain[(rings > 0.35) | (rings < 0.15)].min() > 0.8


def test_gain_parameters_are_the_filters_own_and_each_once() -> None:
    shared = GAFL(2, "general")
    network = torch.nn.Sequential(shared, torch.nn.Conv2d(2, 2, 1), shared, GAFL(2, adaptive=True))
    found = gain_parameters(network)
    assert sum(weight.numel() for weight in found) == sum(
        weight.numel() for layer in (shared, network[3]) for weight in layer.parameters()
    )
    assert not any(weight is network[1].weight for weight in found)
