"""A row of the paper's table made again."""

from dataclasses import dataclass

from segmed.evaluation.result import Evaluation
from segmed.reproduction.protocol import Variant
from segmed.reproduction.published import Reported


@dataclass(frozen=True)
class ReproductionRow:
    """A system under the paper's protocol: its scores, and its last losses on training and validation part."""

    name: str
    system: str
    """The system's title."""
    variant: Variant
    evaluation: Evaluation
    train_loss: float | None
    validation_loss: float | None
    reported: Reported | None = None
    """What the paper has of it; None for all other networks."""
    checked: bool = True
    """False for masks of the user's own, of which nothing tells how they were made."""

    @property
    def title(self) -> str:
        """The system's title and, unless the row is the user's own, the variant."""
        return ", ".join(filter(None, (self.system, self.variant.replace("-", " "))))

    @property
    def reported_losses(self) -> tuple[float, float] | None:
        """The paper's losses, of a row trained with its loss."""
        return self.reported.losses if self.reported and self.variant == "double-sigmoid" else None
