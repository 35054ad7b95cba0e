"""Losses take logits; known answers pin them, and the reproduced paper's mistake."""

import pytest
import torch

from segmed.core.errors import ConfigError
from segmed.losses import LOSSES, LossConfig, build_loss
from segmed.losses.overlap import dice_loss, tversky_loss

RIGHT = sorted(set(LOSSES) - {"double-sigmoid"})
LGG_FOREGROUND = 0.0103
"""Share of tumour among all pixels of the LGG data set."""


def lgg_like_mask() -> torch.Tensor:
    mask = torch.zeros(16, 1, 100, 100)
    mask.view(-1)[: round(LGG_FOREGROUND * mask.numel())] = 1
    return mask


def confident(mask: torch.Tensor) -> torch.Tensor:
    return (mask * 2 - 1) * 40


@pytest.mark.parametrize("name", RIGHT)
def test_a_perfect_prediction_has_a_loss_near_0(name: str) -> None:
    mask = lgg_like_mask()
    assert build_loss(LossConfig(name=name))(confident(mask), mask).item() < 1e-3


def test_the_seed_mistake_gives_a_perfect_prediction_its_1_66() -> None:
    mask = lgg_like_mask()
    loss = build_loss(LossConfig(name="double-sigmoid"))(confident(mask), mask).item()
    assert loss == pytest.approx(1.6606, abs=1.5e-3)


def test_the_seed_mistake_leaves_13_thousandths_between_perfect_and_empty() -> None:
    mask, loss = lgg_like_mask(), build_loss(LossConfig(name="double-sigmoid"))
    empty = loss(torch.full_like(mask, -40), mask).item()
    assert empty == pytest.approx(1.6734, abs=1.5e-3)
    assert empty - loss(confident(mask), mask).item() == pytest.approx(0.013, abs=2e-3)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("shape", [(2, 1, 7, 5), (1, 3, 4, 9)])
def test_every_loss_is_a_finite_scalar_with_a_finite_gradient(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    logits = (torch.randn(shape) * 50).requires_grad_()
    loss = build_loss(LossConfig(name=name))(logits, (torch.rand(shape) > 0.5).float())
    loss.backward()
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", RIGHT)
def test_false_alarms_on_a_batch_without_tumour_cost_something(name: str) -> None:
    empty, loss = torch.zeros(2, 1, 8, 8), build_loss(LossConfig(name=name))
    assert loss(torch.full_like(empty, 5.0), empty) > loss(torch.full_like(empty, -40.0), empty) + 0.1


def test_dice_of_half_a_hit_is_known_by_hand() -> None:
    target = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    logits = torch.tensor([[[[40.0, -40.0, -40.0, -40.0]]]])
    assert dice_loss(logits, target, smooth=0.0).item() == pytest.approx(1 - 2 / 3)


def test_tversky_with_equal_costs_is_dice() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 2, 6, 5), (torch.rand(2, 2, 6, 5) > 0.5).float()
    tversky = tversky_loss(logits, target, alpha=0.5, beta=0.5, smooth=0.0)
    assert torch.allclose(tversky, dice_loss(logits, target, smooth=0.0))


def test_tversky_costs_a_miss_more_than_a_false_alarm_by_default() -> None:
    loss = build_loss(LossConfig(name="tversky"))
    target = torch.zeros(1, 1, 1, 40)
    target[..., :20] = 1
    miss, alarm = confident(target.clone()), confident(target.clone())
    miss[..., :5] = -40
    alarm[..., -5:] = 40
    assert loss(miss, target) > loss(alarm, target)


def test_the_focal_loss_of_one_pixel_is_the_published_formula() -> None:
    logits, target = torch.tensor([[[[1.0]]]]), torch.tensor([[[[1.0]]]])
    p = torch.sigmoid(torch.tensor(1.0))
    expected = -0.25 * (1 - p) ** 2 * p.log()
    assert torch.allclose(build_loss(LossConfig(name="focal"))(logits, target), expected)


def test_each_masks_own_overlap_counts_a_small_object_as_much_as_a_large_one() -> None:
    target = torch.zeros(2, 1, 20, 20)
    target[0, 0, :18], target[1, 0, :1, :2] = 1, 1
    logits = confident(target)
    logits[1] = -40  # the small object is missed
    assert dice_loss(logits, target).item() < 0.01
    assert dice_loss(logits, target, overlap="each").item() == pytest.approx((0 + (1 - 1 / 3)) / 2, abs=1e-4)
    config = LossConfig(name="focal-dice", overlap="each", focal_weight=0)
    assert build_loss(config)(logits, target).item() == pytest.approx(1 / 3, abs=1e-4)


def test_sams_own_loss_is_focal_20_to_dice_1() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(3, 1, 9, 7), (torch.rand(3, 1, 9, 7) > 0.6).float()
    config = LossConfig(name="focal-dice", overlap="each")
    parts = [build_loss(LossConfig(name="focal"))(logits, target), dice_loss(logits, target, overlap="each")]
    assert build_loss(config)(logits, target).item() == pytest.approx(20 * parts[0].item() + parts[1].item(), rel=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_logits_of_half_precision_have_the_loss_of_the_same_numbers_in_float32(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits, mask = (torch.randn(2, 1, 301, 256) * 3).to(dtype), (torch.rand(2, 1, 301, 256) > 0.3).float()
    loss = build_loss(LossConfig(name=name))
    assert loss(logits, mask.to(dtype)).item() == pytest.approx(loss(logits.float(), mask).item(), abs=1e-6)


def test_overlap_losses_alone_cast_too() -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(1, 1, 400, 401).half(), (torch.rand(1, 1, 400, 401) > 0.5).float()
    assert dice_loss(logits, mask).item() == pytest.approx(dice_loss(logits.float(), mask).item(), abs=1e-6)
    half = tversky_loss(logits, mask, alpha=0.3, beta=0.7).item()
    assert half == pytest.approx(tversky_loss(logits.float(), mask, alpha=0.3, beta=0.7).item(), abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_the_focal_loss_has_a_finite_slope_at_pixels_that_are_surely_right(gamma: float) -> None:
    logits = torch.tensor([20.0, -20.0, 1.0, -1.0]).view(1, 1, 2, 2).requires_grad_()
    target = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(1, 1, 2, 2)
    build_loss(LossConfig(name="focal", focal_gamma=gamma))(logits, target).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("gamma", [0.01, 0.5, 0.99])
def test_a_focal_gamma_whose_slope_is_infinite_there_is_refused(gamma: float) -> None:
    with pytest.raises(ConfigError, match="focal_gamma is 0 or at least 1"):
        LossConfig(name="focal", focal_gamma=gamma)
