"""A dense model with a box channel is trained and asked like a promptable one."""

from pathlib import Path

import numpy as np
import pytest
from runs import tiny_recipe, toy_and_split

from segmed.core.errors import ConfigError
from segmed.inference import load
from segmed.inference.prompted import PromptedPredictor
from segmed.prompts.value import Prompts
from segmed.training import Hardware, Recipe, train

BOXES = "prompting.mix={gt: 1, 'jitter:5': 1}"


def boxed_recipe(*overrides: str) -> Recipe:
    return tiny_recipe("model.box_channel=true", BOXES, *overrides)


def test_a_trained_one_takes_boxes_and_goes_without(tmp_path: Path) -> None:
    data, split = toy_and_split(tmp_path / "toy")
    run = train(boxed_recipe("epochs=1"), data=data, split=split, out=tmp_path / "run", hardware=Hardware("cpu"))
    predictor = load(run, device="cpu")
    assert isinstance(predictor, PromptedPredictor)
    slice_id = split.fold(0).test[-1]
    encoded = predictor.encode(np.array(data.image(slice_id)))  # 48 x 40: not square, and padded
    with_box = predictor.decode(encoded, Prompts(boxes=[(10, 4, 40, 30)]))
    without = predictor.decode(encoded)
    assert with_box.objects.shape == without.probabilities.shape == (1, 48, 40)
    assert not np.array_equal(with_box.probabilities, without.probabilities)
    assert predictor.predict(np.array(data.image(slice_id))).array.shape == (48, 40)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("prompting.mix={gt: 1, points: 1}", "takes no points, but prompting has 'points'"),
        ("prompting.validation=points", "takes no points"),
        ("prompting.refinements=1", "takes no mask prompts"),
        ("prompting.compare_at=mask", "Set prompting.compare_at to network"),
    ],
)
def test_a_recipe_that_asks_more_of_it_than_boxes_is_refused(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        boxed_recipe(override)
