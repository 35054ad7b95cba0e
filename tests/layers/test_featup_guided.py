"""FeatUp's upsampler and its controls behind one interface: same shapes, same number of parameters, one guidance."""

import pytest
import torch
from torch import nn

from segmed.core.errors import ModelError
from segmed.layers.featup import KINDS, Guidance, GuidedKind, GuidedUpsampler, build_upsample
from segmed.layers.featup.guided import BilinearUpsample


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_a_stage_of_each_kind_has_featups_6233_parameters() -> None:
    assert {kind: parameters(build_upsample(kind)) for kind in KINDS} == dict.fromkeys(KINDS, 6233)


def test_stacks_of_all_kinds_have_the_same_number_of_parameters() -> None:
    assert len({parameters(GuidedUpsampler(kind, 5, 2)) for kind in KINDS}) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [None, (9, 13)])
def test_every_kind_raises_to_any_size_and_reuses_what_it_took_from_the_image(
    kind: GuidedKind, size: tuple[int, int] | None
) -> None:
    torch.manual_seed(0)
    upsampler = GuidedUpsampler(kind, 4, 2).eval()
    source, image = torch.randn(2, 4, 3, 5), torch.randn(2, 3, 21, 34)
    kernels = upsampler.kernels(image, (3, 5), size)
    upsampled = upsampler.upsample(source, kernels)
    assert upsampled.shape == (2, 4, *(size or (12, 20)))
    assert torch.equal(upsampler(source, image, size), upsampled)
    alone = upsampler.upsample(source[:1], upsampler.kernels(image[:1], (3, 5), size))
    assert torch.allclose(alone, upsampled[:1], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_only_constant_guidance_is_blind_to_the_image(kind: GuidedKind) -> None:
    torch.manual_seed(0)
    upsampler = GuidedUpsampler(kind, 2, 1).eval()
    for parameter in upsampler.parameters():
        nn.init.normal_(parameter, std=0.3)
    source = torch.randn(1, 2, 4, 4)
    first, second = (upsampler(source, torch.randn(1, 3, 8, 8)) for _ in range(2))
    assert torch.equal(first, second) == (kind == "jbu-constant")


def test_the_bilinear_control_starts_as_bilinear_upsampling() -> None:
    control = build_upsample("bilinear-control")
    source = torch.randn(1, 2, 3, 4)
    upsampled = control(source, control.kernel(torch.randn(1, 3, 6, 8), (3, 4), (6, 8)), (6, 8))
    assert torch.equal(upsampled, nn.functional.interpolate(source, (6, 8), mode="bilinear", align_corners=False))


@pytest.mark.parametrize(("channels", "added"), [(1, 0), (3, 0), (2, 9), (9, 30)])
def test_guidance_is_three_channels_of_any_number(channels: int, added: int) -> None:
    guidance = Guidance(channels)
    assert guidance(torch.randn(2, channels, 5, 4)).shape == (2, 3, 5, 4)
    assert parameters(guidance) == added


def test_a_filter_in_front_of_the_guidance_changes_what_the_kernels_see() -> None:
    torch.manual_seed(0)
    upsampler = GuidedUpsampler("jbu", 2, 1).eval()
    source, image = torch.randn(1, 2, 4, 4), torch.randn(1, 3, 8, 8)
    before = upsampler(source, image)
    upsampler.guidance = nn.Sequential(nn.AvgPool2d(3, 1, 1), upsampler.guidance)  # type: ignore[assignment]
    assert not torch.allclose(upsampler(source, image), before)


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_are_not_finite_are_refused(kind: GuidedKind) -> None:
    upsampler = GuidedUpsampler(kind, 2, 1)
    source, image = torch.randn(1, 2, 4, 4), torch.randn(1, 3, 8, 8)
    with pytest.raises(ModelError, match="features hold nan or infinite values"):
        upsampler(source / 0, image)
    if kind != "jbu-constant":
        with pytest.raises(ModelError, match="guidance hold nan or infinite values"):
            upsampler(source, image / 0)


def test_guidance_smaller_than_the_features_is_refused() -> None:
    with pytest.raises(ModelError, match="guidance of 3x8 pixels is smaller than the features' 4x4"):
        GuidedUpsampler("bilinear-control", 2, 1)(torch.randn(1, 2, 4, 4), torch.randn(1, 3, 3, 8))


def test_gains_of_the_control_are_computed_in_float32_under_autocast_as_jbus_kernels_are() -> None:
    torch.manual_seed(0)
    control, guidance = BilinearUpsample(), torch.randn(1, 3, 16, 16)
    torch.nn.init.normal_(control.gain[-1].weight, std=1e-3)
    exact = control.kernel(guidance, (4, 4), (8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        found = control.kernel(guidance, (4, 4), (8, 8))
        raised = control(torch.randn(1, 5, 4, 4), found, (8, 8))
    assert found.dtype == torch.float32
    assert raised.dtype == torch.bfloat16
    assert torch.equal(found, exact)
    assert len(exact.unique()) > 1  # so near to 1 that bf16 would round them to it


def test_guidance_mixed_from_other_numbers_of_channels_is_float32_under_autocast() -> None:
    torch.manual_seed(0)
    guidance, image = Guidance(5), torch.randn(1, 5, 6, 7)
    with torch.autocast("cpu", torch.bfloat16):
        found = guidance(image)
    assert torch.equal(found, guidance(image))
