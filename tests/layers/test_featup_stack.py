"""What the joint bilateral upsampler promises its users, apart from equal forms and right gradients."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segmed.core.errors import ConfigError, ModelError
from segmed.layers import JBUStack
from segmed.layers.featup.jbu import SIDE, TAPS


def stack_of(channels: int = 2, stages: int = 2, *, renormalise: bool = True) -> JBUStack:
    """A stack in double, without dropout."""
    torch.manual_seed(channels + 10 * stages)
    return JBUStack(channels, stages, renormalise=renormalise).double().eval()


def features(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@torch.no_grad()
def test_four_stages_raise_a_map_sixteen_times() -> None:
    assert stack_of(3, 4)(features(1, 3, 1, 2), features(1, 3, 20, 30)).shape == (1, 3, 16, 32)


def test_the_number_of_parameters_is_featups() -> None:
    counts = {stages: sum(p.numel() for p in JBUStack(256, stages).parameters()) for stages in (2, 3, 4)}
    assert counts == {2: 78_258, 3: 84_491, 4: 90_724}


@torch.no_grad()
@pytest.mark.parametrize("target", [None, (5, 9)])
def test_constants_stay_constant_when_renormalised(target: tuple[int, int] | None) -> None:
    stack = stack_of()
    nn.init.zeros_(stack.fixup_proj[1].weight)
    nn.init.zeros_(stack.fixup_proj[1].bias)
    constant = torch.tensor([2.0, -3.0], dtype=torch.float64).view(1, 2, 1, 1)
    upsampled = stack(constant.expand(1, 2, 3, 4), features(1, 3, 12, 16), target)
    assert torch.allclose(upsampled, constant.expand_as(upsampled), atol=1e-12)


@torch.no_grad()
def test_constants_drift_without_renormalising_as_in_the_reference() -> None:
    stack, ones = stack_of(renormalise=False), torch.ones(1, 2, 3, 4, dtype=torch.float64)
    nn.init.zeros_(stack.fixup_proj[1].weight)
    nn.init.zeros_(stack.fixup_proj[1].bias)
    assert (stack(ones, features(1, 3, 12, 16)) - 1).abs().mean() > 1e-2


@torch.no_grad()
def test_projection_commutes_with_upsampling() -> None:
    stack, source, guidance = stack_of(), features(1, 2, 3, 4), features(1, 3, 12, 16)
    projection = features(2, 2, 1, 1)
    nn.init.zeros_(stack.fixup_proj[1].weight)
    nn.init.zeros_(stack.fixup_proj[1].bias)
    before = stack(F.conv2d(source, projection), guidance)
    assert torch.allclose(before, F.conv2d(stack(source, guidance), projection), atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("axis", [2, 3])
def test_flipping_image_features_and_taps_flips_the_result(axis: int) -> None:
    stack, source, guidance = stack_of(renormalise=False), features(1, 2, 3, 5), features(1, 3, 13, 21)
    expected = stack(source, guidance).flip(axis)
    for index in range(2):  # the fix-up has weights for each tap by name, so these must flip too
        first, _, _, last = stack.stage(index).fixup_proj
        taps = torch.arange(TAPS).view(SIDE, SIDE).flip(axis - 2).flatten()
        first.weight[:, :TAPS] = first.weight[:, taps]
        last.weight.copy_(last.weight[taps])
        last.bias.copy_(last.bias[taps])
    assert torch.allclose(stack(source.flip(axis), guidance.flip(axis)), expected, atol=1e-12)


@torch.no_grad()
def test_a_batch_gives_what_its_images_give_alone() -> None:
    stack, source, guidance = stack_of(), features(3, 2, 2, 3), features(3, 3, 9, 13)
    alone = torch.cat([stack(source[i : i + 1], guidance[i : i + 1]) for i in range(3)])
    assert torch.allclose(stack(source, guidance), alone, atol=1e-13)


@torch.no_grad()
def test_kernels_made_once_serve_any_number_of_maps() -> None:
    stack, guidance = stack_of(), features(1, 3, 9, 13)
    kernels = stack.kernels(guidance, (2, 3))
    assert kernels.size == (8, 12)
    for source in (features(1, 2, 2, 3), features(4, 2, 2, 3)):
        assert torch.equal(stack.upsample(source, kernels), stack(source, guidance))


@torch.no_grad()
def test_kernels_kept_in_bfloat16_are_half_as_large_and_nearly_as_good() -> None:
    stack, guidance, source = stack_of().float(), torch.randn(1, 3, 8, 12), torch.randn(1, 2, 2, 3)
    kernels = stack.kernels(guidance, (2, 3))
    halved = kernels.to(torch.bfloat16)
    assert halved.stages[0].element_size() * 2 == kernels.stages[0].element_size()
    upsampled = stack.upsample(source, halved)
    assert upsampled.dtype == torch.float32
    assert torch.allclose(upsampled, stack(source, guidance), atol=2e-2)


def test_detached_kernels_pass_no_gradient_to_the_guidance() -> None:
    stack, guidance = stack_of(), features(1, 3, 8, 12).requires_grad_()
    kernels = stack.kernels(guidance, (2, 3))
    assert kernels.stages[0].requires_grad
    assert not kernels.detach().stages[0].requires_grad


@torch.no_grad()
def test_a_target_of_the_features_own_size_only_projects() -> None:
    stack, source = stack_of(), features(1, 2, 3, 5)
    assert torch.allclose(stack(source, features(1, 3, 8, 8), (3, 5)), source + 0.1 * stack.fixup_proj(source))


@torch.no_grad()
def test_guidance_between_the_features_and_the_results_size_is_enough() -> None:
    assert stack_of()(features(1, 2, 3, 4), features(1, 3, 3, 4)).shape == (1, 2, 12, 16)


def test_autocast_takes_features_in_bfloat16_and_kernels_in_float32() -> None:
    stack = stack_of().float()
    source, guidance = torch.randn(1, 2, 2, 3, requires_grad=True), torch.randn(1, 3, 8, 12, requires_grad=True)
    exact = stack(source, guidance)
    with torch.autocast("cpu", torch.bfloat16):
        kernels = stack.kernels(guidance, (2, 3))
        upsampled = stack(source, guidance)
    assert {stage.dtype for stage in kernels.stages} == {torch.float32}
    assert torch.equal(kernels.stages[1], stack.kernels(guidance, (2, 3)).stages[1])
    assert upsampled.dtype == torch.bfloat16
    assert (upsampled - exact).abs().max() <= 2e-2 * exact.abs().max()
    upsampled.float().square().sum().backward()
    assert source.grad is not None
    assert guidance.grad is not None
    assert guidance.grad.abs().sum() > 0


def test_the_modules_of_a_stack_can_still_be_visited() -> None:
    seen: list[str] = []
    stack_of().apply(lambda module: seen.append(type(module).__name__))
    assert seen.count("JBUStage") == 2


@pytest.mark.parametrize(
    ("source", "guidance", "target", "message"),
    [
        ((1, 2, 4, 4), (1, 3, 3, 9), None, "guidance of 3x9 pixels is smaller than the features' 4x4"),
        ((1, 2, 4, 4), (1, 1, 16, 16), None, "repeat a grey image three times"),
        ((2, 2, 4, 4), (3, 3, 16, 16), None, "a batch of 2 and guidance one of 3"),
        ((1, 5, 4, 4), (1, 3, 16, 16), None, r"5 channels and the stack was built for 2; build JBUStack\(5\)"),
        ((1, 2, 0, 4), (1, 3, 16, 16), None, "hold nothing"),
        ((1, 2, 4, 4), (1, 3, 16, 16), (3, 8), "3x8 pixels is less than the features' 4x4"),
        ((1, 2, 4, 4), (1, 3, 16, 16), (17, 8), "at most 4 times that, not to 17x8"),
    ],
)
def test_input_that_does_not_fit_is_named(
    source: tuple[int, ...], guidance: tuple[int, ...], target: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        stack_of()(features(*source), features(*guidance), target)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    stack, source, guidance = stack_of(), features(1, 2, 2, 2), features(1, 3, 17, 9)
    broken = source.clone()
    broken[0, 1, 1, 0] = bad
    with pytest.raises(ModelError, match="features hold nan or infinite values"):
        stack(broken, guidance)
    broken = guidance.clone()
    broken[0, 2, 16, 3] = bad
    with pytest.raises(ModelError, match="guidance hold nan or infinite values"):
        stack(source, broken)


def test_kernels_of_another_size_are_refused() -> None:
    stack = stack_of()
    kernels = stack.kernels(features(1, 3, 16, 16), (4, 4))
    with pytest.raises(ModelError, match="4x5 pixels cannot use kernels made for 4x4"):
        stack.upsample(features(1, 2, 4, 5), kernels)


def test_a_stack_of_no_stages_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be at least 1"):
        JBUStack(8, 0)
