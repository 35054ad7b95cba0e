"""FeatUp is trained on a run's own features; runs begin from others without seeing held-out patients."""

import csv
import dataclasses
import signal
from pathlib import Path

import pytest
import torch
from runs import toy_and_split
from torch import nn

from segmed.core.errors import ConfigError, SplitError
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.data.keys import pseudonyms_of
from segmed.data.loading import Batch
from segmed.models.checkpoint import load_config, load_run
from segmed.models.sam.network import PromptableSam
from segmed.models.seen import patient_digest
from segmed.training import Recipe, module, train
from segmed.training.build import prepare
from segmed.training.callbacks import NoCallbacks
from segmed.training.featup import distil_recipe, feature_distance
from segmed.training.featup_config import FeatUpConfig
from segmed.training.multiview import AttentionDownsampler, MultiViewObjective, draw_view, seen_through
from segmed.training.parameter_groups import parameter_groups
from segmed.training.recipe import OptimConfig, load_recipe, recipe_from_mapping

TINY = (
    "model.name=sam-tiny", "model.encoder=test_efficientnet", "model.encoder_weights=none", "model.sam={size: 64}",
    "preprocess.size=[64, 64]", "epochs=1", "sampling.batch_size=4", "sampling.steps_per_epoch=2", "ema_decay=0",
)  # fmt: skip
SHORT = ("epochs=2", "sampling.batch_size=4", "sampling.steps_per_epoch=4", "optim.learning_rate=0.003", "ema_decay=0")


@dataclasses.dataclass(frozen=True)
class Trained:
    run: Path
    data: DecodedDataset
    split: Split


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("featup")
    data, split = toy_and_split(root)
    train(recipe_from_mapping({}, TINY, source="test"), data=data, split=split, out=root / "run")
    return Trained(root / "run", data, split)


def recipe_for(trained: Trained, name: str) -> Recipe:
    return distil_recipe(load_recipe(name, SHORT), trained.run, encode_at=32)


def network(path: Path) -> PromptableSam:
    model = load_run(path).model
    assert isinstance(model, PromptableSam)
    return model


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    """Which top parts of two networks differ."""
    old = before.state_dict()
    return {name.split(".")[0] for name, value in after.state_dict().items() if not torch.equal(value, old[name])}


def test_distilling_a_frozen_encoder_brings_its_features_nearer_and_changes_the_upsampler_alone(
    trained: Trained, tmp_path: Path
) -> None:
    recipe = recipe_for(trained, "featup")
    begun, (_, validation) = prepare(recipe, data=trained.data, split=trained.split, fold=0)
    start = begun.model.eval()
    image = next(iter(validation)).image
    train(recipe, data=trained.data, split=trained.split, out=tmp_path / "out")
    after, teacher = network(tmp_path / "out"), network(trained.run)
    assert changed(start, after) == {"upsampler"}
    with torch.inference_mode():
        target = teacher.encode(image).first
        found, first = after.encode(image).first, start.encode(image).first  # type: ignore[operator]
        assert feature_distance(found, target) < feature_distance(first, target)


def test_the_encoder_learns_too_where_that_is_asked(trained: Trained, tmp_path: Path) -> None:
    recipe = recipe_for(trained, "featup-encoder")
    train(recipe, data=trained.data, split=trained.split, out=tmp_path / "out")
    after, before = network(tmp_path / "out"), network(trained.run)
    own = {name: value for name, value in after.state_dict().items() if not name.startswith("upsampler.")}
    old = before.state_dict()
    assert {name.split(".")[0] for name, value in own.items() if not torch.equal(value, old[name])} == {"image_encoder"}
    assert after.config.encode_at == 32
    kept = load_config(tmp_path / "out")[0]
    assert kept.seen == load_config(trained.run)[0].seen


def test_the_multi_view_objective_trains_upsampler_downsampler_and_scale(trained: Trained) -> None:
    recipe = recipe_for(trained, "featup-multiview")
    module, (loader, _) = prepare(recipe, data=trained.data, split=trained.split, fold=0)
    objective = module.objective
    assert isinstance(objective, MultiViewObjective)
    groups = module.configure_optimizers()["optimizer"].param_groups
    moved = {id(parameter) for group in groups for parameter in group["params"]}
    model = module.model
    assert isinstance(model, PromptableSam)
    assert model.upsampler is not None
    assert moved == {id(p) for part in (model.upsampler, objective) for p in part.parameters()}
    batch: Batch = next(iter(loader))
    module.train()
    objective.loss(model, batch, seed=1).backward()
    assert all(p.grad is not None for part in (model.upsampler, objective) for p in part.parameters())
    assert not model.image_encoder.training


def test_a_multi_view_training_leaves_a_run_like_any_other(trained: Trained, tmp_path: Path) -> None:
    train(recipe_for(trained, "featup-multiview"), data=trained.data, split=trained.split, out=tmp_path / "out")
    assert network(tmp_path / "out").config.encode_at == 32


def test_views_of_a_step_depend_on_its_seed_alone(trained: Trained) -> None:
    module, (loader, _) = prepare(
        recipe_for(trained, "featup-multiview"), data=trained.data, split=trained.split, fold=0
    )
    batch: Batch = next(iter(loader))
    module.eval()
    first, again, other = (module.objective.loss(module.model, batch, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_view_shows_the_same_part_of_maps_of_different_size() -> None:
    ramp = torch.linspace(-1, 1, 64).expand(1, 1, 64, 64)
    small = nn.functional.avg_pool2d(ramp, 4)
    generator = torch.Generator().manual_seed(3)
    for _ in range(8):
        view = draw_view(generator, zoom=2.0, shift=0.0)
        seen, seen_small = seen_through(view, ramp), seen_through(view, small)
        inner = slice(2, -2)
        assert torch.allclose(nn.functional.avg_pool2d(seen, 4)[..., inner], seen_small[..., inner], atol=0.03)


def test_the_identity_view_changes_nothing() -> None:
    image = torch.randn(2, 3, 9, 6)
    assert torch.allclose(seen_through(torch.eye(3)[:2], image), image, atol=1e-5)


def test_the_downsampler_takes_a_weighed_mean_of_each_patch() -> None:
    torch.manual_seed(0)
    downsampler = AttentionDownsampler(3, 2).eval()
    constant = torch.randn(1, 3, 2, 3).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(downsampler(constant), constant[..., ::2, ::2], atol=1e-6)
    nn.init.zeros_(downsampler.bias)
    for parameter in downsampler.saliency.parameters():
        nn.init.zeros_(parameter)
    high = torch.randn(1, 3, 4, 6)
    assert torch.allclose(downsampler(high), nn.functional.avg_pool2d(high, 2), atol=1e-6)


def test_equal_features_have_no_distance_and_opposite_ones_the_largest_cosine_part() -> None:
    features = torch.randn(2, 5, 3, 4)
    assert feature_distance(features, features) == pytest.approx(0, abs=1e-6)
    far = float(feature_distance(-features, features, cosine_weight=3.0))
    assert far == pytest.approx(float((2 * features).square().mean()) + 6, rel=1e-5)


def test_a_distilled_run_is_fine_tuned_on_masks_from_its_weights(trained: Trained, tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        recipe_for(trained, "featup"), objective="masks", start=str(trained.run), featup=FeatUpConfig()
    )
    module, _ = prepare(recipe, data=trained.data, split=trained.split, fold=0)
    old = load_run(trained.run).model.state_dict()
    state = module.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in old.items())
    assert all(parameter.requires_grad for parameter in module.model.image_encoder.parameters())  # type: ignore[union-attr]


def test_the_learning_rate_in_the_metrics_is_of_what_the_recipe_trains(trained: Trained, tmp_path: Path) -> None:
    settings = ("epochs=1", "sampling.batch_size=4", "sampling.steps_per_epoch=2", "optim.final_share=1")
    recipe = distil_recipe(load_recipe("featup", settings), trained.run, encode_at=32)
    train(recipe, data=trained.data, split=trained.split, out=tmp_path / "out")
    (row,) = csv.DictReader((tmp_path / "out" / "metrics.csv").read_text().splitlines())
    assert float(row["lr"]) == pytest.approx(0.01) == load_recipe("featup").optim.upsampler_learning_rate


def test_an_interrupted_run_with_groups_without_parameters_goes_on(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_before(model: nn.Module, config: OptimConfig) -> list[dict[str, object]]:
        return [{"params": [], "weight_decay": 0.1}, {"params": []}, *parameter_groups(model, config)]

    class Interrupting(NoCallbacks):
        def step(self, done: int, loss: float) -> None:
            if done == 5:
                signal.raise_signal(signal.SIGINT)

    recipe = recipe_for(trained, "featup")
    with monkeypatch.context() as patch:
        patch.setattr(module, "parameter_groups", as_before)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, data=trained.data, split=trained.split, out=tmp_path / "out", callbacks=Interrupting())
    train(recipe, data=trained.data, split=trained.split, out=tmp_path / "out", resume=True)
    train(recipe, data=trained.data, split=trained.split, out=tmp_path / "whole")
    kept = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("out", "whole")]
    assert kept[0] == kept[1]


def test_a_start_that_has_seen_held_out_patients_is_refused(trained: Trained) -> None:
    fold = trained.split.fold(0)
    turned = dataclasses.replace(fold, train=fold.test, test=fold.train)
    other = dataclasses.replace(trained.split, folds=(turned,))
    with pytest.raises(SplitError, match=r"has 3 of this fold's 3 test patients in its train part"):
        prepare(recipe_for(trained, "featup"), data=trained.data, split=other, fold=0)
    key = pseudonyms_of(trained.data.dataset)
    assert patient_digest(trained.split.patient_of[fold.train[0]], key) in load_config(trained.run)[0].seen["train"]


def test_a_start_prepared_in_another_way_is_refused(trained: Trained) -> None:
    recipe = recipe_for(trained, "featup")
    other = dataclasses.replace(recipe, preprocess=dataclasses.replace(recipe.preprocess, normalisation="minmax"))
    with pytest.raises(ConfigError, match=r"was trained with preprocess\.normalisation"):
        prepare(other, data=trained.data, split=trained.split, fold=0)


def test_a_start_of_another_network_is_refused_with_what_differs(trained: Trained) -> None:
    recipe = recipe_for(trained, "featup")
    sam = dataclasses.replace(recipe.model.sam, presence=False)  # type: ignore[type-var]
    other = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, sam=sam))
    with pytest.raises(ConfigError, match=r"weights of another network \(presence\."):
        prepare(other, data=trained.data, split=trained.split, fold=0)


def test_objectives_of_features_ask_for_a_start_and_a_smaller_image(trained: Trained) -> None:
    recipe = recipe_for(trained, "featup")
    with pytest.raises(ConfigError, match="objective distil needs start"):
        prepare(dataclasses.replace(recipe, start=None), data=trained.data, split=trained.split, fold=0)
    sam = dataclasses.replace(recipe.model.sam, encode_at=None)  # type: ignore[type-var]
    plain = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, sam=sam))
    with pytest.raises(ConfigError, match=r"Set model\.sam\.encode_at"):
        prepare(plain, data=trained.data, split=trained.split, fold=0)


def test_a_vits_run_is_distilled_with_its_positions_brought_to_the_smaller_image(
    trained: Trained, tmp_path: Path
) -> None:
    sam = "model.sam={size: 64, trains: decoder, vit: {width: 32, depth: 2, heads: 2, global_layers: [1], window: 3}}"
    vit = recipe_from_mapping({}, (*TINY, "model.name=sam-vit-b", "model.encoder=vit-b", sam), source="test")
    train(vit, data=trained.data, split=trained.split, out=tmp_path / "vit")
    recipe = distil_recipe(load_recipe("featup-encoder", SHORT), tmp_path / "vit", encode_at=32)
    start = prepare(recipe, data=trained.data, split=trained.split, fold=0)[0].model.state_dict()
    before = network(tmp_path / "vit").state_dict()
    other = {name for name in before if start[name].shape != before[name].shape}
    assert {name.rpartition(".")[2] for name in other} == {"pos_embed", "rel_pos_h", "rel_pos_w"}
    assert all(torch.equal(start[name], before[name]) for name in before.keys() - other)
    train(recipe, data=trained.data, split=trained.split, out=tmp_path / "out")
    assert network(tmp_path / "out").config.encode_at == 32
