"""Two real images filtered as one complex image: the same numbers and the same gradients as one by one."""

import pytest
import torch

from segmed.layers import GAFL
from segmed.layers.gafl.paired import filtered_in_pairs, whole

SIZES = [(5, 8), (6, 7), (1, 4), (9, 9)]


def one_by_one(images: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    return torch.fft.irfft2(torch.fft.rfft2(images) * response, s=images.shape[-2:])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_full_spectrum_of_a_real_filter_is_made_of_its_half(height: int, width: int) -> None:
    torch.manual_seed(0)
    image = torch.randn(2, height, width, dtype=torch.float64)
    full = whole(torch.view_as_real(torch.fft.rfft2(image)), width)
    torch.testing.assert_close(torch.view_as_complex(full.contiguous()), torch.fft.fft2(image))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("images", [2, 3, 5])
def test_pairs_give_what_their_images_give_alone_and_the_same_gradients(images: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    image = torch.randn(images, 2, height, width, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(2, height, width, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(images, 2, height, width, dtype=torch.float64)
    ours = filtered_in_pairs(image, torch.view_as_real(torch.fft.rfft2(kernel)))
    theirs = one_by_one(image, torch.fft.rfft2(kernel))
    torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        torch.testing.assert_close(filtered_in_pairs(image, torch.view_as_real(torch.fft.rfft2(kernel))), theirs)
    mine, plain = (torch.autograd.grad((each * weights).sum(), (image, kernel)) for each in (ours, theirs))
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one, other)


def test_a_gradient_of_a_gradient_is_refused() -> None:
    image = torch.randn(2, 1, 4, 4, requires_grad=True)
    filtered = filtered_in_pairs(image, torch.ones(1, 4, 3, 1, requires_grad=True))
    (first,) = torch.autograd.grad(filtered.square().sum(), image, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_a_filter_learns_alike_whether_or_not_the_image_asks_for_a_gradient() -> None:
    torch.manual_seed(0)
    image = torch.randn(4, 3, 12, 10)
    gradients = []
    for asks in (False, True):
        torch.manual_seed(1)
        layer = GAFL(3)
        torch.nn.init.normal_(layer.mode.log_gain.weight, std=0.1)  # type: ignore[union-attr, arg-type]
        layer(image.clone().requires_grad_(asks)).square().sum().backward()
        gradients.append(layer.mode.log_gain.weight.grad)  # type: ignore[union-attr]
    torch.testing.assert_close(*gradients)
