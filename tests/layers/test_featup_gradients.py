"""Gradients of the joint bilateral upsampler: of features, guidance, every parameter and every one of the 49 taps."""

import pytest
import torch
from torch import Tensor

from segmed.layers import JBUStack
from segmed.layers.featup.jbu import TAPS
from segmed.layers.featup.windows import match, mix, spread


def triple(factor: int, *, size: tuple[int, int] = (2, 3), channels: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments kernel, mixed, padded of the trilinear form, in double."""
    torch.manual_seed(factor)
    height, width = size
    kernel = torch.randn(1, height, width, factor**2, TAPS, dtype=torch.float64, requires_grad=True)
    mixed = torch.randn(1, height * factor, width * factor, channels, dtype=torch.float64, requires_grad=True)
    padded = torch.randn(1, height + 6, width + 6, channels, dtype=torch.float64, requires_grad=True)
    return kernel, mixed, padded


@pytest.mark.parametrize("factor", [1, 2])
def test_the_three_operators_are_the_derivatives_of_one_form(factor: int) -> None:
    kernel, mixed, padded = triple(factor)
    form = (mix(kernel, padded) * mixed).sum()
    assert torch.allclose((match(mixed, padded) * kernel).sum(), form)
    assert torch.allclose((spread(kernel, mixed) * padded).sum(), form)


def test_mixing_takes_the_taps_row_by_row() -> None:
    padded = torch.arange(8 * 9, dtype=torch.float64).view(1, 8, 9, 1)
    for tap in (0, 1, 7, 24, 48):
        kernel = torch.zeros(1, 2, 3, 1, TAPS, dtype=torch.float64)
        kernel[..., tap] = 1
        row, column = divmod(tap, 7)
        assert torch.equal(mix(kernel, padded), padded[:, row : row + 2, column : column + 3])


@pytest.mark.parametrize("factor", [1, 2])
def test_the_operators_gradients_are_right_to_second_order(factor: int) -> None:
    kernel, mixed, padded = triple(factor, size=(1, 2), channels=1)
    for operator, arguments in ((mix, (kernel, padded)), (match, (mixed, padded)), (spread, (kernel, mixed))):
        assert torch.autograd.gradcheck(operator, arguments)
        assert torch.autograd.gradgradcheck(operator, arguments, fast_mode=True)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own doing
def test_the_operators_keep_to_torchs_rules_for_operators() -> None:
    kernel, mixed, padded = triple(2)
    for operator, arguments in ((mix, (kernel, padded)), (match, (mixed, padded)), (spread, (kernel, mixed))):
        torch.library.opcheck(operator, arguments)


def test_each_of_the_49_taps_gets_the_gradient_that_finite_differences_find() -> None:
    kernel, mixed, padded = triple(2)
    (gradient,) = torch.autograd.grad((mix(kernel, padded) * mixed).sum(), kernel)
    step = 1e-6
    for tap in range(TAPS):
        moved = torch.zeros_like(kernel)
        moved[..., tap] = step
        with torch.no_grad():
            difference = (mix(kernel + moved, padded) - mix(kernel - moved, padded)) / (2 * step)
        assert torch.allclose(gradient[..., tap].sum(), (difference * mixed).sum(), atol=1e-7)
        assert gradient[..., tap].abs().min() > 0


def test_the_last_bias_of_a_stage_moves_every_tap_as_finite_differences_say() -> None:
    stack, source, guidance, weight = small_stack((3, 4))
    bias = stack.stage(0).fixup_proj[3].bias
    assert isinstance(bias, Tensor)
    (gradient,) = torch.autograd.grad((stack(source, guidance) * weight).sum(), bias)
    step = 1e-5
    for tap in range(TAPS):
        sums = []
        for sign in (1, -1):
            with torch.no_grad():
                bias[tap] += sign * step
                sums.append((stack(source, guidance) * weight).sum())
                bias[tap] -= sign * step
        assert torch.allclose(gradient[tap], (sums[0] - sums[1]) / (2 * step), atol=1e-8, rtol=1e-6)
    assert gradient.abs().min() > 0


@pytest.mark.parametrize(("size", "target"), [((1, 2), None), ((2, 2), (3, 4))])
@pytest.mark.parametrize("renormalise", [False, True])
def test_gradcheck_passes_for_features_guidance_and_every_parameter(
    size: tuple[int, int], target: tuple[int, int] | None, renormalise: bool
) -> None:
    stack, source, guidance, _ = small_stack(size, renormalise=renormalise)
    names, values = zip(*stack.named_parameters(), strict=True)

    def run(source: Tensor, guidance: Tensor, *parameters: Tensor) -> Tensor:
        arguments = (source, guidance) if target is None else (source, guidance, target)
        return torch.func.functional_call(stack, dict(zip(names, parameters, strict=True)), arguments)

    assert torch.autograd.gradcheck(
        run, (source.requires_grad_(), guidance.requires_grad_(), *values), fast_mode=True, atol=1e-6
    )


def test_every_parameter_gets_a_gradient_in_training() -> None:
    stack, source, guidance, weight = small_stack((3, 4))
    stack.train()
    torch.manual_seed(1)
    (stack(source, guidance) * weight).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in stack.parameters())


def test_one_image_for_many_maps_gets_the_sum_of_their_gradients() -> None:
    stack, _, guidance, _ = small_stack((2, 3))
    maps = torch.randn(3, 2, 2, 3, dtype=torch.float64)
    guidance.requires_grad_()
    (together,) = torch.autograd.grad(stack(maps, guidance).square().sum(), guidance)
    single = [torch.autograd.grad(stack(one[None], guidance).square().sum(), guidance)[0] for one in maps]
    assert torch.allclose(together, sum(single, torch.zeros_like(guidance)), atol=1e-12)


def test_the_backward_pass_keeps_no_tensor_above_twice_the_output() -> None:
    torch.manual_seed(0)
    stack = JBUStack(64, 1)
    source, guidance = torch.randn(1, 64, 8, 8, requires_grad=True), torch.randn(1, 3, 16, 16)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = stack(source, guidance)
    assert max(kept) <= 2 * output.numel()


def small_stack(size: tuple[int, int], *, renormalise: bool = True) -> tuple[JBUStack, Tensor, Tensor, Tensor]:
    """A one-stage stack of two channels in double without dropout, features, guidance and weights for its output."""
    torch.manual_seed(size[0] + 10 * size[1])
    stack = JBUStack(2, 1, renormalise=renormalise).double().eval()
    source = torch.randn(1, 2, *size, dtype=torch.float64)
    guidance = torch.randn(1, 3, 2 * size[0], 2 * size[1], dtype=torch.float64)
    return stack, source, guidance, torch.randn(1, 2, 2 * size[0], 2 * size[1], dtype=torch.float64)
