"""Training from a cache: the encoder never runs, the run is complete and resumes, and what cannot work is refused."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import toy_and_split
from safetensors.torch import load_file

from segmed.core.errors import ConfigError, DataError, SplitError
from segmed.core.files import write_json
from segmed.core.reading import read_json
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.data.embeddings import EmbeddingCache
from segmed.data.embeddings.slices import EmbeddedSlices, ViewedBatches
from segmed.data.splits import split_by_patient
from segmed.data.views import SETS, viewed
from segmed.inference import load
from segmed.inference.embedding import EmbeddingCost, embed, entries_of
from segmed.models.sam.network import PromptableSam
from segmed.models.seen import seen_patients
from segmed.preprocess import Preprocess
from segmed.training import Hardware, Recipe, train
from segmed.training.build import prepare
from segmed.training.cached import cache_hint, require_cacheable
from segmed.training.estimate import estimate
from segmed.training.module import SegmentationModule
from segmed.training.recipe import recipe_from_mapping
from segmed.training.warm_start import begun_from, initial_model

CPU = Hardware(accelerator="cpu")
TINY = (
    "model.name=sam-tiny", "model.encoder=test_efficientnet", "model.encoder_weights=none",
    "model.sam={size: 64, trains: decoder}", "preprocess.size=[64, 64]", "augment=none", "epochs=2", "seed=3",
    "sampling.batch_size=4", "sampling.steps_per_epoch=2", "ema_decay=0.5", "precision='32'",
)  # fmt: skip


def recipe_of(*overrides: str) -> Recipe:
    return recipe_from_mapping({}, [*TINY, *overrides], source="test")


Toy = tuple[DecodedDataset, Split]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return toy_and_split(tmp_path_factory.mktemp("toy"))


def embedded(recipe: Recipe, toy: Toy, out: Path) -> EmbeddingCache:
    entries = entries_of(toy[0], SETS["flips"], toy[1])
    return embed(initial_model(recipe), recipe.preprocess, data=toy[0], entries=entries, out=out)


@pytest.fixture(scope="module")
def cache(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingCache:
    return embedded(recipe_of(), toy, tmp_path_factory.mktemp("cache") / "c")


@pytest.fixture
def broken_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise AssertionError("the image encoder ran")

    monkeypatch.setattr(PromptableSam, "features", run)


def test_a_cache_holds_what_the_encoder_says_of_each_view(toy: Toy, cache: EmbeddingCache) -> None:
    model, recipe = initial_model(recipe_of()).eval(), recipe_of()
    (training, _) = prepare(recipe, data=toy[0], split=toy[1], fold=0)[1]
    item = training.dataset[1]
    for view in SETS["flips"]:
        with torch.inference_mode():
            expected = model.encode(viewed(item.image, view)[None]).first
        torch.testing.assert_close(cache.embedding(item.slice_id, view).first.float(), expected, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("batch", [0, -3])
def test_a_batch_without_a_slice_is_refused_and_leaves_no_cache(toy: Toy, tmp_path: Path, batch: int) -> None:
    recipe, entries = recipe_of(), entries_of(toy[0], SETS["flips"], toy[1])
    with pytest.raises(ConfigError, match=f"{batch} slices cannot be encoded together"):
        embed(initial_model(recipe), recipe.preprocess, data=toy[0], entries=entries, out=tmp_path / "c", batch=batch)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("broken_encoder")
def test_the_encoder_never_runs_and_yet_the_run_has_its_weights(
    toy: Toy, cache: EmbeddingCache, tmp_path: Path
) -> None:
    run = train(recipe_of(), data=toy[0], split=toy[1], out=tmp_path / "r", embeddings=cache, hardware=CPU)
    kept, begun = load_file(run / "model.safetensors"), initial_model(recipe_of()).state_dict()
    encoder = [name for name in begun if name.startswith("image_encoder.")]
    assert encoder
    assert all(torch.equal(kept[name], begun[name]) for name in encoder)
    decoder = [name for name in kept if name.startswith("mask_decoder.transformer") and name.endswith("proj.weight")]
    assert decoder
    assert not any(torch.equal(kept[name], begun[name]) for name in decoder)
    assert json.loads((run / "config.json").read_text())["training"]["embeddings"] == cache.plan.digest
    assert load(run, device="cpu").config.model.sam is not None


@pytest.mark.usefixtures("broken_encoder")
def test_validation_without_prompts_uses_the_cache_too(toy: Toy, cache: EmbeddingCache) -> None:
    recipe = recipe_of("prompting.validation=none")
    module, loaders = prepare(recipe, data=toy[0], split=toy[1], fold=0, embeddings=cache)
    logits, loss = module.objective.validate(module.model, next(iter(loaders[1])))
    assert logits.shape[1:] == (1, 64, 64)
    assert torch.isfinite(loss)


@pytest.mark.parametrize("changes", ["featup: jbu", "encode_at: 32"])
def test_what_raises_embeddings_by_the_image_gets_it_beside_the_cache(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: str
) -> None:
    recipe = recipe_of(f"model.sam={{size: 64, trains: decoder, {changes}}}")
    cache = embedded(recipe, toy, tmp_path / "c")
    monkeypatch.setattr(PromptableSam, "features", lambda *_: pytest.fail("the image encoder ran"))
    module, loaders = prepare(recipe, data=toy[0], split=toy[1], fold=0, embeddings=cache)
    assert torch.isfinite(module.objective.loss(module.model, next(iter(loaders[0])), seed=0))
    assert torch.isfinite(module.objective.validate(module.model, next(iter(loaders[1])))[1])


@pytest.mark.usefixtures("broken_encoder")
def test_the_estimate_with_a_cache_runs_no_encoder(toy: Toy, cache: EmbeddingCache) -> None:
    found = estimate(recipe_of(), data=toy[0], split=toy[1], steps=1, embeddings=cache)
    assert found.seconds_per_step > 0


def test_a_step_from_the_cache_costs_what_it_costs_from_pixels(toy: Toy, tmp_path: Path) -> None:
    recipe = recipe_of("prompting.decoys=0")
    entries = entries_of(toy[0], SETS["none"], toy[1])
    cache = embed(initial_model(recipe), recipe.preprocess, data=toy[0], entries=entries, out=tmp_path / "c")
    losses = []
    for embeddings in (None, cache):
        module, loaders = prepare(recipe, data=toy[0], split=toy[1], fold=0, embeddings=embeddings)
        batch = next(iter(loaders[0]))
        losses.append(module.objective.loss(module.model, batch, seed=5).item())
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


def test_a_run_from_a_cache_stopped_after_an_epoch_ends_as_one_that_was_not(
    toy: Toy, cache: EmbeddingCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {"data": toy[0], "split": toy[1], "embeddings": cache, "hardware": CPU}
    short = recipe_of("sampling.steps_per_epoch=1")
    whole = train(short, out=tmp_path / "whole", **kinds)  # type: ignore[arg-type]
    step = SegmentationModule.training_step
    with monkeypatch.context() as patch:

        def stopping(self: SegmentationModule, batch: object, batch_idx: int) -> torch.Tensor:
            if self.current_epoch == 1:
                raise KeyboardInterrupt
            return step(self, batch, batch_idx)  # type: ignore[arg-type]

        patch.setattr(SegmentationModule, "training_step", stopping)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(short, out=tmp_path / "stopped", **kinds)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="begun with another embedding cache"):
        train(short, out=tmp_path / "stopped", resume=True, **{**kinds, "embeddings": None})  # type: ignore[arg-type]
    resumed = train(short, out=tmp_path / "stopped", resume=True, **kinds)  # type: ignore[arg-type]
    one, two = (load_file(run / "model.safetensors") for run in (whole, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_mask_and_embedding_of_an_item_are_the_same_view(toy: Toy, cache: EmbeddingCache) -> None:
    data, split = toy
    slice_ids = [slice_id for slice_id in split.fold(0).train if data.mask(slice_id).any()]
    preprocess = Preprocess(recipe_of().preprocess)
    slices = EmbeddedSlices(data, slice_ids, preprocess, cache, views=SETS["flips"], with_images=True)
    assert len(slices) == 4 * len(slice_ids)
    plain = preprocess.apply_mask(data.mask(slice_ids[1]))
    for turn, view in enumerate(SETS["flips"]):
        item = slices[4 + turn]
        assert item.slice_id == slice_ids[1]
        assert torch.equal(item.labels, viewed(plain, view))
        assert item.image.shape == (3, 64, 64)
        assert item.embedding is not None
        assert torch.equal(item.embedding.first, cache.embedding(slice_ids[1], view).first)


def test_views_are_drawn_anew_in_each_step_and_alike_for_a_seed(toy: Toy, cache: EmbeddingCache) -> None:
    def drawn(epoch: int, seed: int) -> list[list[int]]:
        config = recipe_of("sampling.steps_per_epoch=20").sampling
        batches = ViewedBatches(slices.drawn(), config, views=4, seed=seed)
        batches.set_epoch(epoch)
        return [[number % 4 for number in batch] for batch in batches]

    slices = EmbeddedSlices(toy[0], toy[1].fold(0).train, Preprocess(recipe_of().preprocess), cache)
    assert drawn(0, 1) == drawn(0, 1)
    assert drawn(0, 1) != drawn(1, 1) != drawn(1, 2)
    counts = torch.bincount(torch.tensor(drawn(0, 1)).flatten(), minlength=4)
    assert (counts > 8).all()


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        (
            "augment=mri",
            ConfigError,
            r"augment is not none, but cached .* are those of unchanged.*--views flips",
        ),
        ("model.sam.trains=all", ConfigError, r"sam\.trains is all: training changes the image encoder"),
        ("seed=4", DataError, r"stale, they are of another encoder's weights"),
        (
            "preprocess.normalisation=minmax",
            DataError,
            r"another preprocessing \(normalisation volume-zscore, not minmax",
        ),
        ("model={name: unet, encoder: resnet18, encoder_weights: none}", ConfigError, "unet has no image encoder"),
    ],
    ids=[
        "augmentation",
        "a trained encoder",
        "other weights",
        "other preprocessing",
        "a dense model",
    ],
)
def test_what_a_cache_cannot_serve_is_refused_with_the_reason(
    toy: Toy, cache: EmbeddingCache, override: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        prepare(recipe_of(override), data=toy[0], split=toy[1], fold=0, embeddings=cache)


def test_objectives_on_features_are_refused_too() -> None:
    recipe = recipe_of("objective=multiview", "model.sam={size: 64, trains: decoder, encode_at: 32}")
    with pytest.raises(ConfigError, match="objective multiview compares features of changed images"):
        require_cacheable(recipe)


def test_a_fold_with_other_slices_is_refused(toy: Toy, cache: EmbeddingCache) -> None:
    other = split_by_patient(toy[0], ratios=(0.5, 0.25, 0.25), seed=9)
    with pytest.raises(DataError, match=r"lacks \d+ of \d+ slices"):
        prepare(recipe_of(), data=toy[0], split=other, fold=0, embeddings=cache)


def test_the_hint_comes_where_an_encoder_is_frozen_and_nowhere_else() -> None:
    assert "segmed embed" in str(cache_hint(recipe_of()))
    assert "augment=none" in str(cache_hint(recipe_of("augment=mri")))
    assert cache_hint(recipe_of("model.sam.trains=all")) is None
    assert cache_hint(Recipe()) is None


def test_a_complete_cache_is_measured_no_more_and_a_damaged_shard_is_made_anew(
    toy: Toy, cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, told = recipe_of(), list[EmbeddingCost]()
    path = next(cache.folder.glob("shard-*"))
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))

    def again() -> EmbeddingCache:
        entries = entries_of(toy[0], SETS["flips"], toy[1])
        model = initial_model(recipe)
        return embed(model, recipe.preprocess, data=toy[0], entries=entries, out=cache.folder, announce=told.append)

    again()
    assert "shard-00000" in told[0].damaged[0]
    assert told[0].missing > 0
    assert told[0].seconds > 0
    assert len(path.read_bytes()) == len(before)
    monkeypatch.setattr(PromptableSam, "features", lambda *_: pytest.fail("the encoder ran"))
    again()
    assert (told[1].missing, told[1].seconds, told[1].damaged) == (0, 0, ())


@pytest.fixture(scope="module")
def first(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "run"
    recipe = recipe_of("model.sam.trains=all", "epochs=1", "sampling.steps_per_epoch=1")
    return train(recipe, data=toy[0], split=toy[1], out=out, hardware=CPU)


def test_a_run_starts_from_all_weights_of_another_and_a_cache_of_that_run_fits(
    toy: Toy, first: Path, tmp_path: Path
) -> None:
    trained = load(first, device="cpu")
    entries = entries_of(toy[0], SETS["none"], toy[1])
    cache = embed(trained.model, trained.config.preprocess, data=toy[0], entries=entries, out=tmp_path / "c")
    recipe = recipe_of(f"start={first}")
    module, _ = prepare(recipe, data=toy[0], split=toy[1], fold=0, embeddings=cache)
    kept = load_file(first / "model.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in module.model.state_dict().items())


def test_what_starts_as_nothing_may_be_new(first: Path) -> None:
    model = initial_model(recipe_of(f"start={first}", "model.sam.box_prior=true", "model.gafl.place=embedding"))
    kept = load_file(first / "model.safetensors")
    assert {name.split(".")[0] for name in model.state_dict() if name not in kept} == {"box_prior", "filters"}


def test_weights_that_do_not_fit_are_listed(first: Path) -> None:
    with pytest.raises(ConfigError, match=r"presence\.layers.* differ"):
        initial_model(recipe_of(f"start={first}", "model.sam.presence=false"))
    with pytest.raises(ConfigError, match=r"was trained with preprocess\.normalisation volume-zscore"):
        initial_model(recipe_of(f"start={first}", "preprocess.normalisation=minmax"))


def test_weights_that_know_this_folds_test_patients_are_refused(toy: Toy, first: Path) -> None:
    recipe = recipe_of(f"start={first}")
    assert begun_from(recipe, toy[1], 0, toy[0]) is not None
    partition = toy[1].fold(0)
    swapped = dataclasses.replace(partition, train=partition.test, test=partition.train)
    with pytest.raises(SplitError, match=r"has 3 of this fold's 3 test patients in its train part"):
        begun_from(recipe, dataclasses.replace(toy[1], folds=(swapped,)), 0, toy[0])


def without_seen(run: Path, copy: Path, split: Split) -> Path:
    """A copy of the run as one of an early 0.1: the config names no patients, and the split has plain ids."""
    shutil.copytree(run, copy)
    values = read_json(copy / "config.json", dict[str, Any], what="a config")
    split.save(copy / "split.json")
    write_json(copy / "config.json", {**values, "seen": {}, "split_hash": ""})
    return copy


def test_a_start_is_judged_by_its_split_where_its_config_names_no_patients(
    toy: Toy, first: Path, tmp_path: Path
) -> None:
    start = without_seen(first, tmp_path / "start", toy[1])
    recipe, partition = recipe_of(f"start={start}"), toy[1].fold(0)
    begun = begun_from(recipe, toy[1], 0, toy[0])
    assert begun is not None
    assert begun.seen == seen_patients(toy[1], 0)
    swapped = dataclasses.replace(partition, train=partition.test, test=partition.train)
    with pytest.raises(SplitError, match=r"has 3 of this fold's 3 test patients in its train part"):
        begun_from(recipe, dataclasses.replace(toy[1], folds=(swapped,)), 0, toy[0])


def test_a_start_that_cannot_say_what_it_has_seen_is_refused(toy: Toy, first: Path, tmp_path: Path) -> None:
    start = without_seen(first, tmp_path / "start", toy[1])
    (start / "split.json").unlink()
    with pytest.raises(SplitError, match="does not say which patients it was trained on"):
        begun_from(recipe_of(f"start={start}"), toy[1], 0, toy[0])


def test_frozen_weights_are_held_once_by_the_model_and_its_average(toy: Toy) -> None:
    module, _ = prepare(recipe_of(), data=toy[0], split=toy[1], fold=0)
    averaged = dict(module.kept.named_parameters())
    for name, parameter in module.model.named_parameters():
        assert (averaged[name] is parameter) == (not parameter.requires_grad)
