"""What may be drawn and how far: the settings of an augmentation, and the presets by name. No torch here."""

import dataclasses
import difflib
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from segmed.core.config import config_dataclass
from segmed.core.former_names import present_choice

Probability = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]


@config_dataclass
class AugmentConfig:
    """Probabilities are per sample. Every default is "never", so an empty config changes nothing.

    Intensity changes work on each sample's channel rescaled to [0, 1] by its own minimum and maximum and are
    scaled back afterwards: they mean the same for z-scored, min-max and ImageNet-normalised input.
    """

    affine: Probability = 0.0
    """Chance of a rotation, isotropic scaling and shift about the image centre."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 15.0
    """Largest rotation of the affine, in degrees, either way."""
    scale: Range = (0.85, 1.15)
    """Smallest and largest magnification of the affine."""
    shift: Probability = 0.06
    """Largest shift of the affine, as a share of height and of width, either way."""
    horizontal_flip: Probability = 0.0
    """Chance of a left-right flip."""
    vertical_flip: Probability = 0.0
    """Chance of an up-down flip."""
    rotate90: Probability = 0.0
    """Chance of a turn by 90, 180 or 270 degrees; only 180 where height and width differ."""
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of height and width kept by a random crop; what is cut away is padded back. 1 means no crop."""
    clahe: Probability = 0.0
    """Chance of contrast-limited adaptive histogram equalisation on an 8 by 8 grid of tiles."""
    clahe_limit: Range = (1.0, 4.0)
    """Smallest and largest clip limit; one is drawn for the batch."""
    brightness_contrast: Probability = 0.0
    """Chance of a linear change of intensity."""
    contrast: Probability = 0.2
    """Largest relative change of contrast, either way."""
    brightness: Probability = 0.2
    """Largest change of brightness as a share of the intensity range, either way."""
    gamma: Probability = 0.0
    """Chance of a gamma change."""
    gamma_range: Range = (0.8, 1.25)
    """Smallest and largest exponent."""
    bias_field: Probability = 0.0
    """Chance of a smooth multiplicative field, as a receive coil makes it."""
    bias_strength: Probability = 0.3
    """Standard deviation of the field's logarithm, about: 0.3 is some 30 percent brighter or darker."""
    noise: Probability = 0.0
    """Chance of additive Gaussian noise."""
    noise_level: Probability = 0.05
    """Largest standard deviation of the noise, as a share of the intensity range."""
    band_gain: Probability = 0.0
    """Chance that frequencies are raised and lowered, by a random curve over their radius."""
    band_gain_strength: Annotated[float, Field(ge=0, le=3)] = 1.1
    """Largest change of a gain's logarithm: 1.1 is a gain from 0.33 to 3."""
    ring_noise: Probability = 0.0
    """Chance of Gaussian noise whose frequencies lie in one ring, of radius 0.05 to 0.25 cycles per pixel."""
    ring_noise_level: Probability = 0.1
    """Largest standard deviation of that noise, as a share of the intensity range."""
    per_channel: bool = True
    """Draw brightness, contrast, gamma, bias field and gains of frequencies per channel: each MR sequence is a scan."""
    drop_post: Probability = 0.0
    """Chance that channel 2 (post-contrast) becomes a copy of channel 1 (FLAIR). For LGG's sequences only."""
    drop_pre: Probability = 0.0
    """Chance, given that channel 2 was dropped, that channel 0 (pre-contrast) becomes a copy as well."""


_MRI = AugmentConfig(affine=0.8, horizontal_flip=0.5, gamma=0.4, bias_field=0.5, noise=0.3)

PRESETS: dict[str, AugmentConfig] = {
    "none": AugmentConfig(),
    # The eight transforms of the reproduced paper. Its settings are not given; these are the customary ones.
    "reproduction": AugmentConfig(
        crop=0.875,
        horizontal_flip=0.5,
        vertical_flip=0.5,
        rotate90=0.75,
        clahe=0.25,
        brightness_contrast=0.5,
        gamma=0.5,
        per_channel=False,
    ),
    "mri": _MRI,
    # In LGG, 10 of 110 patients lack post-contrast, and 6 of these pre-contrast too.
    "lgg": dataclasses.replace(_MRI, drop_post=0.1, drop_pre=0.5),
    # Red, green and blue of one exposure change together, and no receive coil shades them.
    "colour": AugmentConfig(
        affine=0.8,
        horizontal_flip=0.5,
        brightness_contrast=0.3,
        gamma=0.4,
        noise=0.3,
        per_channel=False,
    ),
}


def preset_named(name: str) -> AugmentConfig:
    """The preset `name`. Raises `ValueError`, with the nearest name, for an unknown one."""
    name = present_choice(name)
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of: {', '.join(PRESETS)}."
    raise ValueError(f"Unknown augmentation preset {name!r}. {hint}")


def preset_of(config: AugmentConfig) -> str | None:
    """The name of the preset that has these very settings.

    Args:
        config: Settings.

    Returns:
        A name of `PRESETS`; None for settings of one's own.

    Example:
        >>> preset_of(PRESETS["colour"])
        'colour'
    """
    return next((name for name, preset in PRESETS.items() if preset == config), None)


def _from_preset(value: Any) -> Any:
    """Settings of a recipe: a preset's name, `auto`, or single settings, where `preset` names those to begin with."""
    if value == AUTO:
        return None
    if isinstance(value, str):
        return preset_named(value)
    if isinstance(value, dict) and "preset" in value:
        changes = {key: each for key, each in value.items() if key != "preset"}
        if value["preset"] == AUTO:
            if not changes:
                return None
            raise ValueError(
                f"it is auto, what suits the data, so {next(iter(changes))} alone cannot be changed. Say what to begin "
                f"with too: augment.preset=NAME, of {', '.join(PRESETS)}."
            )
        return dataclasses.asdict(preset_named(str(value["preset"]))) | changes
    return value


AUTO = "auto"
"""In a recipe: the preset that suits the data, see `segmed.data.augment.choose`."""
AugmentSetting = Annotated[AugmentConfig | None, BeforeValidator(_from_preset)]
"""A recipe's augmentation; None is `auto`, chosen when the data is known."""
