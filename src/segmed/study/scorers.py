"""How a system is tested: a plain table from what it is given to the function that scores it.

A row whose inputs no scorer of the table takes is declared and said to be missing; adding a function here is all
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
from segmed.models.checkpoint import CONFIG, RunConfig
from segmed.study.systems import Given


@dataclass(frozen=True)
class ScoringTask:
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


Scorer = Callable[[ScoringTask], Evaluation]


def threshold_for(given: Given, predictor: VolumePredictor, data: DecodedDataset, plan: Plan) -> float:
    """The threshold for what a system is given: the run's own, but for a promptable run without a prompt.

    Such a run's own was chosen with boxes of the reference, which leave slices without foreground alone. Here it is
    chosen on the fold's validation patients asked as the test will ask, with the same post-processing, by mean
    volumetric Dice.
    """
    config = predictor.config
    if given != "image alone" or not (isinstance(config, RunConfig) and config.model.takes_prompts):
        return predictor.config.threshold
    validation = replace(plan, part="validation")
    return tune(predictor, data, validation, ttas=[predictor.tta], components=False).best.threshold


def image_alone(task: ScoringTask) -> Evaluation:
    """The patient's images and nothing else, as a user has them."""
    return evaluate_run(task.predictor, task.data, task.plan, name=task.name, resamples=task.resamples)


def boxes_of_the_reference(task: ScoringTask) -> Evaluation:
    """Boxes drawn from the reference: an oracle."""
    from segmed.evaluation.prompt_protocols import parse_prompt_protocols
    from segmed.evaluation.prompted import evaluate_prompts
    from segmed.inference.prompted import PromptedPredictor

    if not isinstance(task.predictor, PromptedPredictor):
        raise ConfigError(f"{task.name}: takes no prompts, so it cannot be scored with boxes.")
    protocols = parse_prompt_protocols(task.prompts)
    (found,) = evaluate_prompts(
        task.predictor, task.data, task.plan, protocols, name=task.model, resamples=task.resamples
    )
    return replace(found, name=task.name)


def floors_of_the_boxes(task: ScoringTask) -> list[Evaluation]:
    """What the same boxes are worth without a look at the image."""
    from segmed.evaluation.box_floors import box_floor_evaluations
    from segmed.evaluation.prompt_protocols import parse_prompt_protocols

    (protocol,) = parse_prompt_protocols(task.prompts)
    return box_floor_evaluations(task.data, task.plan, protocol, resamples=task.resamples)


def boxes_of_another_model(task: ScoringTask) -> Evaluation:
    """A cascade with the proposing run of the same fold, chosen on the fold's validation patients."""
    from segmed.evaluation.tune_cascade import tune_cascade
    from segmed.inference.cascade import join
    from segmed.inference.prompted import PromptedPredictor

    if not isinstance(task.predictor, PromptedPredictor):
        raise ConfigError(f"{task.name}: takes no prompts, so it cannot refine another model.")
    if not (task.proposer / CONFIG).is_file():
        raise ConfigError(f"{task.name}: the U-Net of its fold is not trained. Add the row unet, or resume later.")
    dense = load(task.proposer, device=task.device)
    slice_ids = task.plan.split.fold(task.plan.fold).part("validation")
    choice = tune_cascade(dense, task.predictor, task.data, slice_ids)
    cascade = join(dense, task.predictor, choice.settings, task.predictor.folder)
    return evaluate_run(cascade, task.data, task.plan, name=task.name, resamples=task.resamples)


FLOORS: dict[str, Callable[[ScoringTask], list[Evaluation]]] = {"boxes of the reference": floors_of_the_boxes}
"""Floors that belong to a way of testing; those of images alone are a fold's, the same for all rows."""
SCORERS: dict[str, Scorer] = {
    "image alone": image_alone,
    "boxes of the reference": boxes_of_the_reference,
    "boxes of another model": boxes_of_another_model,
}
