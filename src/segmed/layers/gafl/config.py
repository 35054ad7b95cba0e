"""A filter as a value of a recipe, saved with the weights."""

from typing import Annotated, Literal

from pydantic import Field

from segmed.core.config import config_dataclass
from segmed.core.errors import ConfigError
from segmed.layers.gafl.layer import GAFL, refusal
from segmed.layers.gafl.modes import Activation, ModeName
from segmed.layers.gafl.parametrisations import BANDS, IMAGE_SIZE, RANK, Parametrisation

Place = Literal["input", "embedding", "guidance"]


@config_dataclass
class GaflConfig:
    """A learned filter of frequencies and where it stands; see `GAFL` for the settings in detail."""

    mode: ModeName = "spectrum"
    """What is filtered: a gain, an exponent of the amplitude, the phase, or an affine curve with an activation; or its
    control, a convolution with as many numbers as radial."""
    parametrisation: Parametrisation = "radial"
    """How a number for every frequency is written: by radius alone, one by one, or as few products."""
    place: Place = "input"
    """Before the network; or, of promptable models, on the image embedding or on the guidance of FeatUp."""
    bands: Annotated[int, Field(ge=2)] = BANDS
    """Numbers per channel of radial; also what adaptive gains see of an image."""
    rank: Annotated[int, Field(ge=1)] = RANK
    """Products of lowrank."""
    size: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=2)]] | None = None
    """(height, width) whose frequencies free and lowrank hold; None is the network's own, known once the data is."""
    padding: Annotated[int, Field(ge=0)] = 0
    """Pixels of reflection on every side, against the wrap-around of the Fourier transform; 0 for none."""
    adaptive: bool = False
    """Gains that also follow the image (modes spectrum and spectrum-log)."""
    activation: Activation = "relu"
    """Of mode general."""

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        if self.mode == "convolution-control" and self.parametrisation != "radial":
            raise ConfigError("The control of a filter has no parametrisation. Leave model.gafl.parametrisation out.")
        refused = refusal(self.mode, adaptive=self.adaptive)
        if refused is not None:
            raise ConfigError(refused)


def build_gafl(config: GaflConfig, channels: int, size: tuple[int, int] = IMAGE_SIZE) -> GAFL:
    """The layer for maps of so many channels; `size` is taken where the config names none."""
    return GAFL(
        channels,
        config.mode,
        config.parametrisation,
        activation=config.activation,
        bands=config.bands,
        rank=config.rank,
        size=config.size or size,
        padding=config.padding,
        adaptive=config.adaptive,
    )
