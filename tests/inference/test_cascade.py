"""A cascade refines what its dense run proposes where the promptable run is sure, and is the dense run elsewhere."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from box_filler import PLAIN, config_of, filler, half_finder
from prompted_runs import run_config, save_prompted_run
from segmed.core.errors import ModelError, SplitError
from segmed.inference import PatientSlices, load
from segmed.inference.cascade import (
    NEVER,
    CascadeConfig,
    CascadePredictor,
    at_half,
    join,
    joined_mask,
    save_cascade,
)
from segmed.models.checkpoint import RunConfig, save_run
from segmed.models.config import ModelConfig
from segmed.models.prediction import PredictionConfig
from segmed.models.zoo import build_model
from segmed.prompts.proposals import ProposeConfig, propose

SIZE = (20, 26)
SEEN = {"train": ["t"]}


def image(*squares: tuple[slice, slice]) -> np.ndarray:
    pixels = np.full((*SIZE, 1), 40, np.uint8)
    pixels[0, 0] = 10
    for rows, columns in squares:
        pixels[rows, columns] = 250
    return pixels


LARGE, SMALL = (slice(3, 11), slice(4, 14)), (slice(15, 17), slice(20, 23))
BOTH, EMPTY = image(LARGE, SMALL), image()


def mask_of(*squares: tuple[slice, slice]) -> np.ndarray:
    return image(*squares)[..., 0] == 250


def cascade(promptable=None, dense=None, **settings: object) -> CascadePredictor:
    chosen = CascadeConfig(**{"min_pixels": 1, "margin": 0.0, **settings})  # type: ignore[arg-type]
    return join(dense or half_finder(), promptable or filler(), chosen, Path("cascade"))


def test_the_promptable_runs_masks_take_the_place_of_the_components() -> None:
    masks = cascade().predict_volume([BOTH, EMPTY])
    assert np.array_equal(masks[0].array > 0, mask_of(LARGE, SMALL))
    assert not masks[1].array.any()


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.98])
def test_with_a_gate_that_never_opens_the_dense_masks_stand(threshold: float) -> None:
    dense = half_finder(threshold=threshold)
    volume = [BOTH, EMPTY]
    ours, theirs = cascade(dense=dense, gate=NEVER).predict_volume(volume), dense.predict_volume(volume)
    assert all(np.array_equal(one.array, other.array) for one, other in zip(ours, theirs, strict=True))
    assert theirs[0].array.any()


def test_where_the_expected_iou_is_below_the_gate_the_dense_mask_stands() -> None:
    unsure = filler(sureness=0.5)
    assert np.array_equal(cascade(unsure, gate=0.9).predict(BOTH).array, half_finder().predict(BOTH).array)


def test_small_components_are_left_as_they_are() -> None:
    mask = cascade(min_pixels=10).predict(BOTH).array > 0
    assert mask[LARGE].all()
    assert np.array_equal(mask[SMALL], half_finder().predict(BOTH).array[SMALL] > 0)


def test_a_false_alarm_is_taken_back_where_the_promptable_run_is_sure_of_nothing() -> None:
    assert not cascade(filler(answer=-20.0)).predict(BOTH).array.any()


def test_what_is_too_faint_for_the_dense_run_is_proposed_too_and_stands_only_if_refined() -> None:
    dense = half_finder(threshold=0.99)  # its probabilities reach 0.982
    assert not cascade(dense=dense, share=1.0).predict(BOTH).array.any()
    assert np.array_equal(cascade(dense=dense, share=0.5).predict(BOTH).array > 0, mask_of(LARGE, SMALL))
    assert not cascade(filler(sureness=0.5), dense, share=0.5, gate=0.9).predict(BOTH).array.any()


def test_boxes_are_given_with_their_margin() -> None:
    mask = cascade(margin=0.25, min_pixels=10).predict(image((slice(3, 11), slice(4, 12)))).array > 0
    assert np.array_equal(mask, mask_of((slice(1, 13), slice(2, 14))))  # 8 x 8, two pixels more at every side


def test_slices_are_answered_alike_alone_and_with_others_and_by_the_whole_volumes_statistics() -> None:
    some = cascade()
    together = some.probabilities([EMPTY, BOTH, BOTH], batch_size=2)
    alone = some.probabilities(PatientSlices([BOTH], whole=[EMPTY, BOTH, BOTH]))
    np.testing.assert_array_equal(alone[0], together[1])
    assert together[0].shape == (1, *SIZE)


def test_the_mask_by_which_settings_are_chosen_is_the_predictors() -> None:
    dense, promptable, rng = half_finder(threshold=0.3), filler(threshold=0.6), np.random.default_rng(0)
    noisy = rng.integers(0, 256, (*SIZE, 1), np.uint8)
    predictor = cascade(promptable, dense, min_pixels=4, gate=0.5)
    probability = dense.probabilities([noisy])[0][0]
    found = propose(probability, ProposeConfig(probability=0.3, min_pixels=4, margin=0))
    answer = promptable.decode(promptable.encode(noisy), found.prompts("box", promptable.encode(noisy).grid))
    expected = joined_mask(probability >= 0.3, found, answer.masks, answer.iou >= 0.5)
    assert len(found) > 1
    assert np.array_equal(predictor.predict(noisy).array > 0, expected)


def test_moved_probabilities_reach_half_exactly_where_the_threshold_was_reached() -> None:
    for threshold in (0.0, 0.05, 0.3, 0.5, 0.95, 1.0):
        near = np.float32(threshold)
        values = np.array([0, 1e-9, np.nextafter(near, np.float32(0)), near, np.nextafter(near, np.float32(1)), 1])
        probability = np.sort(values.astype(np.float32))
        moved = at_half(probability, threshold)
        assert ((moved >= 0.5) == (probability >= threshold)).all()
        assert (np.diff(moved) >= 0).all()
        assert moved.min() >= 0
        assert moved.max() <= 1
    np.testing.assert_allclose(at_half(np.float32([0.2, 0.7]), 0.5), [0.2, 0.7], rtol=1e-6)


def test_runs_of_other_data_or_splits_are_not_joined() -> None:
    with pytest.raises(ModelError, match="another split or another fold"):
        cascade(filler(split_hash="a"), half_finder(split_hash="b"))
    with pytest.raises(ModelError, match=r"filler: reads volumes along preprocess.plane acquired, half along coronal"):
        cascade(filler(), half_finder(preprocess=replace(PLAIN, plane="coronal")))
    with pytest.raises(ModelError, match="takes no prompts"):
        join(half_finder(), half_finder(), CascadeConfig(), Path("cascade"))


REMOVED = {"smallest_in_slice": 20, "smallest_in_volume": 20, "smallest_share": 0.1}


@pytest.mark.parametrize("removal", REMOVED)
@pytest.mark.parametrize("gate", [0.0, NEVER])
def test_the_joined_mask_loses_the_small_components_that_its_dense_run_removes(removal: str, gate: float) -> None:
    chosen = PredictionConfig(**{removal: REMOVED[removal]})  # type: ignore[arg-type]
    dense = half_finder(prediction=chosen)
    predictor = cascade(dense=dense, gate=gate)
    first, second = (mask.array > 0 for mask in predictor.predict_volume([BOTH, EMPTY]))
    assert np.array_equal(first, mask_of(LARGE) if gate == 0 else dense.predict(BOTH).array > 0)
    assert not first[SMALL].any()
    assert not second.any()
    assert predictor.config.prediction == chosen


def test_a_cascade_has_seen_whatever_either_run_has() -> None:
    config = cascade(filler(seen={"train": ["b"]}), half_finder(seen={"train": ["a"], "validation": ["v"]})).config
    assert config.seen == {"train": ["a", "b"], "validation": ["v"]}
    assert len(config.networks) == 2
    assert config_of(leaking=True).leaking


def test_a_run_that_does_not_say_what_it_has_seen_is_not_joined() -> None:
    with pytest.raises(SplitError, match="filler: does not say which patients it was trained on"):
        cascade(filler(seen={}), half_finder(seen=SEEN))


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    model = ModelConfig(name="unet", encoder="tu-test_efficientnet", encoder_weights="none")
    dense = RunConfig(model, run_config().preprocess, run_config().labels, threshold=0.5, seen=SEEN)
    save_run(tmp_path / "dense", build_model(model).eval(), dense)
    return tmp_path / "dense", save_prompted_run(tmp_path / "sam", seen=SEEN)


def test_a_saved_cascade_is_loaded_with_its_runs_and_refuses_others(runs: tuple[Path, Path], tmp_path: Path) -> None:
    settings = CascadeConfig(margin=0.2, prompts="box+point+mask", gate=0.0)
    for name, copy in (("lean", False), ("whole", True)):
        save_cascade(tmp_path / name, *runs, settings, {"dice": 0.5}, copy=copy)
    loaded = load(tmp_path / "lean", device="cpu")
    assert isinstance(loaded, CascadePredictor)
    assert loaded.settings == settings
    pixels = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)
    expected = loaded.probabilities([pixels])[0]
    shutil.move(tmp_path / "whole", tmp_path / "elsewhere")
    shutil.rmtree(runs[1])
    np.testing.assert_array_equal(load(tmp_path / "elsewhere", device="cpu").probabilities([pixels])[0], expected)
    with pytest.raises(ModelError, match="sam: a run of the cascade that is not there"):
        load(tmp_path / "lean", device="cpu")
    save_prompted_run(runs[1], seen=SEEN)
    (runs[1] / "model.safetensors").write_bytes((runs[0] / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"sam.model\.safetensors: weights are not those that were saved"):
        load(tmp_path / "lean", device="cpu")
