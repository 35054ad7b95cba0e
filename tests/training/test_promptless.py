"""A promptable run is trained, chosen, scored and applied without a prompt: learned tokens, and a head that says no."""

import numpy as np
import pytest
import torch
from runs import tiny_recipe, toy_and_split

from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.run import evaluate_run, plan_evaluation
from segmed.inference import load
from segmed.inference.prompted import PromptedPredictor
from segmed.training import Hardware, train

PROMPTLESS = (
    "model.name=sam-tiny", "model.encoder=test_efficientnet", "model.sam.size=64", "preprocess.size=[64, 64]",
    "prompting.promptless=1", "prompting.validation=none", "epochs=2", "sampling.steps_per_epoch=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[DecodedDataset, Split]:
    return toy_and_split(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def predictor(toy: tuple[DecodedDataset, Split], tmp_path_factory: pytest.TempPathFactory) -> PromptedPredictor:
    out = tmp_path_factory.mktemp("run") / "run"
    run = train(tiny_recipe(*PROMPTLESS), data=toy[0], split=toy[1], out=out, hardware=Hardware("cpu"))
    loaded = load(run, device="cpu")
    assert isinstance(loaded, PromptedPredictor)
    return loaded


def test_the_dice_and_threshold_that_training_chose_by_are_those_of_evaluation(
    predictor: PromptedPredictor, toy: tuple[DecodedDataset, Split]
) -> None:
    plan = plan_evaluation(predictor.folder, predictor.config, toy[0], part="validation")
    found = evaluate_run(predictor, toy[0], plan, name="promptless", resamples=100)
    assert found.metrics["dice"].value == pytest.approx(predictor.config.training.others["validation_dice"], abs=5e-3)
    assert found.threshold == predictor.config.threshold


def test_a_presence_head_that_says_no_empties_the_mask_and_one_that_says_yes_leaves_it(
    predictor: PromptedPredictor, toy: tuple[DecodedDataset, Split]
) -> None:
    image = np.array(toy[0].image(toy[1].fold(0).test[-1]))
    head = predictor.model.presence  # type: ignore[union-attr]
    assert head is not None
    probabilities = []
    for bias in (-30.0, 30.0):
        with torch.no_grad():
            torch.nn.init.zeros_(head.layers[-1].weight)  # type: ignore[union-attr, operator, arg-type]
            head.layers[-1].bias.fill_(bias)  # type: ignore[union-attr, operator, index]
        probabilities.append(predictor.probabilities([image])[0])
    assert probabilities[0].max() < 1e-6
    assert probabilities[1].max() > 1e-3
