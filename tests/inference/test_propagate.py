"""One box is carried through the volume by the masks it leads to, until the model is unsure or sees nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from box_filler import bright_finder, filler
from prompted_runs import run_config, tiny_promptable
from segmed.core.errors import DataError
from segmed.core.image import Geometry, Image
from segmed.core.records import Record
from segmed.inference.prompt_files import Given, PromptedFiles
from segmed.inference.prompted import EncodedImage, PromptedPredictor
from segmed.inference.propagate import PropagateConfig, propagate, takes_masks
from segmed.layers.embedding import Embedding
from segmed.models.checkpoint import TrainedModel
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.promptable import Decoded
from segmed.models.training_facts import TrainingFacts
from segmed.prompts.value import Prompts

SIZE = (24, 30)
TIGHT = PropagateConfig(margin=0, pixels=1, smallest=1)


@pytest.fixture
def predictor() -> PromptedPredictor:
    return bright_finder()


def slice_with(*squares: tuple[int, int, int], level: int = 250) -> np.ndarray:
    """Squares of (top, left, side) on a dark ground; one pixel each of 10 and 255 fixes the scale."""
    pixels = np.full((*SIZE, 1), 40, np.uint8)
    pixels[0, 0], pixels[0, 1] = 10, 255
    for top, left, side in squares:
        pixels[top : top + side, left : left + side] = level
    return pixels


def encoded(predictor: PromptedPredictor, *volume: np.ndarray) -> list[EncodedImage]:
    return predictor.encode_volume(volume)


def asked(slices: int, **boxes: tuple[float, ...]) -> list[Prompts]:
    """`z2=(x0, y0, x1, y1)` asks on slice 2."""
    return [Prompts(boxes=[boxes[f"z{z}"]]) if f"z{z}" in boxes else Prompts() for z in range(slices)]


DRIFTING = [slice_with((8 + z, 10 + z, 6)) for z in range(4)]


def test_a_mask_follows_an_object_that_drifts_further_than_its_first_box(predictor: PromptedPredictor) -> None:
    volume = [slice_with(), *DRIFTING, slice_with()]
    answers = propagate(predictor, encoded(predictor, *volume), asked(6, z1=(10, 8, 16, 14)), TIGHT)
    for answer, pixels in zip(answers, volume, strict=True):
        found = pixels[..., 0] == 250
        assert np.array_equal(answer.mask > 0, found)
    assert [len(answer.objects) for answer in answers] == [0, 1, 1, 1, 1, 0]


def test_both_directions_are_taken(predictor: PromptedPredictor) -> None:
    answers = propagate(predictor, encoded(predictor, *DRIFTING), asked(4, z2=(12, 10, 18, 16)), TIGHT)
    assert [int(answer.mask.sum()) for answer in answers] == [36, 36, 36, 36]


def test_nothing_is_carried_past_a_slice_where_the_object_ends(predictor: PromptedPredictor) -> None:
    volume = [DRIFTING[0], slice_with(), DRIFTING[0]]
    answers = propagate(predictor, encoded(predictor, *volume), asked(3, z0=(10, 8, 16, 14)), TIGHT)
    assert [bool(answer.mask.any()) for answer in answers] == [True, False, False]


def test_an_expected_iou_below_the_limit_stops_but_not_the_first_slice(predictor: PromptedPredictor) -> None:
    unsure = DRIFTING[0].copy()
    unsure[20, 20] = 140
    volume = encoded(predictor, unsure, unsure, DRIFTING[0])
    stopped = propagate(predictor, volume, asked(3, z0=(10, 8, 16, 14)), TIGHT)
    assert [bool(answer.mask.any()) for answer in stopped] == [True, False, False]
    going_on = PropagateConfig(margin=0, pixels=1, iou=0.0)
    assert all(answer.mask.any() for answer in propagate(predictor, volume, asked(3, z0=(10, 8, 16, 14)), going_on))


@pytest.mark.parametrize(
    ("change", "kept"), [({"furthest": 1}, [True, True, False, False]), ({"smallest": 37}, [True, False, False, False])]
)
def test_distance_and_size_stop_too(predictor: PromptedPredictor, change: dict[str, int], kept: list[bool]) -> None:
    config = PropagateConfig(margin=0, pixels=1, **change)  # type: ignore[arg-type]
    answers = propagate(predictor, encoded(predictor, *DRIFTING), asked(4, z0=(10, 8, 16, 14)), config)
    assert [bool(answer.mask.any()) for answer in answers] == kept


def test_an_object_of_just_the_smallest_size_is_carried_on(predictor: PromptedPredictor) -> None:
    config = PropagateConfig(margin=0, pixels=1, smallest=36)
    answers = propagate(predictor, encoded(predictor, *DRIFTING), asked(4, z0=(10, 8, 16, 14)), config)
    assert [int(answer.mask.sum()) for answer in answers] == [36] * 4


def test_an_object_below_the_smallest_size_is_kept_where_it_was_drawn_and_not_carried(
    predictor: PromptedPredictor,
) -> None:
    config = PropagateConfig(margin=0, pixels=1, smallest=16)
    volume = encoded(predictor, slice_with((10, 10, 3)), slice_with((8, 8, 9)))
    answers = propagate(predictor, volume, asked(2, z0=(10, 10, 13, 13)), config)
    assert [int(answer.mask.sum()) for answer in answers] == [9, 0]


@pytest.mark.parametrize(("limit", "kept"), [(0.5, True), (0.51, False)])
def test_a_slice_that_shows_the_object_with_just_the_probability_is_kept(
    predictor: PromptedPredictor, monkeypatch: pytest.MonkeyPatch, limit: float, kept: bool
) -> None:
    def undecided(embedding: Embedding) -> torch.Tensor:
        return torch.zeros(len(embedding))

    monkeypatch.setattr(predictor.promptable, "presence_logits", undecided)
    config = PropagateConfig(margin=0, pixels=1, presence=limit)
    answers = propagate(predictor, encoded(predictor, *DRIFTING[:2]), asked(2, z0=(10, 8, 16, 14)), config)
    assert [bool(answer.mask.any()) for answer in answers] == [True, kept]


def test_the_furthest_slice_is_counted_in_both_directions_by_place(predictor: PromptedPredictor) -> None:
    config = PropagateConfig(margin=0, pixels=1, furthest=1)
    volume = encoded(predictor, *[DRIFTING[0]] * 5)
    answers = propagate(predictor, volume, asked(5, z2=(10, 8, 16, 14)), config, positions=[7, 8, 9, 10, 11])
    assert [bool(answer.mask.any()) for answer in answers] == [False, True, True, True, False]


def test_where_nothing_is_said_boxes_grow_by_a_tenth_and_two_pixels(predictor: PromptedPredictor) -> None:
    """From a square of 10 each side moves out by 3: an object of 17 is found to that far."""
    volume = encoded(predictor, slice_with((6, 6, 10)), slice_with((2, 2, 18)))
    answers = propagate(predictor, volume, asked(2, z0=(6, 6, 16, 16)))
    assert [int(answer.mask.sum()) for answer in answers] == [100, 16 * 16]


def test_nothing_is_carried_over_a_gap_in_the_volume(predictor: PromptedPredictor) -> None:
    prompts, volume = asked(3, z0=(10, 8, 16, 14)), encoded(predictor, *DRIFTING[:1] * 3)
    answers = propagate(predictor, volume, prompts, TIGHT, positions=[4, 5, 7])
    assert [bool(answer.mask.any()) for answer in answers] == [True, True, False]


def test_nothing_is_carried_between_slices_of_one_place(predictor: PromptedPredictor) -> None:
    prompts, volume = asked(3, z0=(10, 8, 16, 14)), encoded(predictor, *DRIFTING[:1] * 3)
    answers = propagate(predictor, volume, prompts, TIGHT, positions=[4, 4, 5])
    assert [bool(answer.mask.any()) for answer in answers] == [True, False, False]


def test_objects_go_their_own_ways_and_meet_in_one_mask(predictor: PromptedPredictor) -> None:
    first, both = (2, 2, 5), ((2, 2, 5), (12, 15, 7))
    volume = encoded(predictor, slice_with(first), slice_with(*both), slice_with(both[1]))
    prompts = asked(3, z0=(2, 2, 7, 7), z2=(15, 12, 22, 19))
    answers = propagate(predictor, volume, prompts, TIGHT)
    assert [len(answer.objects) for answer in answers] == [1, 2, 1]
    assert [int(answer.mask.sum()) for answer in answers] == [25, 25 + 49, 49]


def test_slices_of_other_sizes_or_numbers_are_refused(predictor: PromptedPredictor) -> None:
    volume = encoded(predictor, DRIFTING[0], DRIFTING[0][:-1])
    with pytest.raises(DataError, match="differ in size"):
        propagate(predictor, volume, asked(2))
    with pytest.raises(DataError, match="3 prompts for 2 slices"):
        propagate(predictor, volume, asked(3))


def test_the_mask_before_is_a_prompt_where_the_run_was_trained_with_masks() -> None:
    usual, knowing = (
        PromptedPredictor(TrainedModel(tiny_promptable(), run_config(training=facts), Path("run")), device="cpu")
        for facts in (TrainingFacts(), TrainingFacts(mask_prompts=True))
    )
    assert [takes_masks(usual), takes_masks(knowing), takes_masks(filler())] == [False, True, False]
    volume = [np.random.default_rng(seed).integers(1, 256, (40, 48, 3), np.uint8) for seed in range(2)]
    config = PropagateConfig(iou=0, presence=0, smallest=1)
    prompts = [Prompts(boxes=[(5, 5, 30, 30)]), Prompts()]
    without, with_mask = (propagate(one, one.encode_volume(volume), prompts, config) for one in (usual, knowing))
    assert np.array_equal(without[0].objects, with_mask[0].objects)
    assert len(without[1].objects) == len(with_mask[1].objects) == 1
    assert not np.array_equal(without[1].objects, with_mask[1].objects)


def test_a_presence_below_the_limit_stops() -> None:
    model = tiny_promptable()
    assert model.presence is not None
    torch.nn.init.constant_(model.presence.layers[-1].bias, -10.0)
    predictor = PromptedPredictor(TrainedModel(model, run_config(), Path("run")), device="cpu")
    volume = predictor.encode_volume([np.random.default_rng(0).integers(1, 256, (40, 48, 3), np.uint8)] * 2)
    prompts = [Prompts(boxes=[(5, 5, 30, 30)]), Prompts()]
    carried = [
        len(propagate(predictor, volume, prompts, PropagateConfig(iou=0, smallest=1, presence=least))[1].objects)
        for least in (0.0, 0.2)
    ]
    assert carried == [1, 0]


@pytest.mark.parametrize(("numbers", "reached"), [((1, 2, 3, 4), 4), ((1, 2, 4, 5), 2), ((1, 1, 1, 1), 4)])
def test_boxes_for_files_are_carried_by_what_the_files_say_of_their_order(
    predictor: PromptedPredictor, numbers: tuple[int, ...], reached: int
) -> None:
    files = [Path(f"{letter}.png") for letter in "abcd"]
    records = [Record(file.name, "p", number, file, None) for file, number in zip(files, numbers, strict=True)]
    given = {files[0]: [Given("a.png", "boxes.csv, line 2", (10.0, 8.0, 16.0, 14.0))]}
    images = [Image(pixels, Geometry(SIZE)) for pixels in DRIFTING]
    masks = PromptedFiles(predictor, given, carry=TIGHT)(records, images)
    assert [bool(mask.array.any()) for mask in masks] == [True] * reached + [False] * (4 - reached)  # type: ignore[union-attr]
    alone = PromptedFiles(predictor, given)(records, images)
    assert [bool(mask.array.any()) for mask in alone] == [True, False, False, False]  # type: ignore[union-attr]


def test_no_more_slices_are_decoded_at_a_time_than_asked(
    predictor: PromptedPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, sizes, decode = encoded(predictor, *DRIFTING), [], predictor.promptable.decode

    def counted(embedding: Embedding, prompts: ObjectPrompts) -> Decoded:
        sizes.append(len(embedding))
        return decode(embedding, prompts)

    monkeypatch.setattr(predictor.promptable, "decode", counted)
    answers = propagate(predictor, volume, asked(4, z2=(12, 10, 18, 16)), TIGHT, batch_size=2)
    assert max(sizes) == 2
    assert [int(answer.mask.sum()) for answer in answers] == [36, 36, 36, 36]
