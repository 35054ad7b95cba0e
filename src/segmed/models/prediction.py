"""How a run's masks are made beside its threshold: chosen on validation patients, saved with the weights."""

from typing import Literal, get_args

from segmed.core.config import config_dataclass
from segmed.core.errors import ConfigError

Tta = Literal["none", "mirror", "scales", "flips", "mirror+scales"]
"""Test-time augmentation: of which images of a slice the probabilities are averaged."""
TTA_NAMES: tuple[Tta, ...] = get_args(Tta)
"""From the cheapest to the dearest."""
AT_ONE_SIZE: dict[Tta, Tta] = {
    "none": "none",
    "mirror": "mirror",
    "scales": "none",
    "flips": "flips",
    "mirror+scales": "mirror",
}
"""What of each a network that reads images of one size can do."""
ONE_SIZE_TTAS = tuple(tta for tta, same in AT_ONE_SIZE.items() if tta == same)
"""Those that such a network can do as they are."""
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Candidate thresholds: 0.05 to 0.95."""


@config_dataclass
class PredictionConfig:
    """Test-time augmentation and post-processing. The defaults change nothing."""

    tta: Tta = "none"
    """`mirror` averages the probabilities of the image and of its left-right mirror image, at twice the cost; `flips`
    those of all four mirror images, at four times. A network that never saw images upside down loses by `flips`.
    `scales` averages those of the image at the network's size and at 1.25 times it, at 2.6 times the cost;
    `mirror+scales` those of both with their mirror images, at 5.1 times. Promptable models read images of one size and
    have no scales."""
    smallest_in_slice: int = 0
    """Components of fewer pixels in a slice (8-connected) become background."""
    smallest_in_volume: int = 0
    """Components of fewer voxels in a patient's volume (26-connected) become background."""
    smallest_share: float = 0.0
    """Components in the volume below this share of the patient's largest become background; 1 keeps the largest alone,
    which suits data with one tumour a patient."""

    def __post_init__(self) -> None:
        """Refuse sizes that no component has."""
        if min(self.smallest_in_slice, self.smallest_in_volume) < 0:
            raise ConfigError(
                "smallest_in_slice and smallest_in_volume are pixels and voxels, 0 or more, got "
                f"{self.smallest_in_slice} and {self.smallest_in_volume}."
            )
        if not 0 <= self.smallest_share <= 1:
            raise ConfigError(f"smallest_share lies between 0 and 1, got {self.smallest_share}.")

    @property
    def removes(self) -> bool:
        """Whether any component may be removed."""
        return self.smallest_in_slice > 0 or self.smallest_in_volume > 0 or self.smallest_share > 0
