"""How a system is tested: a plain table from what it is given to the function that scores it.

A row whose way of being judged is not in the table is declared and said to be missing; adding a function here, and
what the network needs to the row's `changes`, is all it takes to have it trained and scored.
"""

from collections.abc import Callable

from segmed.data.decoded import DecodedDataset
from segmed.evaluation.result import Evaluation
from segmed.evaluation.run import Plan, evaluate_run
from segmed.inference import VolumePredictor

Judge = Callable[[VolumePredictor, DecodedDataset, Plan, str, int], Evaluation]
"""From predictor, data, plan, the row's name and the number of bootstrap resamples to scores."""


def image_alone(predictor: VolumePredictor, data: DecodedDataset, plan: Plan, name: str, resamples: int) -> Evaluation:
    """The patient's images and nothing else, as a user has them."""
    return evaluate_run(predictor, data, plan, name=name, resamples=resamples)


JUDGES: dict[str, Judge] = {"image alone": image_alone}
