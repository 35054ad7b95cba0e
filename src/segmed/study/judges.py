"""How a system is tested: a plain table from what it is given to the function that scores it.

A row whose way of being judged is not in the table is declared and said to be missing; adding a function here is all
it takes to have it scored.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from segmed.core.errors import ConfigError
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.result import Evaluation
from segmed.evaluation.run import Plan, evaluate_run
from segmed.evaluation.tune import tune
from segmed.inference import VolumePredictor, load
from segmed.models.checkpoint import CONFIG
from segmed.models.zoo import takes_prompts
from segmed.study.systems import Judged


@dataclass(frozen=True)
class Judging:
    """What is tested on what: `prompts` says how boxes are drawn, `proposer` is the run that proposes to a cascade.

    `model` names the network, which rows that ask it in several ways share.
    """

    predictor: VolumePredictor
    data: DecodedDataset
    plan: Plan
    name: str
    model: str
    resamples: int
    prompts: str
    proposer: Path
    device: str = "auto"


Judge = Callable[[Judging], Evaluation]


def threshold_for(judged: Judged, predictor: VolumePredictor, data: DecodedDataset, plan: Plan) -> float:
    """The threshold that goes with a way of being judged: the run's own, but for a promptable run without a prompt.

    Such a run's own was chosen with boxes of the reference, which leave slices without foreground alone. Here it is
    chosen on the fold's validation patients asked as the test will be, by mean volumetric Dice.
    """
    if judged != "image alone" or not takes_prompts(predictor.config.model):
        return predictor.config.threshold
    validation = replace(plan, part="validation")
    found = tune({predictor.config.prediction.tta: predictor}, data, validation, in_slice=(), in_volume=())
    return found.best.threshold


def image_alone(asked: Judging) -> Evaluation:
    """The patient's images and nothing else, as a user has them."""
    return evaluate_run(asked.predictor, asked.data, asked.plan, name=asked.name, resamples=asked.resamples)


def boxes_of_the_reference(asked: Judging) -> Evaluation:
    """Boxes drawn from the reference: an oracle."""
    from segmed.evaluation.asking import parse_askings
    from segmed.evaluation.prompted import evaluate_prompts
    from segmed.inference.prompted import PromptedPredictor

    if not isinstance(asked.predictor, PromptedPredictor):
        raise ConfigError(f"{asked.name}: takes no prompts, so it cannot be judged with boxes.")
    askings = parse_askings(asked.prompts)
    (found,) = evaluate_prompts(
        asked.predictor, asked.data, asked.plan, askings, name=asked.model, resamples=asked.resamples
    )
    return replace(found, name=asked.name)


def floors_of_the_boxes(asked: Judging) -> list[Evaluation]:
    """What the same boxes are worth without a look at the image."""
    from segmed.evaluation.asking import parse_askings
    from segmed.evaluation.box_floors import box_floor_evaluations

    (asking,) = parse_askings(asked.prompts)
    return box_floor_evaluations(asked.data, asked.plan, asking, resamples=asked.resamples)


def boxes_of_another_model(asked: Judging) -> Evaluation:
    """A cascade with the proposing run of the same fold, chosen on the fold's validation patients."""
    from segmed.evaluation.tune_cascade import tune_cascade
    from segmed.inference.cascade import join
    from segmed.inference.prompted import PromptedPredictor

    if not isinstance(asked.predictor, PromptedPredictor):
        raise ConfigError(f"{asked.name}: takes no prompts, so it cannot refine another model.")
    if not (asked.proposer / CONFIG).is_file():
        raise ConfigError(f"{asked.name}: the U-Net of its fold is not trained. Add the row unet, or resume later.")
    dense = load(asked.proposer, device=asked.device)
    cases = asked.plan.split.fold(asked.plan.fold).part("validation")
    choice = tune_cascade(dense, asked.predictor, asked.data, cases)
    cascade = join(dense, asked.predictor, choice.settings, asked.predictor.folder)
    return evaluate_run(cascade, asked.data, asked.plan, name=asked.name, resamples=asked.resamples)


FLOORS: dict[str, Callable[[Judging], list[Evaluation]]] = {"boxes of the reference": floors_of_the_boxes}
"""Floors that belong to a way of testing; those of images alone are a fold's, the same for all rows."""
JUDGES: dict[str, Judge] = {
    "image alone": image_alone,
    "boxes of the reference": boxes_of_the_reference,
    "boxes of another model": boxes_of_another_model,
}
