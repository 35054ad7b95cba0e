"""Refinement in a step: SAM's algorithm, with points where the mask is wrong and the previous logits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import toy_and_split

from segmed.core.errors import ConfigError
from segmed.data.decoded import DecodedDataset
from segmed.layers.embedding import Embedding
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.promptable import Decoded
from segmed.models.sam.network import PromptableSam
from segmed.prompts.value import Prompts
from segmed.training.build import prepare
from segmed.training.prompted import correction_points
from segmed.training.prompting import PromptingConfig, correcting
from segmed.training.recipe import recipe_from_mapping

TINY = (
    "model.name=sam-tiny", "model.encoder=test_efficientnet", "model.encoder_weights=none",
    "model.sam={size: 64, trains: decoder}", "preprocess.size=[64, 64]", "sampling.batch_size=2",
    "prompting.refinements=3", "prompting.corrections=2", "prompting.mix={gt: 1}", "prompting.decoys=0",
)  # fmt: skip


def test_sams_own_eleven_decodings_have_eight_points_and_never_one_in_the_last() -> None:
    config = PromptingConfig(refinements=10, corrections=8)
    drawn = [correcting(config, np.random.default_rng(seed)) for seed in range(30)]
    assert all(len(places) == 10 and sum(places) == 8 and not places[-1] for places in drawn)
    assert len({tuple(places) for places in drawn}) > 3


def test_every_refinement_can_have_a_point_or_none() -> None:
    rng = np.random.default_rng(0)
    assert correcting(PromptingConfig(refinements=2, corrections=2), rng) == [True, True]
    assert correcting(PromptingConfig(refinements=2), rng) == [False, False]
    with pytest.raises(ConfigError, match=r"corrections is 3, but there are 2 refinements"):
        PromptingConfig(refinements=2, corrections=3)


def test_a_point_lies_where_the_mask_is_wrong_and_says_how() -> None:
    target, missed, invented = (torch.zeros(1, 8, 6, dtype=torch.bool) for _ in range(3))
    target[0, 2:5, 1:4] = True
    missed[0, 2:5, 1:3] = True  # column 3 is missing
    invented[0, 2:5, 1:5] = True  # column 4 is too much
    points, labels = correction_points(
        torch.cat([missed, invented, target]), target.expand(3, -1, -1), np.random.default_rng(0)
    )
    assert labels.tolist() == [1, 0, -1]
    assert points[0, 0] == 3.5
    assert points[1, 0] == 4.5
    assert all(2 < y < 5 for y in points[:2, 1].tolist())


def test_a_further_point_follows_an_objects_own_and_padding_stays_padding() -> None:
    several = [Prompts(boxes=[(1, 1, 5, 5)]), Prompts(points=[(1, 1), (2, 2)], point_labels=[1, 0])]
    prompts = ObjectPrompts.of(several).with_points(torch.tensor([[7.0, 8.0], [0.0, 0.0]]), torch.tensor([0, -1]))
    assert prompts.point_labels.tolist() == [[0, -1, -1], [1, 0, -1]]
    assert prompts.points[0, 0].tolist() == [7, 8]
    assert prompts.points[1, :2].tolist() == [[1, 1], [2, 2]]
    assert prompts.has_box.tolist() == [True, False]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[DecodedDataset, object]:
    return toy_and_split(tmp_path_factory.mktemp("toy"))


@pytest.mark.parametrize("grid", ["network", "mask"])
def test_a_step_decodes_again_with_logits_and_with_points_on_the_networks_grid(
    data: tuple[DecodedDataset, object], grid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_from_mapping({}, [*TINY, f"prompting.compare_at={grid}"], source="test")
    module, loaders = prepare(recipe, data=data[0], split=data[1], fold=0)  # type: ignore[arg-type]
    seen: list[ObjectPrompts] = []
    decode = PromptableSam.decode

    def watched(self: PromptableSam, embedding: Embedding, prompts: ObjectPrompts) -> Decoded:
        seen.append(prompts)
        return decode(self, embedding, prompts)

    monkeypatch.setattr(PromptableSam, "decode", watched)
    batch = next(iter(loaders[0]))
    loss = module.objective.loss(module.model, batch, seed=1)
    assert torch.isfinite(loss)
    assert len(seen) == 4
    assert [bool(prompts.has_logits.all()) for prompts in seen] == [False, True, True, True]
    points = [prompts.point_labels.shape[1] for prompts in seen]
    assert points[0] == 0
    assert points[-1] == points[-2] == 2
    placed = seen[-1].points[seen[-1].point_labels >= 0]
    cell = 1 if grid == "network" else 2
    assert torch.equal(placed % cell, torch.full_like(placed, cell / 2))
    assert placed.max() > 32
    assert loss.item() == module.objective.loss(module.model, batch, seed=1).item()


def test_a_cell_of_the_mask_grid_is_what_most_of_its_pixels_are(
    data: tuple[DecodedDataset, object], tmp_path: Path
) -> None:
    recipe = recipe_from_mapping({}, [*TINY, "prompting.compare_at=mask"], source="test")
    module, loaders = prepare(recipe, data=data[0], split=data[1], fold=0)  # type: ignore[arg-type]
    batch = next(iter(loaders[0]))
    questions = module.objective.questions(batch, np.random.default_rng(0))
    coarse = module.objective._gridded(module.model, questions)
    assert coarse.targets.shape[1:] == (32, 32)
    shares = questions.targets.unflatten(2, (32, 2)).unflatten(1, (32, 2)).mean((2, 4))
    assert torch.equal(coarse.targets, (shares >= 0.5).float())
