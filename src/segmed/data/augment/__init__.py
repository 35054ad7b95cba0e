"""Random changes of image and mask together, for training only: draw first, then apply.

`PRESETS` names the recipes; `build_augment` makes one for a network size.
"""

from segmed.data.augment.config import PRESETS, AugmentConfig
from segmed.data.augment.pipeline import Augment, build_augment

__all__ = ["PRESETS", "Augment", "AugmentConfig", "build_augment"]
