"""Proposals are drawn from the map that was moved with its mask, and false alarms ask for nothing."""

import dataclasses

import numpy as np
import pytest
import torch

from segmed.core.errors import ConfigError
from segmed.data.augment import build_augment
from segmed.training.prompted import _coarse
from segmed.training.prompting import PromptingConfig, TaskDrawer

SIZE = (24, 32)
IMAGE = np.random.default_rng(0).normal(size=(3, *SIZE)).astype(np.float32)


def drawer(**changes: object) -> TaskDrawer:
    settings = {"mix": {"proposals": 1.0}, "decoys": 0.0, "promptless": 0.0, "proposals": {"margin": (0, 0)}}
    return TaskDrawer(PromptingConfig(**{**settings, **changes}))  # type: ignore[arg-type]


def block(rows: slice, columns: slice, value: float = 1.0) -> np.ndarray:
    plane = np.zeros(SIZE, np.float32)
    plane[rows, columns] = value
    return plane


HERE, THERE = block(slice(4, 10), slice(6, 14), 0.9), block(slice(15, 22), slice(20, 30), 0.9)


def test_a_proposal_asks_for_the_lesion_that_it_means() -> None:
    lesion = block(slice(5, 12), slice(8, 16)) > 0
    [task] = drawer()(IMAGE, lesion, np.random.default_rng(0), HERE)
    assert task.prompts.boxes.tolist() == [[6, 4, 14, 10]]
    assert np.array_equal(task.targets[0], lesion)


def test_a_false_alarm_on_an_empty_slice_asks_for_nothing() -> None:
    [task] = drawer()(IMAGE, np.zeros(SIZE, bool), np.random.default_rng(0), THERE)
    assert task.prompts.boxes.tolist() == [[20, 15, 30, 22]]
    assert not task.targets.any()


def test_a_lesion_that_nobody_proposes_is_asked_for_as_usual() -> None:
    lesion = HERE > 0
    [task] = drawer(mix={"proposals": 1.0, "gt": 1e-9})(IMAGE, lesion, np.random.default_rng(0), np.zeros_like(HERE))
    assert task.prompts.boxes.tolist() == [[6, 4, 14, 10]]
    [task] = drawer()(IMAGE, lesion, np.random.default_rng(0), np.zeros_like(HERE))
    assert len(task.prompts) == 0  # nothing else in the mix: asked without a prompt
    assert np.array_equal(task.targets[0], lesion)


def test_at_most_so_many_proposals_are_asked_for_and_settings_vary() -> None:
    rng = np.random.default_rng(0)
    both = np.maximum(HERE, THERE)
    assert {len(drawer(objects=1)(IMAGE, HERE > 0, rng, both)[0].prompts) for _ in range(5)} == {1}
    kinds = {
        (len(task.prompts.points), task.masks is None)
        for task in (drawer()(IMAGE, HERE > 0, rng, both)[0] for _ in range(60))
    }
    assert kinds == {(0, True), (0, False), (2, True), (2, False)}


def test_mask_prompts_are_made_as_coarse_as_the_decoder_wants_them() -> None:
    [task] = drawer(proposals={"mask_share": 1.0, "margin": (0, 0)})(IMAGE, HERE > 0, np.random.default_rng(0), HERE)
    prompts = _coarse(task, (6, 8))
    assert prompts.logits is not None
    assert prompts.logits.shape == (1, 6, 8)
    assert prompts.logits[0, 1, 2] > 0 > prompts.logits[0, 4, 6]
    assert _coarse(dataclasses.replace(task, masks=None), (6, 8)) == task.prompts


@pytest.mark.parametrize("preset", ["mri", "reproduction"])
def test_a_map_moves_exactly_as_its_mask_does_and_keeps_its_values(preset: str) -> None:
    mask = torch.from_numpy((HERE > 0).astype(np.float32)).expand(8, 1, *SIZE)
    shades = torch.from_numpy(HERE * np.linspace(0.1, 1, SIZE[1], dtype=np.float32)).expand(8, 1, *SIZE)
    image = torch.from_numpy(IMAGE).expand(8, *IMAGE.shape)
    _, planes = build_augment(preset, SIZE)(image, torch.cat([mask, shades], 1), torch.Generator().manual_seed(0))
    assert not torch.equal(planes[:, :1], mask)
    assert torch.equal(planes[:, 0] > 0, planes[:, 1] > 0)
    assert set(planes[:, 1].unique().tolist()) <= set(shades.unique().tolist())


@pytest.mark.parametrize("name", ["probability", "margin"])
def test_ranges_must_rise(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must rise"):
        PromptingConfig(proposals={name: (0.5, 0.2)})  # type: ignore[arg-type]


def test_other_mixes_draw_as_before_whether_or_not_there_is_a_map() -> None:
    usual = drawer(mix={"jitter:5": 1.0, "gt": 1.0}, promptless=0.5)
    with_map, without = (
        [usual(IMAGE, HERE > 0, rng, proposal)[0].prompts for _ in range(5)]
        for rng, proposal in ((np.random.default_rng(1), THERE), (np.random.default_rng(1), None))
    )
    assert with_map == without
    assert all(len(one.boxes) for one in without)
