"""Which augmentation suits a data set, and which does not."""

from segmed.core.errors import ConfigError
from segmed.data.augment.config import PRESETS, AugmentConfig
from segmed.data.decoded import DecodedDataset
from segmed.data.layouts.lgg import is_lgg


def augment_for(data: DecodedDataset, chosen: AugmentConfig | None) -> AugmentConfig:
    """The augmentation that a recipe has `chosen`, or the preset that suits `data` where that is None.

    That is `lgg` for LGG's sequences, `colour` for pictures in colour, and `mri` for all else.

    Args:
        data: What is trained on.
        chosen: The recipe's settings; None for those that suit the data.

    Returns:
        The settings.

    Raises:
        ConfigError: The chosen ones copy LGG's sequences over each other and the data has others.
    """
    lgg = is_lgg(data.dataset)
    if chosen is None:
        return PRESETS["lgg" if lgg else "colour" if data.in_colour else "mri"]
    if chosen.drop_post > 0 and not lgg:
        raise ConfigError(
            f"augment.drop_post replaces LGG's post-contrast sequence by FLAIR, and {data.dataset.path} is other data. "
            "Set augment.drop_post=0, or augment=mri."
        )
    return chosen
