"""The layer: image -> half-spectrum -> mode -> image.

Where it differs from the reference (cviaai/GAFL@2962aa5 models/adaptive_layer.py, MIT), and why:

- The FFT runs over height and width. The reference's `rfftn` also runs over channels, so its weights belong to
  frequencies across the channels and not to sequences, and a channel given twice makes exact zeros in the spectrum.
- Any size, odd ones too; the reference builds its weights for one size and loses a column of an odd width.
- Gains are `exp` of weights that start at 0. `relu(w)` has no gradient once `w` is negative; the biases of the
  reference's general mode start at `relu(0)` and never learn; its phase, clamped at 0, dies in the first step.
- Gains are bounded (`modes.MAX_LOG_GAIN`), and every activation leaks (`modes.LEAK`): nothing overflows, and no band is
  lost for good behind a threshold or on a plateau.
- General starts as the identity for every activation, the reference for relu and nearly for softplus, swish and mish.
- Amplitudes are taken relative to their mean. Unscaled they reach 1e5 and any bounded activation erases the image.
- The square root is kept from 0, where its gradient is infinite and the reference's becomes nan.
- A phase is odd over the frequencies, as it must be for a real image; the reference leaves that to `irfft`.
- The layer adds the change to the image, so at the start it returns the image itself, in any precision.
- float32 (float64 for double images) inside, whatever the autocast: half precision overflows at frequency 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from segmed.core.errors import ModelError
from segmed.layers.gafl.adaptive import RadialAdaptation
from segmed.layers.gafl.control import ConvolutionControl
from segmed.layers.gafl.modes import (
    ACTIVATIONS,
    ADAPTIVE,
    General,
    LinearMode,
    Phase,
    SpectrumGain,
    SpectrumLog,
)
from segmed.layers.gafl.paired import filtered_in_pairs
from segmed.layers.gafl.parametrisations import BANDS, IMAGE_SIZE, PARAMETRISATIONS, RANK, NewField, field_maker
from segmed.layers.gafl.transforms import Images, filtered, through_spectrum


@dataclass(frozen=True)
class Parts:
    """What a mode is built from; each takes what it needs."""

    channels: int
    new_field: NewField
    adaptation: RadialAdaptation | None
    activation: str


MODES: dict[str, Callable[[Parts], nn.Module]] = {
    "spectrum": lambda parts: SpectrumGain(parts.new_field, parts.adaptation),
    "spectrum-log": lambda parts: SpectrumLog(parts.new_field, parts.adaptation),
    "phase": lambda parts: Phase(parts.new_field),
    "general": lambda parts: General(parts.new_field, parts.channels, parts.activation),
    "convolution-control": lambda parts: ConvolutionControl(parts.channels),
}
"""How each of `modes.ModeName` is built."""


def refusal(mode: str, *, adaptive: bool) -> str | None:
    """What is wrong with a mode that is to follow the image; None where nothing is."""
    if adaptive and mode not in ADAPTIVE:
        return f"Adaptive gains exist for the modes {' and '.join(ADAPTIVE)}, not for {mode}."
    return None


class GAFL(nn.Module):
    """A learned filter of the frequencies of every channel, the identity at the start.

    Args:
        channels: of the image or of the feature map.
        mode: one of `MODES`.
        parametrisation: one of `PARAMETRISATIONS`: how a number for every frequency is written; not for the control.
        activation: of mode general, one of `ACTIVATIONS`.
        bands: numbers per channel of radial; also those that `adaptive` sees.
        rank: of lowrank.
        size: (height, width) whose frequencies free and lowrank hold; others are interpolated. All weights
            train at sizes of more than half of it; at others, some lie between the image's frequencies and never do.
        padding: pixels of reflection added on every side, against the wrap-around of the FFT; 0 for none.
        adaptive: gains that also follow the image (modes spectrum and spectrum-log).

    Raises `ModelError` for a combination that does not exist.

    Example:
        >>> import torch
        >>> layer, image = GAFL(3), torch.randn(2, 3, 40, 33)
        >>> torch.allclose(layer(image), image, atol=1e-4)
        True
    """

    def __init__(
        self,
        channels: int,
        mode: str = "spectrum",
        parametrisation: str = "radial",
        *,
        activation: str = "relu",
        bands: int = BANDS,
        rank: int = RANK,
        size: tuple[int, int] = IMAGE_SIZE,
        padding: int = 0,
        adaptive: bool = False,
    ) -> None:
        super().__init__()
        _require("mode", mode, tuple(MODES))
        _require("parametrisation", parametrisation, PARAMETRISATIONS)
        _require("activation", activation, tuple(ACTIVATIONS))
        _require_counts(channels=channels, bands=bands - 1, rank=rank, height=size[0] - 1, width=size[1] - 1)
        refused = refusal(mode, adaptive=adaptive)
        if refused is not None:
            raise ModelError(refused)
        self.channels, self.mode_name, self.padding, self.adaptive = channels, mode, padding, adaptive
        adaptation = RadialAdaptation(bands) if adaptive else None
        new_field = field_maker(parametrisation, channels, bands=bands, rank=rank, size=size)
        parts = Parts(channels, new_field, adaptation, activation)
        self.mode = MODES[mode](parts)
        self.linear = isinstance(self.mode, LinearMode) and not adaptive
        """Whether the filter is the same for every image, so that it has a response."""

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Filter `image`; the result has its dtype. Raises `ModelError` for other channels and for images too small."""
        self._require_image(image)
        in_pairs = self.linear and len(image) > 1
        change = self._change_in_pairs if in_pairs else through_spectrum(self.mode)
        return filtered(image, self.padding, change)

    @torch.no_grad()
    def response(self, height: int, width: int) -> Complex[Tensor, "c h f"]:
        """The factor on every frequency of the half-spectrum of an image of this size.

        Raises `ModelError` if it depends on the image.
        """
        if not self.linear:
            raise ModelError(
                f"The filter of {'an adaptive' if self.adaptive else f'a {self.mode_name}'} layer depends on the "
                "image: it has no response. Compare an image's spectra before and after it."
            )
        return 1 + torch.view_as_complex(cast("LinearMode", self.mode).change(height, width, torch.float32))

    def _change_in_pairs(self, image: Images) -> Images:
        mode = cast("LinearMode", self.mode)
        response = mode.change(image.shape[-2], image.shape[-1], image.dtype)
        return filtered_in_pairs(image, response[..., :1] if mode.real else response)

    def _require_image(self, image: Tensor) -> None:
        if image.shape[1] != self.channels:
            raise ModelError(f"GAFL was made for {self.channels} channels, got an image of {image.shape[1]}.")
        height, width = image.shape[-2:]
        if self.padding >= min(height, width):
            raise ModelError(f"GAFL cannot reflect {self.padding} pixels of an image of {height} x {width}; pad less.")

    def extra_repr(self) -> str:
        return f"channels={self.channels}, mode={self.mode_name}, padding={self.padding}"


def _require(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ModelError(f"Unknown {what} {name!r} of GAFL. Choose one of: {', '.join(known)}.")


def _require_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ModelError(
                f"GAFL needs at least 1 channel, 1 rank, 2 bands and a size of 2 x 2; {name} is too small."
            )
