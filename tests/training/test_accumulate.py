"""Accumulated gradients are the mean over the batches that a step really has, also in an epoch's shorter last group."""

from pathlib import Path

import pytest
import torch
from runs import tiny_recipe, toy_and_split

from segmed.training import Hardware, train
from segmed.training.module import accumulation_warning, group_size
from segmed.training.recipe import OptimConfig

STILL = ("epochs=1", "optim.gradient_clip=0", "ema_decay=0", "augment=none", "precision=32")
"""With weights that do not move, gradients of several trainings can be compared."""


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A function that gives the gradients of each optimiser step of one epoch."""
    seen: list[torch.Tensor] = []

    def step(self: torch.optim.AdamW, closure) -> None:
        with torch.enable_grad():
            closure()
        parameters = [each for group in self.param_groups for each in group["params"] if each.grad is not None]
        seen.append(torch.cat([each.grad.flatten().double() for each in parameters]))

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    data, split = toy_and_split(tmp_path / "data")

    def of(accumulate: int, batches: int) -> list[torch.Tensor]:
        seen.clear()
        settings = (f"optim.accumulate={accumulate}", f"sampling.steps_per_epoch={batches}")
        recipe = tiny_recipe(*STILL, *settings)
        train(recipe, data=data, split=split, out=tmp_path / f"{accumulate}", hardware=Hardware(accelerator="cpu"))
        return list(seen)

    return of


@pytest.mark.parametrize("accumulate", [2, 8])
def test_each_step_has_the_mean_gradient_of_its_batches(gradients, accumulate: int) -> None:
    single, grouped = gradients(1, 3), gradients(accumulate, 3)
    groups = [single[first : first + accumulate] for first in range(0, 3, accumulate)]
    assert len(grouped) == len(groups)
    for found, batches in zip(grouped, groups, strict=True):
        torch.testing.assert_close(found, torch.stack(batches).mean(0), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("accumulate", "sizes"), [(1, [1] * 7), (3, [3] * 6 + [1]), (7, [7] * 7), (9, [7] * 7)])
def test_the_last_group_of_an_epoch_has_what_is_left(accumulate: int, sizes: list[int]) -> None:
    assert [group_size(batch, 7, accumulate) for batch in range(7)] == sizes


def test_more_accumulation_than_an_epoch_has_batches_is_said() -> None:
    assert accumulation_warning(OptimConfig(accumulate=3), 3) is None
    assert "each optimiser step has 3" in str(accumulation_warning(OptimConfig(accumulate=4), 3))
