"""2.5D: a slice with its neighbours as channels, the same in training, validation, prediction and evaluation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import tiny_recipe, toy_and_split

from segmed.core.errors import ConfigError, DataError, ModelError
from segmed.core.image import Image
from segmed.core.split import Split
from segmed.data.augment import Augment, AugmentConfig
from segmed.data.decoded import DecodedDataset
from segmed.data.loading import PreprocessedSlices
from segmed.evaluation.run import evaluate_run, plan_evaluation
from segmed.inference import PatientSlices, load
from segmed.inference.files import predict_files
from segmed.inference.inputs import find_inputs
from segmed.io import read_mask
from segmed.preprocess import Preprocess, PreprocessConfig
from segmed.training import Hardware, train

STACK = ("preprocess.neighbours=1", "model.channels=9", "epochs=1")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[DecodedDataset, Split]:
    return toy_and_split(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def run(toy: tuple[DecodedDataset, Split], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stack") / "run"
    return train(tiny_recipe(*STACK), data=toy[0], split=toy[1], out=out, hardware=Hardware("cpu"))


def slices_of_one(data: DecodedDataset, split: Split) -> list[str]:
    patient = split.patient_of[split.fold(0).test[0]]
    return [record.slice_id for record in data.dataset.records if record.patient == patient]


def test_a_training_slice_carries_its_neighbours_below_to_above(toy: tuple[DecodedDataset, Split]) -> None:
    data, split = toy
    slice_ids = slices_of_one(data, split)
    plain = PreprocessedSlices(data, slice_ids, Preprocess(PreprocessConfig()))
    stack = PreprocessedSlices(data, slice_ids, Preprocess(PreprocessConfig(neighbours=1)))
    middle, last = stack[1].image, stack[len(slice_ids) - 1].image
    assert torch.equal(middle, torch.cat([plain[0].image, plain[1].image, plain[2].image]))
    assert torch.equal(last[6:], last[3:6])
    assert torch.equal(stack[1].labels, plain[1].labels)


def test_the_predictor_feeds_the_network_what_training_did(run: Path, toy: tuple[DecodedDataset, Split]) -> None:
    data, split = toy
    slice_ids = slices_of_one(data, split)
    predictor = load(run, device="cpu")
    expected = PreprocessedSlices(data, slice_ids, Preprocess(predictor.config.preprocess))
    seen: list[torch.Tensor] = []
    predictor.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    volume = [data.image(slice_id) for slice_id in slice_ids]
    predictor.probabilities(volume, batch_size=3)
    assert torch.allclose(torch.cat(seen), torch.stack([expected[index].image for index in range(len(slice_ids))]))
    seen.clear()
    order = range(len(slice_ids))
    predictor.probabilities(PatientSlices(volume[2:3], [2], volume, order))
    assert torch.allclose(seen[0][0], expected[2].image)
    with pytest.raises(ModelError, match="Give both positions"):
        predictor.probabilities(PatientSlices(volume[2:3], whole=volume))


def test_evaluation_and_predicted_files_are_those_of_the_volume(
    run: Path, toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    data, split = toy
    predictor = load(run, device="cpu")
    scored = evaluate_run(predictor, data, plan_evaluation(run, predictor.config, data), name="stack", resamples=100)
    slice_ids = slices_of_one(data, split)
    masks = predictor.predict_volume([data.image(slice_id) for slice_id in slice_ids])
    records = data.dataset.by_slice_id()
    outcome = predict_files(predictor, find_inputs(records[slice_ids[0]].image.parent), tmp_path)
    written = {path.stem: read_mask(path, data.dataset.labels).array for path in outcome.written}
    for slice_id, mask in zip(slice_ids, masks, strict=True):
        assert np.array_equal(scored.predictions[slice_id], mask.array)
        assert np.array_equal(written[records[slice_id].image.stem], mask.array)


def test_a_single_image_stands_in_for_its_neighbours(run: Path, toy: tuple[DecodedDataset, Split]) -> None:
    predictor = load(run, device="cpu")
    image: Image | np.ndarray = toy[0].image(toy[1].fold(0).test[0])
    seen: list[torch.Tensor] = []
    predictor.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    predictor.predict(np.asarray(image))
    assert torch.equal(seen[0][:, :3], seen[0][:, 3:6])
    assert torch.equal(seen[0][:, :3], seen[0][:, 6:])


def test_a_recipe_whose_network_does_not_take_the_stack_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lists 3 sequences of 3 slices, 9 in all, but model\.channels is 3"):
        tiny_recipe("preprocess.neighbours=1", "preprocess.channels=[0,1,2]")


def test_slices_of_one_volume_on_two_grids_make_no_stack() -> None:
    preprocess = Preprocess(PreprocessConfig(neighbours=1))
    small, large = np.ones((8, 8, 3), np.uint8), np.ones((8, 9, 3), np.uint8)
    statistics = preprocess.statistics([small])
    with pytest.raises(DataError, match="differ in size"):
        preprocess.apply_stack([small, small, large], statistics)
    with pytest.raises(DataError, match="reads 1 neighbours on either side, got 1 slices"):
        preprocess.apply_stack([small], statistics)


def test_a_sequence_is_changed_alike_in_all_slices_of_a_stack() -> None:
    image = torch.rand(2, 3, 32, 32)
    config = AugmentConfig(gamma=1, gamma_range=(0.5, 2.0), brightness_contrast=1, affine=1, drop_post=1)
    config = replace(config, per_channel=True)
    augment = Augment(config, (32, 32), slices=3)
    moved, _ = augment(image.repeat(1, 3, 1, 1), torch.zeros(2, 1, 32, 32), torch.Generator().manual_seed(0))
    assert torch.equal(moved[:, :3], moved[:, 3:6])
    assert torch.equal(moved[:, 6], moved[:, 0])
    assert torch.equal(moved[:, 8], moved[:, 7])
