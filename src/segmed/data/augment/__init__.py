"""Random changes of image and mask together, for training only: draw first, then apply.

`PRESETS` names settings, `augment_for` chooses those that suit a data set, `build_augment` makes the augmentation for a
network's size.
"""

from segmed.data.augment.choose import augment_for
from segmed.data.augment.config import AUTO, PRESETS, AugmentConfig, AugmentSetting, preset_of
from segmed.data.augment.pipeline import Augment, build_augment

__all__ = ["AUTO", "PRESETS", "Augment", "AugmentConfig", "AugmentSetting", "augment_for", "build_augment", "preset_of"]
