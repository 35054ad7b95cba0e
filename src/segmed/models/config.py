"""Which network: a value that is saved with the weights and builds it again."""

from segmed.core.config import config_dataclass
from segmed.core.errors import ConfigError
from segmed.layers.featup import Upsampler
from segmed.layers.gafl import GaflConfig
from segmed.models.families import FAMILIES
from segmed.models.sam_config import SamConfig

DENSE_DEFAULTS = ("efficientnet-b5", "imagenet")

WIDTHS = ("unet", "unetplusplus", "manet")
"""Architectures whose decoder has a width for each of its blocks (`decoder_channels`)."""


@config_dataclass
class ModelConfig:
    """A network of the zoo."""

    name: str = "unet"
    """A name of `segmed.models.zoo.model_names`, such as unet, unetplusplus, pan, deeplabv3 or deeplabv3plus."""
    encoder: str = ""
    """An encoder of segmentation_models_pytorch, or `tu-` and any timm model; SAM's ViTs have their own.
    Left empty it becomes efficientnet-b5, or what `FAMILIES` has for the model."""
    encoder_weights: str = ""
    """Pre-trained weights: `none` starts from random ones. Dense models and sam-tiny: by name, such as imagenet
    (where left empty, but for sam-tiny), or a safetensors file of the encoder's (see `encoder_weights.py`).
    SAM and MedSAM: `hub` (where left empty), hf:owner/name of the hub, a folder or a file, for all parts."""
    channels: int = 3
    """Input channels: `preprocess.channels` of each slice that the network sees. Where these are not set, training
    takes all that the data have."""
    labels: int = 1
    """Foreground labels: the number of output channels."""
    decoder_channels: tuple[int, ...] | None = None
    """Channels of the decoder's blocks, the coarsest first, for unet, unetplusplus and manet; None is the
    architecture's own: 256, 128, 64, 32, 16. Half of that is a slim decoder."""
    upsampler: Upsampler = "interpolate"
    """How the decoder of unet and unetplusplus upsamples its maps: `interpolate` is the architecture's own, `jbu` is
    FeatUp's, guided by the image; `jbu-constant` and `bilinear-control` are the controls of that."""
    box_channel: bool = False
    """A dense model with a drawn box as a further input channel, trained and prompted like a promptable one."""
    sam: SamConfig | None = None
    """What belongs to promptable models alone; None is its defaults for those, and right for all others."""
    gafl: GaflConfig | None = None
    """A learned filter of frequencies (GAFL), on the input unless its `place` says otherwise; None has none."""

    @property
    def takes_prompts(self) -> bool:
        """Whether the network can be asked with prompts: a promptable one, or one with a box channel."""
        return self.name in FAMILIES or self.box_channel

    def __post_init__(self) -> None:
        """Put the model's own encoder and weights where nothing is said, and refuse numbers that no network has."""
        row = FAMILIES.get(self.name)
        encoder, weights = DENSE_DEFAULTS if row is None else (row.encoder, row.weights)
        object.__setattr__(self, "encoder", self.encoder or encoder)
        weights = self.encoder_weights or weights
        object.__setattr__(self, "encoder_weights", "none" if weights.lower() == "none" else weights)
        if self.channels < 1 or self.labels < 1:
            raise ConfigError(f"channels and labels must be at least 1, got {self.channels} and {self.labels}.")
        if self.decoder_channels is not None and (not self.decoder_channels or min(self.decoder_channels) < 1):
            raise ConfigError(f"decoder_channels are numbers of at least 1, got {list(self.decoder_channels)}.")
