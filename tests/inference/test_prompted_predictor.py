"""A promptable run is encoded once and asked often; every answer lies on the image's own grid."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import segmed.inference.room as room
from box_filler import filler
from prompted_runs import SIDE, run_config, save_prompted_run, tiny_promptable
from segmed.core.errors import DataError, ModelError
from segmed.core.image import Geometry, Image
from segmed.core.labels import LabelMap
from segmed.inference import Predictor, load
from segmed.inference.prompted import PromptedPredictor
from segmed.layers.embedding import Embedding
from segmed.models.checkpoint import RunConfig, TrainedModel, save_run
from segmed.models.config import ModelConfig
from segmed.models.zoo import build_model
from segmed.preprocess import Preprocess, PreprocessConfig
from segmed.prompts.value import Prompts

SIZE = (40, 72)
BOX, OTHER = (8, 8, 40, 32), (50.5, 3, 72, 30)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> PromptedPredictor:
    loaded = load(save_prompted_run(tmp_path_factory.mktemp("prompted")), device="cpu")
    assert isinstance(loaded, PromptedPredictor)
    return loaded


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (*SIZE, 3), np.uint8)


def test_an_answer_has_the_images_size_and_one_mask_per_object(predictor: PromptedPredictor) -> None:
    answer = predictor.decode(predictor.encode(image()), Prompts(boxes=[BOX, OTHER]))
    assert answer.objects.shape == answer.masks.shape == (2, *SIZE)
    assert answer.mask.shape == SIZE
    assert answer.logits.shape == (2, *predictor.mask_cells)
    assert answer.iou.shape == (2,)
    assert np.array_equal(answer.mask, answer.probabilities[0] >= 0.4)
    assert answer.presence is not None
    assert 0 <= answer.presence <= 1


def test_more_pixels_at_a_time_than_are_run_unmeasured_are_predicted_without_a_prompt(
    predictor: PromptedPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "UNCHECKED", SIDE * SIDE)
    assert [mask.array.shape for mask in predictor.predict_volume([image()] * 3)] == [SIZE] * 3


@pytest.mark.parametrize("prompts", [None, Prompts(boxes=[BOX])], ids=["no prompt", "a box"])
def test_answers_that_are_no_numbers_are_an_error_and_no_empty_mask(prompts: Prompts | None) -> None:
    predictor = PromptedPredictor(TrainedModel(tiny_promptable(), run_config(), Path("run")), device="cpu")
    encoded = predictor.encode(image())
    damaged = replace(encoded, embedding=Embedding(tuple(level * torch.nan for level in encoded.embedding.levels)))
    with pytest.raises(ModelError, match="run: the network's answer is not a number"):
        predictor.decode(damaged, prompts)


def test_an_image_that_was_read_is_encoded_as_its_array(predictor: PromptedPredictor) -> None:
    of_array, of_image = predictor.encode(image()), predictor.encode(Image(image(), Geometry(SIZE)))
    assert torch.equal(of_array.embedding.first, of_image.embedding.first)


def test_decoding_leaves_no_trace(predictor: PromptedPredictor) -> None:
    encoded = predictor.encode(image())
    before = encoded.embedding.first.clone()
    first = predictor.decode(encoded, Prompts(boxes=[BOX]))
    predictor.decode(encoded, Prompts(boxes=[OTHER]))
    again = predictor.decode(encoded, Prompts(boxes=[BOX]))
    assert np.array_equal(first.objects, again.objects)
    assert torch.equal(encoded.embedding.first, before)


def test_all_objects_together_are_the_most_probable_of_each_pixel() -> None:
    predictor = PromptedPredictor(TrainedModel(tiny_promptable(), run_config(), Path("run")), device="cpu")
    square = np.random.default_rng(1).integers(1, 256, (SIDE, SIDE, 3), np.uint8)  # no resizing to blur the maximum
    answer = predictor.decode(predictor.encode(square), Prompts(boxes=[BOX, (30, 3, 64, 30)]))
    np.testing.assert_allclose(answer.probabilities[0], answer.objects.max(axis=0), atol=1e-6)


def test_prompts_cross_by_the_undo_of_the_preprocessing(predictor: PromptedPredictor) -> None:
    encoded = predictor.encode(image())
    inputs, undo = Preprocess(predictor.config.preprocess).apply(
        image(), Preprocess(predictor.config.preprocess).statistics([image()])
    )
    assert encoded.size == undo.original == SIZE
    assert encoded.grid.to_network(Prompts(boxes=[(0, 0, 36, 20)])) == Prompts(boxes=[(0, 0, 32, 32)])
    with torch.inference_mode():
        torch.testing.assert_close(encoded.embedding.first, predictor.promptable.encode(inputs[None]).first)


def test_without_prompts_it_predicts_as_every_model_does(predictor: PromptedPredictor) -> None:
    usual = predictor.probabilities([image()])[0]
    np.testing.assert_allclose(predictor.decode(predictor.encode(image())).probabilities, usual, atol=1e-6)
    assert np.array_equal(predictor.predict(image()).array, predictor.decode(predictor.encode(image())).mask)


def test_asking_for_nothing_gives_an_empty_mask(predictor: PromptedPredictor) -> None:
    answer = predictor.decode(predictor.encode(image()), Prompts())
    assert answer.objects.shape == (0, *SIZE)
    assert answer.probabilities.max() < 1e-6


def test_slices_of_a_volume_answer_alike_alone_and_together(predictor: PromptedPredictor) -> None:
    volume = [image(seed) for seed in range(3)]
    encoded = predictor.encode_volume(volume, batch_size=2)
    prompts = [Prompts(boxes=[BOX]), Prompts(), Prompts(points=[(5, 6), (60, 20)], point_objects=[0, 1])]
    together = predictor.decode_volume(encoded, prompts)
    alone = [predictor.decode(one, some) for one, some in zip(encoded, prompts, strict=True)]
    assert [len(answer.iou) for answer in together] == [1, 0, 2]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
        np.testing.assert_allclose(one.objects, other.objects, atol=1e-5)


def test_slices_of_different_sizes_answer_their_own_boxes_in_one_call() -> None:
    predictor = filler()
    sizes = [(6, 9), (6, 9), (8, 5), (6, 9)]
    encoded = predictor.encode_volume([np.random.default_rng(0).random((*size, 1)) for size in sizes])
    answers = predictor.decode_volume(encoded, [Prompts(boxes=[(1, 2, 1 + number, 4)]) for number in range(1, 5)])
    assert [answer.mask.shape for answer in answers] == sizes
    assert [int(answer.mask.sum()) for answer in answers] == [2, 4, 6, 8]


def test_an_answers_logits_prompt_another_one(predictor: PromptedPredictor) -> None:
    encoded = predictor.encode(image())
    first = predictor.decode(encoded, Prompts(boxes=[BOX]))
    refined = predictor.decode(encoded, Prompts(boxes=[BOX], logits=first.logits))
    assert not np.array_equal(first.logits, refined.logits)
    drawn = encoded.grid.mask_prompt(np.full((1, *SIZE), 3.0), predictor.mask_cells)
    assert predictor.decode(encoded, Prompts(logits=drawn)).masks.shape == (1, *SIZE)


def test_mask_prompts_of_another_grid_are_refused(predictor: PromptedPredictor) -> None:
    with pytest.raises(DataError, match=r"Mask prompts are \(7, 9\), but the model reads \(32, 32\)"):
        predictor.decode(predictor.encode(image()), Prompts(logits=np.zeros((1, 7, 9))))


def test_prompts_outside_the_image_are_refused(predictor: PromptedPredictor) -> None:
    with pytest.raises(DataError, match="leaves the image of 40x72"):
        predictor.decode(predictor.encode(image()), Prompts(boxes=[(0, 0, 73, 10)]))


def test_images_and_prompts_must_be_equally_many(predictor: PromptedPredictor) -> None:
    with pytest.raises(DataError, match="2 prompts for 1 images"):
        predictor.decode_volume([predictor.encode(image())], [Prompts(), Prompts()])


def test_a_model_that_takes_no_prompts_is_loaded_as_before(tmp_path: Path) -> None:
    config = ModelConfig(name="unet", encoder="tu-test_efficientnet", encoder_weights="none")
    model = build_model(config)
    save_run(tmp_path, model, RunConfig(config, PreprocessConfig(), LabelMap(), threshold=0.5))
    assert type(load(tmp_path, device="cpu")) is Predictor
    with pytest.raises(ModelError, match="unet takes no prompts"):
        PromptedPredictor(TrainedModel(model, load(tmp_path, device="cpu").config, tmp_path))


@pytest.mark.parametrize("axis", [0, 1])
def test_with_test_time_flips_a_mirrored_image_gets_the_mirrored_answer(axis: int) -> None:
    trained = TrainedModel(tiny_promptable(), run_config(), Path("run"))
    plain, flipped = (PromptedPredictor(trained, device="cpu", tta=tta) for tta in ("none", "flips"))
    square = np.random.default_rng(1).integers(1, 256, (SIDE, SIDE, 3), np.uint8)
    asked = Prompts(boxes=[BOX], points=[(20, 11)])
    mirrored = asked.mirrored((SIDE, SIDE), rows=axis == 0, columns=axis == 1)

    def unlike(predictor: PromptedPredictor) -> float:
        answer = predictor.decode(predictor.encode(square), asked)
        other = predictor.decode(predictor.encode(np.flip(square, axis)), mirrored)
        pairs = (answer.objects, other.objects), (answer.logits, other.logits)
        return max(float(np.abs(np.flip(one, axis + 1) - another).max()) for one, another in pairs)

    assert unlike(flipped) < 1e-3
    assert unlike(plain) > 1e-2


def test_images_encoded_with_and_without_flips_are_not_decoded_together() -> None:
    trained = TrainedModel(tiny_promptable(), run_config(), Path("run"))
    encoded = [PromptedPredictor(trained, device="cpu", tta=tta).encode(image()) for tta in ("none", "flips")]
    with pytest.raises(DataError, match="with and without test-time augmentation"):
        PromptedPredictor(trained, device="cpu").decode_volume(encoded)
