"""The table of losses and their settings.

All take logits and a target of the same shape, `batch labels height width`, one binary channel per foreground
label, and return a scalar; a perfect confident prediction has a loss near 0. The one exception is
`double-sigmoid`, which reproduces a mistake.
"""

import math
from collections.abc import Callable
from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import BeforeValidator
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from segmed.core.config import config_dataclass
from segmed.core.errors import ConfigError
from segmed.core.former_names import present_choice
from segmed.losses.overlap import BatchLogits, Overlap, Scalar, dice_loss, full_precision, tversky_loss

Loss = Callable[[Float[Tensor, "b k h w"], Float[Tensor, "b k h w"]], Float[Tensor, ""]]
LossName = Literal["dice-bce", "focal", "focal-dice", "tversky", "double-sigmoid"]


@config_dataclass
class LossConfig:
    """Which loss, and its numbers.

    Example:
        >>> LossConfig(name="tversky", tversky_beta=0.8).tversky_alpha
        0.3
    """

    name: Annotated[LossName, BeforeValidator(present_choice)] = "dice-bce"
    """`dice-bce` is the reproduced paper's combination for the baselines, `focal` its loss for SAM."""
    focal_gamma: float = 2.0
    """How strongly easy pixels are discounted (Lin et al. 2017, eq. 4)."""
    focal_alpha: float = 0.25
    """Weight of the foreground against the background in the focal loss; negative for none (eq. 5)."""
    focal_weight: float = 20.0
    """Weight of the focal term against Dice in `focal-dice`; SAM's is 20."""
    overlap: Overlap = "batch"
    """Whether Dice and Tversky pool their counts over a `batch`, or take `each` mask's own and average these, as SAM
    and MedSAM do: a small object then counts as much as a large one, and an empty mask costs what is predicted."""
    tversky_alpha: float = 0.3
    """Cost of false positives in the Tversky loss."""
    tversky_beta: float = 0.7
    """Cost of false negatives in the Tversky loss."""

    def __post_init__(self) -> None:
        """Refuse numbers that turn a loss into another thing."""
        for name in ("focal_gamma", "focal_weight", "tversky_alpha", "tversky_beta"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigError(f"loss.{name} is a number of at least 0, got {value}.")
        if 0 < self.focal_gamma < 1:  # the slope of (1 - p)^gamma is infinite at a pixel that is surely right
            raise ConfigError(f"loss.focal_gamma is 0 or at least 1, got {self.focal_gamma}.")
        if not self.focal_alpha <= 1:
            raise ConfigError(f"loss.focal_alpha is at most 1, and negative for no weights, got {self.focal_alpha}.")


def dice_bce(logits: BatchLogits, target: BatchLogits, config: LossConfig) -> Scalar:
    """Dice plus binary cross-entropy, equally weighted."""
    return dice_loss(logits, target, overlap=config.overlap) + functional.binary_cross_entropy_with_logits(
        logits, target
    )


def focal(logits: BatchLogits, target: BatchLogits, config: LossConfig) -> Scalar:
    """The focal loss, averaged over pixels."""
    return sigmoid_focal_loss(logits, target, alpha=config.focal_alpha, gamma=config.focal_gamma, reduction="mean")


def focal_dice(logits: BatchLogits, target: BatchLogits, config: LossConfig) -> Scalar:
    """Focal and Dice in SAM's proportion, 20 to 1 (Kirillov et al. 2023, appendix A)."""
    return config.focal_weight * focal(logits, target, config) + dice_loss(logits, target, overlap=config.overlap)


def tversky(logits: BatchLogits, target: BatchLogits, config: LossConfig) -> Scalar:
    """The Tversky loss; misses cost more than false alarms by default."""
    return tversky_loss(logits, target, alpha=config.tversky_alpha, beta=config.tversky_beta, overlap=config.overlap)


def double_sigmoid(logits: BatchLogits, target: BatchLogits, config: LossConfig) -> Scalar:
    """The reproduced paper's mistake, for re-running its table only: sigmoid is applied twice.

    Its model ends in a sigmoid and its Dice + BCE apply another, so that a perfect mask becomes 0.5 and 0.731
    and its loss is 1.66 on LGG, while an empty prediction has 1.673: the whole useful range is 0.013 wide.
    """
    probabilities = logits.sigmoid()
    dice = dice_loss(probabilities, target, smooth=0.0)
    return dice + functional.binary_cross_entropy_with_logits(probabilities, target)


LOSSES: dict[str, Callable[[BatchLogits, BatchLogits, LossConfig], Scalar]] = {
    "dice-bce": dice_bce,
    "focal": focal,
    "focal-dice": focal_dice,
    "tversky": tversky,
    "double-sigmoid": double_sigmoid,
}


def build_loss(config: LossConfig) -> Loss:
    """The configured loss.

    Args:
        config: Its name and numbers.

    Returns:
        A function of logits and target, both floating, `batch labels height width`, target from 0 to 1. It gives one
        number, computed in float32 where these are of half precision.

    Example:
        >>> import torch
        >>> loss = build_loss(LossConfig(name="focal-dice"))
        >>> target = torch.zeros(1, 1, 4, 5)
        >>> target[..., 1:3, 1:3] = 1
        >>> loss(20 * (2 * target - 1), target) < 0.001
        tensor(True)
    """
    function = LOSSES[config.name]

    def loss(logits: BatchLogits, target: BatchLogits) -> Scalar:
        return function(full_precision(logits), full_precision(target), config)

    return loss
