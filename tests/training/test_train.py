"""Training learns, leaves a complete folder without pickles, and refuses what would make its result wrong."""

import csv
import dataclasses
import json
import re
import resource
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from runs import tiny_recipe, toy_and_split
from safetensors.torch import save_file

import segmed.training.module as module
import segmed.training.objectives as objectives
from segmed.core.errors import ConfigError, DataError, ModelError, SegmedError, SplitError
from segmed.core.files import sha256_of
from segmed.core.split import Partition, Split
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.loading import Batch, Drawn, SamplingConfig, TrainingBatches
from segmed.data.sources import open_dataset
from segmed.data.splits import numbered, require_fit, split_by_patient, split_by_slice
from segmed.evaluation.run import plan_evaluation
from segmed.inference import load
from segmed.models.checkpoint import load_config
from segmed.models.dense import build_encoder
from segmed.training import Hardware, train
from segmed.training.build import _try_size, fit_recipe, prepare
from segmed.training.callbacks import NoCallbacks
from segmed.training.checkpointing import RunCheckpoint
from segmed.training.epoch_row import COLUMNS, EpochRow
from segmed.training.estimate import WARMUP, estimate
from segmed.training.module import SegmentationModule, learning_rate_share
from segmed.training.recipe import OptimConfig
from segmed.training.resume import RunInputs, begin, for_sharing
from segmed.training.run_log import explained_failures
from toydata import write_toy

CPU = Hardware(accelerator="cpu")


def metrics(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[DecodedDataset, Split]:
    return toy_and_split(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def run(toy: tuple[DecodedDataset, Split], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    recipe = tiny_recipe("epochs=4", "sampling.steps_per_epoch=10")
    return train(recipe, data=toy[0], split=toy[1], out=out, hardware=CPU)


def test_a_run_learns_what_can_be_learnt(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    assert config["training"]["validation_dice"] > 0.8


def test_a_run_folder_is_complete_and_holds_no_pickle(run: Path) -> None:
    files = {"model.safetensors", "config.json", "recipe.yaml", "split.json", "metrics.csv", "log.txt", "curves.png"}
    assert {path.name for path in run.iterdir()} == files


def test_metrics_have_one_line_an_epoch(run: Path) -> None:
    rows = metrics(run)
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert float(rows[-1]["train/loss"]) < float(rows[0]["train/loss"])


def test_the_config_tells_data_split_threshold_and_machine(run: Path, toy: tuple[DecodedDataset, Split]) -> None:
    config = load(run, device="cpu").config
    assert config.data_hash == toy[0].data_hash
    assert config.split_hash
    assert 0 < config.threshold < 1
    assert not config.leaking
    assert [len(config.seen[part]) for part in ("train", "validation")] == [3, 2]
    assert config.training.others["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_the_kept_weights_score_what_the_metrics_say(run: Path, toy: tuple[DecodedDataset, Split]) -> None:
    data, split = toy
    predictor = load(run, device="cpu")
    records = data.dataset.by_slice_id()
    hits: dict[str, list[int]] = {}
    for patient in dict.fromkeys(records[slice_id].patient for slice_id in split.fold(0).validation):
        slice_ids = [record.slice_id for record in data.dataset.records if record.patient == patient]
        masks = predictor.predict_volume([data.image(slice_id) for slice_id in slice_ids])
        truth = np.stack([data.mask(slice_id) for slice_id in slice_ids])
        mine = np.stack([mask.array for mask in masks])
        hits[patient] = [int((truth & mine).sum()), int(truth.sum() + mine.sum())]
    dice = np.mean([2 * both / total for both, total in hits.values()])
    assert dice == pytest.approx(predictor.config.training.others["validation_dice"], abs=2e-3)


def test_every_epoch_draws_its_own_batches(
    toy: tuple[DecodedDataset, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[int, list[tuple[str, ...]]] = {}
    training_step = module.SegmentationModule.training_step

    def watched(self: module.SegmentationModule, batch: Batch, batch_idx: int) -> torch.Tensor:
        drawn.setdefault(self.current_epoch, []).append(batch.slice_ids)
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(module.SegmentationModule, "training_step", watched)
    train(tiny_recipe(), data=toy[0], split=toy[1], out=tmp_path / "r", hardware=CPU)
    assert len({tuple(batches) for batches in drawn.values()}) == 3


A_ROW = EpochRow(0, 4, 0.5, 0.5, 0.5, 0.5, 0.1, 1.0).to_columns()


def test_a_resumed_run_goes_on_with_the_next_epochs_batches(tmp_path: Path) -> None:
    batches = TrainingBatches(Drawn(np.ones(40, np.int64), ("a",) * 40), SamplingConfig(batch_size=4), seed=0)
    third = TrainingBatches(Drawn(np.ones(40, np.int64), ("a",) * 40), SamplingConfig(batch_size=4), seed=0)
    third.set_epoch(2)
    checkpoint = RunCheckpoint(tmp_path, patience=None, callbacks=NoCallbacks())
    checkpoint.batches = batches
    checkpoint.load_state_dict({"rows": [A_ROW] * 2, "best": {}, "seconds": [1.0, 2.0]})
    assert list(batches) == list(third)


def test_the_run_tells_the_hash_of_the_file_that_its_encoder_began_with(
    toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    weights = tmp_path / "encoder.safetensors"
    save_file(build_encoder("tu-test_efficientnet").state_dict(), weights)
    recipe = tiny_recipe(f"model.encoder_weights={weights}", "epochs=1", "targets=area", "sampling.by=patient")
    out = train(recipe, data=toy[0], split=toy[1], out=tmp_path / "run", hardware=CPU)
    told = json.loads((out / "config.json").read_text())["training"]["encoder_weights"]
    assert told == {"file": "encoder.safetensors", "sha256": sha256_of(weights)}
    weights.unlink()
    assert load(out) is not None  # what was trained no longer needs it


def test_a_file_of_encoder_weights_that_goes_while_it_trains_costs_no_run(
    toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    weights = tmp_path / "encoder.safetensors"
    save_file(build_encoder("tu-test_efficientnet").state_dict(), weights)
    told = {"file": "encoder.safetensors", "sha256": sha256_of(weights)}

    class Removing(NoCallbacks):
        def step(self, done: int, loss: float) -> None:
            weights.unlink(missing_ok=True)

    recipe = tiny_recipe(f"model.encoder_weights={weights}", "epochs=1")
    out = train(recipe, data=toy[0], split=toy[1], out=tmp_path / "run", callbacks=Removing(), hardware=CPU)
    assert json.loads((out / "config.json").read_text())["training"]["encoder_weights"] == told


def test_training_on_all_patients_validates_nothing_and_keeps_the_last_epoch(
    toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    recipe = tiny_recipe("train_on=all", "threshold=0.4", "prediction.smallest_share=0.1")
    out = train(recipe, data=toy[0], split=toy[1], out=tmp_path / "run", hardware=CPU)
    told = json.loads((out / "config.json").read_text())
    assert (told["training"]["epoch"], told["training"]["validation_dice"], told["threshold"]) == (2, None, 0.4)
    assert told["seen"]["validation"] == []
    assert load(out).config.prediction.smallest_share == 0.1
    fold, own = toy[1].fold(0), require_fit(Split.load(out / "split.json"), toy[0]).fold(0)
    assert own.train == (*fold.train, *fold.validation)
    assert (own.validation, own.test) == ((), fold.test)
    assert [row["validation/dice"] for row in metrics(out)] == [""] * 3
    with pytest.raises(SplitError, match="has no validation part"):
        plan_evaluation(out, load(out).config, toy[0], part="validation")
    with pytest.raises(SplitError, match="trained on"):
        plan_evaluation(out, load(out).config, toy[0], split=toy[1], part="validation")
    assert train(recipe, data=toy[0], split=toy[1], out=out, resume=True, hardware=CPU) == out


def test_a_fold_without_validation_patients_is_refused_unless_all_are_trained_on(
    toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"no validation patients\. Set train_on: all"):
        train(tiny_recipe(), data=toy[0], split=toy[1].without_validation(), out=tmp_path / "run", hardware=CPU)
    with pytest.raises(ConfigError, match="patience needs a validation Dice"):
        tiny_recipe("train_on=all", "patience=2")


def test_a_folder_with_a_run_is_not_overwritten(run: Path, toy: tuple[DecodedDataset, Split]) -> None:
    with pytest.raises(ConfigError, match=r"already holds files\. Continue it with --resume"):
        train(tiny_recipe(), data=toy[0], split=toy[1], out=run)


@pytest.mark.parametrize(
    ("fold", "change", "reason"),
    [(1, "epochs=1", "Fold 1 does not exist"), (0, "start=nowhere", "nowhere"), (0, "model.encoder=nosuch", "nosuch")],
)
def test_a_training_that_is_refused_leaves_no_folder_in_the_way_of_the_next(
    toy: tuple[DecodedDataset, Split], tmp_path: Path, fold: int, change: str, reason: str
) -> None:
    with pytest.raises(SegmedError, match=reason):
        train(tiny_recipe(change), data=toy[0], split=toy[1], fold=fold, out=tmp_path / "r", hardware=CPU)
    assert not (tmp_path / "r").exists()


def test_a_run_folder_that_is_a_file_is_refused(toy: tuple[DecodedDataset, Split], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="file: is a file"):
            train(tiny_recipe(), data=toy[0], split=toy[1], out=out, hardware=CPU)


def test_resuming_a_finished_run_trains_nothing(run: Path, toy: tuple[DecodedDataset, Split]) -> None:
    before = (run / "model.safetensors").stat().st_mtime_ns
    recipe = tiny_recipe("epochs=4", "sampling.steps_per_epoch=10")
    train(recipe, data=toy[0], split=toy[1], out=run, resume=True)
    assert (run / "model.safetensors").stat().st_mtime_ns == before


def test_resuming_with_another_recipe_is_refused(run: Path, toy: tuple[DecodedDataset, Split]) -> None:
    recipe = tiny_recipe("epochs=4", "sampling.steps_per_epoch=10", "loss.name=focal")
    with pytest.raises(ConfigError, match=r"begun with another loss"):
        train(recipe, data=toy[0], split=toy[1], out=run, resume=True)


def test_resuming_on_another_split_or_fold_is_refused_finished_or_not(
    run: Path, toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    data, split = toy
    other = split_by_patient(data, ratios=(0.5, 0.25, 0.25), seed=5)
    finished, unfinished = tiny_recipe("epochs=4", "sampling.steps_per_epoch=10"), tiny_recipe()
    begin(tmp_path / "r", RunInputs(fit_recipe(unfinished, data), split, data), resume=False)
    for recipe, out in ((finished, run), (unfinished, tmp_path / "r")):
        with pytest.raises(ConfigError, match="begun with another split"):
            train(recipe, data=data, split=other, out=out, resume=True, hardware=CPU)
        with pytest.raises(ConfigError, match="begun with another fold"):
            train(recipe, data=data, split=split, fold=1, out=out, resume=True, hardware=CPU)
    assert Split.load(tmp_path / "r" / "split.json") == numbered(split, data)


def test_a_run_of_0_1_that_keeps_plain_ids_is_the_run_of_its_split(
    run: Path, toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    data, split = toy
    recipe = tiny_recipe("epochs=4", "sampling.steps_per_epoch=10")
    old = shutil.copytree(run, tmp_path / "old")
    split.save(old / "split.json")
    assert train(recipe, data=data, split=split, out=old, resume=True, hardware=CPU) == old
    other = split_by_patient(data, ratios=(0.5, 0.25, 0.25), seed=5)
    with pytest.raises(ConfigError, match="begun with another split"):
        train(recipe, data=data, split=other, out=old, resume=True, hardware=CPU)


def test_a_run_names_no_patient_and_no_folder_of_the_machine(run: Path, toy: tuple[DecodedDataset, Split]) -> None:
    data, _ = toy
    texts = [path.read_text() for path in run.iterdir() if path.suffix in (".json", ".yaml", ".csv", ".txt")]
    assert len(texts) == 5
    for text in texts:
        assert not [each for each in (*data.dataset.patients, *data.dataset.by_slice_id()) if each in text]
        assert str(run.parent) not in text
        assert str(Path.home()) not in text


def test_absolute_paths_of_a_recipe_lead_from_here_in_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tiny_recipe(f"start={tmp_path}/first", "prompting.proposals.folder=maps")
    kept = for_sharing(recipe)
    assert (kept.start, kept.prompting.proposals.folder) == ("first", "maps")
    assert for_sharing(tiny_recipe("start=hf:owner/name")).start == "hf:owner/name"


def test_a_run_killed_while_it_began_begins_again(toy: tuple[DecodedDataset, Split], tmp_path: Path) -> None:
    data, split = toy
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / ".recipe.yaml.x1.yaml").touch()
    begin(tmp_path / "r", RunInputs(fit_recipe(tiny_recipe(), data), split, data), resume=False)
    assert (tmp_path / "r" / "split.json").is_file()


def test_one_grey_image_among_those_in_colour_is_named_before_training(tmp_path: Path) -> None:
    write_toy(tmp_path)
    image = sorted(tmp_path.glob("*/TOY_BB_0002_20000101/*_3.tif"))[0]
    Pillow.open(image).convert("L").save(image)
    with pytest.raises(DataError, match=r"TOY_BB_0002_20000101_3\.tif: channels 1, expected 3 as in most images"):
        decode(open_dataset(tmp_path), cache_dir=tmp_path / "cache")


def test_what_is_black_and_white_in_the_training_data_is_kept_with_the_run(
    toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    recipe = tiny_recipe("preprocess.normalisation=imagenet", "epochs=1")
    run = train(recipe, data=toy[0], split=toy[1], out=tmp_path / "run", hardware=CPU)
    assert load_config(run)[0].preprocess.intensity_range == (0, 255)
    image = toy[0].image(toy[1].folds[0].test[0]).astype(np.uint16) * 16
    with pytest.raises(DataError, match=r"brighter than white.*0 for black and 255 for white"):
        load(run).predict(image)


def test_a_folder_of_something_else_is_not_resumed(toy: tuple[DecodedDataset, Split], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match="is not a run folder"):
        begin(tmp_path, RunInputs(tiny_recipe(), toy[1], toy[0]), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_stopped_early_and_killed_before_its_end_trains_no_further(
    toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    checkpoint = RunCheckpoint(tmp_path, patience=2, callbacks=NoCallbacks())
    checkpoint.load_state_dict({"rows": [A_ROW] * 3, "best": {"dice": 0.5, "epoch": 0}, "seconds": [0.0, 0.0]})
    assert checkpoint._out_of_patience()


def test_a_run_that_0_1_left_unfinished_finds_its_state_in_the_checkpoint(tmp_path: Path) -> None:
    assert RunCheckpoint(tmp_path, patience=None, callbacks=NoCallbacks()).state_key == "RunKeeper"


def test_a_split_of_other_data_is_refused(toy: tuple[DecodedDataset, Split], tmp_path: Path) -> None:
    data, split = toy
    with pytest.raises(SplitError, match="make a new one"):
        train(tiny_recipe(), data=data, split=dataclasses.replace(split, data_hash="0" * 64), out=tmp_path / "r")


def test_a_split_that_leaks_without_the_mark_is_refused(toy: tuple[DecodedDataset, Split], tmp_path: Path) -> None:
    data, split = toy
    slice_ids = [record.slice_id for record in data.dataset.records]
    leaky = dataclasses.replace(
        split, folds=(Partition(tuple(slice_ids[:9]), tuple(slice_ids[9:12]), tuple(slice_ids[12:])),)
    )
    with pytest.raises(SplitError, match="is in both"):
        train(tiny_recipe(), data=data, split=leaky, out=tmp_path / "r")


def test_a_run_on_the_marked_slice_split_is_marked_too(toy: tuple[DecodedDataset, Split], tmp_path: Path) -> None:
    split = split_by_slice(toy[0])
    out = train(tiny_recipe("epochs=1"), data=toy[0], split=split, out=tmp_path / "r", hardware=CPU)
    assert json.loads((out / "config.json").read_text())["LEAKING"] is True


def test_a_loss_that_is_not_a_number_stops_with_the_slices(
    toy: tuple[DecodedDataset, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objectives, "build_loss", lambda config: lambda logits, target: logits.sum() * float("nan"))
    with pytest.raises(DataError, match=r"The loss is nan at step 0 on slices TOY_\w+.*lower optim.learning_rate"):
        train(tiny_recipe(), data=toy[0], split=toy[1], out=tmp_path / "r", hardware=CPU)
    log = (tmp_path / "r" / "log.txt").read_text()
    assert "stopped: DataError" in log
    assert "TOY_" not in log


def test_out_of_memory_says_which_setting_to_lower(
    toy: tuple[DecodedDataset, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module.SegmentationModule, "training_step", exhausted)
    with pytest.raises(ModelError, match=r"Lower sampling\.batch_size \(now 4\)"):
        train(tiny_recipe(), data=toy[0], split=toy[1], out=tmp_path / "r", hardware=CPU)


@pytest.mark.parametrize(
    ("batches", "advice"),
    [
        ("6", "raise optim.accumulate and sampling.steps_per_epoch (now 6 batches) in proportion"),
        ("null", "raise optim.accumulate in proportion"),
    ],
)
def test_what_to_do_without_memory_keeps_the_length_of_the_training(batches: str, advice: str) -> None:
    recipe = tiny_recipe(f"sampling.steps_per_epoch={batches}")
    with pytest.raises(ModelError, match=re.escape(advice)), explained_failures(recipe, Path("run")):
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("batches", ["6", "null"])
def test_half_the_batch_with_the_advice_has_as_many_optimiser_steps_and_slices(
    toy: tuple[DecodedDataset, Split], batches: str
) -> None:
    def steps_and_slices(*settings: str) -> tuple[int, int]:
        recipe = fit_recipe(tiny_recipe(*settings), toy[0])
        prepared, (training, _) = prepare(recipe, data=toy[0], split=toy[1], fold=0)
        return prepared.steps, len(training) * recipe.sampling.batch_size

    more = "12" if batches == "6" else "null"
    advised = ("sampling.batch_size=2", "optim.accumulate=2", f"sampling.steps_per_epoch={more}")
    assert steps_and_slices(*advised) == steps_and_slices(f"sampling.steps_per_epoch={batches}")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
    ],
)
def test_memory_that_runs_out_before_the_first_step_is_no_advice_to_enlarge_the_image(
    toy: tuple[DecodedDataset, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("segmentation_models_pytorch.Unet.forward", exhausted)
    with pytest.raises(ModelError, match=r"Out of memory\. Lower .* smaller preprocess\.size"):
        train(tiny_recipe(), data=toy[0], split=toy[1], out=tmp_path / "r", hardware=CPU)


def test_a_size_that_the_network_cannot_take_is_an_error_before_training(
    toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    recipe = tiny_recipe("model.name=pan", "model.encoder=resnet18")
    with pytest.raises(ModelError, match=r"pan cannot take images of 64x64.*larger preprocess\.size"):
        train(recipe, data=toy[0], split=toy[1], out=tmp_path / "r", hardware=CPU)


def test_an_encoder_made_for_another_size_is_an_error_before_training() -> None:
    class OfOneSize(torch.nn.Conv2d):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise AssertionError("Input height (64) doesn't match model (224).")

    with pytest.raises(ModelError, match=r"images of 64x64 \(Input height \(64\).*the encoder was made for"):
        _try_size(OfOneSize(3, 1, 1), torch.zeros(3, 64, 64), tiny_recipe())


def test_images_without_the_recipes_sequences_are_refused(toy: tuple[DecodedDataset, Split], tmp_path: Path) -> None:
    recipe = tiny_recipe("preprocess.channels=[0, 1, 2, 3]", "model.channels=4")
    with pytest.raises(DataError, match="has 3 channels, but the recipe reads"):
        train(recipe, data=toy[0], split=toy[1], out=tmp_path / "r")


def test_patience_stops_a_run_that_no_longer_improves(
    toy: tuple[DecodedDataset, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.ThresholdCounts, "best", lambda self: (0.5, 0.25))
    recipe = tiny_recipe("epochs=9", "patience=2", "sampling.steps_per_epoch=1")
    out = train(recipe, data=toy[0], split=toy[1], out=tmp_path / "r", hardware=CPU)
    assert len(metrics(out)) == 3


def test_the_estimate_counts_every_step_and_measures_time_and_memory(toy: tuple[DecodedDataset, Split]) -> None:
    found = estimate(tiny_recipe(), data=toy[0], split=toy[1], steps=1)
    assert (found.steps_per_epoch, found.epochs) == (3, 3)
    assert found.seconds > found.seconds_per_epoch > found.seconds_per_step > 0


def test_the_estimate_of_a_training_on_all_patients_has_no_validation(toy: tuple[DecodedDataset, Split]) -> None:
    found = estimate(tiny_recipe("train_on=all"), data=toy[0], split=toy[1], steps=1)
    assert found.validation_seconds == 0
    assert found.seconds_per_epoch == found.steps_per_epoch * found.seconds_per_step > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the peak from a chosen moment on")
def test_the_estimate_does_not_count_what_was_let_go_before_its_steps(toy: tuple[DecodedDataset, Split]) -> None:
    large = np.ones(400 * 2**20, np.uint8)
    del large
    peak_so_far = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = estimate(tiny_recipe(), data=toy[0], split=toy[1], steps=1)
    assert found.memory_mib is not None
    assert 50 < found.memory_mib < peak_so_far


def test_the_estimate_augments_batches_as_training_does(
    toy: tuple[DecodedDataset, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    augmented, seen = SegmentationModule.augmented, []

    def watched(self: SegmentationModule, batch: Batch, generator: torch.Generator) -> Batch:
        seen.append(batch.slice_ids)
        return augmented(self, batch, generator)

    monkeypatch.setattr(SegmentationModule, "augmented", watched)
    estimate(tiny_recipe(), data=toy[0], split=toy[1], steps=1)
    assert len(seen) == WARMUP + 1


def test_a_proposal_is_augmented_exactly_as_its_mask(toy: tuple[DecodedDataset, Split]) -> None:
    recipe = fit_recipe(tiny_recipe("augment=reproduction"), toy[0])
    trained, (training, _) = prepare(recipe, data=toy[0], split=toy[1], fold=0)
    batch = next(iter(training))
    moved = trained.augmented(dataclasses.replace(batch, proposal=batch.mask.float()), torch.Generator().manual_seed(0))
    assert not torch.equal(moved.mask, batch.mask)
    assert moved.proposal is not None
    assert torch.equal(moved.proposal, moved.mask.float())


def test_the_learning_rate_rises_and_then_falls_to_its_final_share() -> None:
    config = OptimConfig(warmup_steps=10, final_share=0.1)
    shares = [learning_rate_share(step, 100, config) for step in range(101)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == shares[9] == 1.0
    assert all(a >= b for a, b in pairwise(shares[9:]))
    assert shares[100] == pytest.approx(0.1)


def test_one_cycle_is_torchs() -> None:
    config = OptimConfig(schedule="one-cycle", final_share=1e-3)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, pct_start=0.31, final_div_factor=1 / 1e-3 / 25, cycle_momentum=False
    )
    rates = []
    for _ in range(101):
        rates.append(theirs.get_last_lr()[0])
        optimizer.step()
        if len(rates) < 101:
            theirs.step()
    ours = [learning_rate_share(step, 100, config) for step in range(101)]
    assert ours[0] == pytest.approx(1 / 25)
    assert ours[30] == 1.0
    assert ours == pytest.approx(rates, abs=0.02)
    assert ours[100] == pytest.approx(1e-3)


def test_the_average_forgets_the_first_weights_of_a_short_run() -> None:
    update, mean = module.moving_average(0.99), [torch.zeros(1), torch.zeros(1, dtype=torch.int64)]
    for count in range(1, 101):
        update(mean, [torch.ones(1), torch.tensor([count])], torch.tensor(count))
    assert mean[0].item() > 0.999
    assert mean[1].item() == 100


def test_the_average_of_a_long_run_has_the_decay_asked_for() -> None:
    update, mean = module.moving_average(0.9), [torch.zeros(1)]
    update(mean, [torch.ones(1)], 10_000)
    assert mean[0].item() == pytest.approx(0.1)
