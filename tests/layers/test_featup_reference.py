"""The fast form and the paper's form of the joint bilateral upsampler give the same numbers."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segmed.layers import JBUStack
from segmed.layers.featup import fast, windows
from segmed.layers.featup.checks import plan_sizes
from segmed.layers.featup.fast import doubling_windows
from segmed.layers.featup.jbu import FIXUP_SHARE, SIDE, neighbourhoods, reflect_pad

SIZES = [(1, 1), (1, 2), (2, 1), (3, 2), (4, 4), (5, 13)]


def drawn(
    size: tuple[int, int], channels: int, *, stages: int = 2, dtype: torch.dtype = torch.float64, batch: int = 1
) -> tuple[JBUStack, Tensor, Tensor]:
    """A stack with kernels far from uniform, features, and guidance a little larger than the result."""
    torch.manual_seed(size[0] * 100 + size[1] * 10 + channels)
    stack = JBUStack(channels, stages, renormalise=False).to(dtype).eval()
    with torch.no_grad():
        for index in range(stages):
            stack.stage(index).range_temp.fill_(2.0)
            stack.stage(index).sigma_spatial.fill_(0.6)
            for parameter in stack.stage(index).fixup_proj.parameters():
                parameter.mul_(3)
    source = torch.randn(batch, channels, *size, dtype=dtype)
    guidance = torch.randn(batch, 3, size[0] * 2**stages + 3, size[1] * 2**stages + 1, dtype=dtype)
    return stack, source, guidance


def upsample_as_written(
    stack: JBUStack, source: Tensor, guidance: Tensor, size: tuple[int, int] | None = None
) -> Tensor:
    """`JBUStack.forward` as the paper has it: stage by stage, every neighbourhood in memory, the projection last."""
    for index, reached in enumerate(plan_sizes((source.shape[2], source.shape[3]), size, stack.stages)):
        pooled = F.adaptive_avg_pool2d(guidance, reached)
        source = stack.stage(index)(source, pooled, renormalise=stack.renormalise)
    return source + FIXUP_SHARE * stack.fixup_proj(source)


def furthest(result: Tensor, expected: Tensor) -> float:
    """The largest difference, in units of the largest expected value."""
    assert result.shape == expected.shape
    return float((result.double() - expected.double()).detach().abs().max() / expected.detach().abs().max())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_fast_form_equals_the_papers_in_double_precision(size: tuple[int, int], channels: int) -> None:
    stack, source, guidance = drawn(size, channels)
    with torch.no_grad():
        assert furthest(stack(source, guidance), upsample_as_written(stack, source, guidance)) <= 1e-12


@pytest.mark.parametrize(("size", "channels"), [((3, 2), 32), ((5, 13), 3), ((2, 3), 256)])
def test_the_fast_form_equals_the_papers_in_single_precision(size: tuple[int, int], channels: int) -> None:
    stack, source, guidance = drawn(size, channels)
    with torch.no_grad():
        expected = upsample_as_written(stack, source, guidance)
        assert furthest(stack.float()(source.float(), guidance.float()), expected) <= 2e-5


@pytest.mark.parametrize("size", [(33, 21), (64, 17)])
def test_the_fast_form_equals_the_papers_on_larger_maps(size: tuple[int, int]) -> None:
    stack, source, guidance = drawn(size, 3, stages=1)
    with torch.no_grad():
        assert furthest(stack(source, guidance), upsample_as_written(stack, source, guidance)) <= 1e-12


def test_features_of_256_channels_agree_too() -> None:
    stack, source, guidance = drawn((3, 5), 256, stages=1)
    with torch.no_grad():
        assert furthest(stack(source, guidance), upsample_as_written(stack, source, guidance)) <= 1e-12


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 13)])
def test_features_in_bfloat16_come_out_near_the_exact_ones(size: tuple[int, int]) -> None:
    stack, source, guidance = drawn(size, 3, stages=4 if size == (1, 1) else 2)
    with torch.no_grad():
        expected = upsample_as_written(stack, source, guidance)
        result = stack.float()(source.bfloat16(), guidance.float())
    assert result.dtype == torch.bfloat16
    assert furthest(result, expected) <= 2e-2


def test_a_whole_stack_in_bfloat16_comes_out_near_the_exact_one() -> None:
    stack, source, guidance = drawn((3, 2), 3)
    with torch.no_grad():
        expected = upsample_as_written(stack, source, guidance)
        assert furthest(stack.bfloat16()(source.bfloat16(), guidance.bfloat16()), expected) <= 2e-2


@pytest.mark.parametrize("target", [(3, 5), (5, 5), (6, 10), (7, 13), (12, 19), (12, 20)])
def test_the_forms_agree_at_any_target_size(target: tuple[int, int]) -> None:
    stack, source, guidance = drawn((3, 5), 2)
    with torch.no_grad():
        result = stack(source, guidance, target)
        assert result.shape[-2:] == target
        assert furthest(result, upsample_as_written(stack, source, guidance, target)) <= 1e-12


@pytest.mark.parametrize("renormalise", [False, True])
def test_the_forms_agree_in_training_as_they_drop_the_same_channels(renormalise: bool) -> None:
    stack, source, guidance = drawn((3, 4), 16, batch=2)
    stack.renormalise = renormalise
    stack.train()
    with torch.no_grad():
        torch.manual_seed(3)
        result = stack(source, guidance)
        torch.manual_seed(3)
        expected = upsample_as_written(stack, source, guidance)
        torch.manual_seed(4)
        assert furthest(stack(source, guidance), expected) > 1e-3
    assert furthest(result, expected) <= 1e-12


@torch.no_grad()
def test_a_stage_computes_what_featups_code_says_with_torchs_own_padding_and_unfolding() -> None:
    stack, source, guidance = drawn((3, 5), 2, stages=1)
    stage, guidance = stack.stage(0), guidance[:, :, :6, :10]
    key = stage.range_proj(guidance)
    windows = F.unfold(F.pad(key, (3, 3, 3, 3), mode="reflect"), 7).view(1, 32, 49, 6, 10)
    range_kernel = torch.softmax(math.exp(2.0) * torch.einsum("bcohw,bchw->bohw", windows, key), 1)
    spatial = [math.exp(-(u * u + v * v) / (9 * 2 * 0.6**2)) for u in range(-3, 4) for v in range(-3, 4)]
    kernel = range_kernel * torch.tensor(spatial, dtype=torch.float64).view(1, 49, 1, 1)
    kernel = kernel / kernel.sum(1, keepdim=True)
    kernel = kernel + 0.1 * stage.fixup_proj(torch.cat([kernel, guidance], 1))
    upsampled = F.pad(F.interpolate(source, (6, 10), mode="bicubic"), (3, 3, 3, 3), mode="reflect")
    expected = torch.einsum("bcohw,bohw->bchw", F.unfold(upsampled, 7).view(1, 2, 49, 6, 10), kernel)
    assert furthest(stage(source, guidance), expected) <= 1e-12


@pytest.mark.parametrize("chunk", [1, 2000, 2**30])
def test_the_size_of_the_chunks_changes_nothing(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stack, source, guidance = drawn((5, 7), 3, batch=2)
    source.requires_grad_()
    expected = upsample_as_written(stack, source, guidance)
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), source)
    monkeypatch.setattr(windows, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(fast, "CHUNK_PIXELS", chunk // 40)
    result = stack(source, guidance)
    (gradient,) = torch.autograd.grad(result.square().sum(), source)
    assert furthest(result, expected) <= 1e-12
    assert furthest(gradient, expected_gradient) <= 1e-12


@pytest.mark.parametrize("size", [(4, 5), (9, 4)])
def test_reflection_is_torchs_where_torch_has_one(size: tuple[int, int]) -> None:
    image = torch.randn(1, 2, *size)
    assert torch.equal(reflect_pad(image, rows=2, columns=3), F.pad(image, (3, 3, 3, 3), mode="reflect"))


def test_reflection_goes_to_and_fro_between_near_borders() -> None:
    image = torch.tensor([[[[0.0, 1.0, 2.0]]]])
    padded = reflect_pad(image, rows=2, columns=3)
    assert padded[0, 0, 0].tolist() == [1, 2, 1, 0, 1, 2, 1, 0, 1]
    assert torch.equal(padded, padded[:, :, :1].expand_as(padded))


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_the_doubling_windows_hold_all_that_bicubic_and_reflection_read(length: int) -> None:
    values = torch.randn(length, dtype=torch.float64)
    upsampled = F.interpolate(values.view(1, 1, length, 1), (2 * length, 1), mode="bicubic", align_corners=False)
    neighbours = neighbourhoods(upsampled)[0, 0, :, :, 0].view(SIDE, SIDE, -1)[:, 0].T  # 2l 7
    windows = F.pad(values, (3, 3)).unfold(0, SIDE, 1).repeat_interleave(2, 0)  # 2l 7
    weights = doubling_windows(length, values)
    assert torch.allclose(torch.einsum("ypr,yr->yp", weights, windows), neighbours, atol=1e-14)
