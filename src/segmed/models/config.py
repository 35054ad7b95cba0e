"""Which network: a value that is saved with the weights and builds it again."""

from segmed.core.config import config_dataclass
from segmed.core.errors import ConfigError
from segmed.layers.gafl.config import GaflConfig
from segmed.layers.raising import Upsampler
from segmed.models.sam.config import SamConfig


@config_dataclass
class ModelConfig:
    """A network of the zoo."""

    name: str = "unet"
    """A name from `segmed.models.zoo.MODELS`, such as unet, unetplusplus, pan, deeplabv3 or deeplabv3plus."""
    encoder: str = "efficientnet-b5"
    """An encoder of segmentation_models_pytorch, or `tu-` and any timm model."""
    encoder_weights: str = "imagenet"
    """Pre-trained encoder weights by name, fetched from the hub once; `none` starts from random weights."""
    channels: int = 3
    """Input channels."""
    labels: int = 1
    """Foreground labels: the number of output channels."""
    upsampler: Upsampler = "interpolate"
    """How the decoder of unet and unetplusplus raises its maps: `interpolate` is the architecture's own, `jbu` is
    FeatUp's, guided by the image; `jbu-constant` and `bilinear-control` are the controls of that."""
    box_channel: bool = False
    """A dense model with a drawn box as a further input channel, trained and asked like a promptable one."""
    sam: SamConfig | None = None
    """What belongs to promptable models alone; None is its defaults for those, and right for all others."""
    gafl: GaflConfig | None = None
    """A learned filter of frequencies (GAFL), on the input unless its `place` says otherwise; None has none."""

    def __post_init__(self) -> None:
        """Refuse numbers that no network has."""
        if self.channels < 1 or self.labels < 1:
            raise ConfigError(f"channels and labels must be at least 1, got {self.channels} and {self.labels}.")
