"""The four modes of the paper: what each adds to the spectrum `F = A e^(i phi)` of an image.

A mode returns the change `F' - F`, so that a layer whose weights are at their start returns its image to the last bit.
Gains are `exp` of a bounded field: always positive, 1 at the start, and with a gradient everywhere.
"""

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmed.layers.gafl.adaptive import RadialAdaptation
from segmed.layers.gafl.frequencies import multiplicity
from segmed.layers.gafl.parametrisations import NewField
from segmed.layers.gafl.transforms import Spectrum

Response = Float[Tensor, "c h f 2"]

ModeName = Literal["spectrum", "spectrum-log", "phase", "general", "convolution-control"]
"""Gain; exponent of the amplitude; phase; affine with an activation; and the control, which the paper does not have."""
ADAPTIVE: tuple[ModeName, ...] = ("spectrum", "spectrum-log")
"""Modes whose field can also follow the image."""

Activation = Literal["relu", "sigmoid", "relu6", "softplus", "tanh", "swish", "mish"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "sigmoid": torch.sigmoid,
    "relu6": nn.functional.relu6,
    "softplus": nn.functional.softplus,
    "tanh": torch.tanh,
    "swish": nn.functional.silu,
    "mish": nn.functional.mish,
}
"""Of mode general; those of the reference."""

LEAK = 0.01
"""Share of the identity mixed into every activation, so that a band beyond its threshold can come back."""

FLOOR = 1e-3
"""Amplitudes are rounded off below this share of their mean, so that an empty frequency has a finite gradient."""

QUIET = 1e-12
"""Squared amplitude at which a whole image counts as empty; images are of order one."""

MAX_LOG_GAIN = 4.0
"""Gains stay between 1/55 and 55."""

MAX_LOG_EXPONENT = 1.2
"""Exponents of mode spectrum-log stay between 0.3 and 3.3: the amplitude of frequency 0 stays finite in float32."""


@runtime_checkable
class LinearMode(Protocol):
    """A mode whose filter does not depend on the image, unless it is adaptive; the other modes have no `change`."""

    real: bool
    """Whether the response has no imaginary part."""

    def change(self, height: int, width: int, dtype: torch.dtype) -> Response:
        """The complex response less 1, as real and imaginary parts."""
        ...


class SpectrumGain(nn.Module):
    """spectrum: `A' = g A`, with `g = exp(b)`."""

    real = True

    def __init__(self, new_field: NewField, adaptation: RadialAdaptation | None = None) -> None:
        super().__init__()
        self.log_gain = new_field(odd=False)
        self.adaptation = adaptation

    def forward(self, spectrum: Spectrum, width: int) -> Spectrum:
        log_gain = self.log_gain(spectrum.shape[-3], width, spectrum.dtype)
        if self.adaptation is not None:
            log_gain = log_gain + self.adaptation(spectrum, width)
        return spectrum * torch.expm1(bounded(log_gain, MAX_LOG_GAIN)).unsqueeze(-1)

    def change(self, height: int, width: int, dtype: torch.dtype) -> Response:
        gain = bounded(self.log_gain(height, width, dtype), MAX_LOG_GAIN).exp() - 1
        return torch.stack((gain, torch.zeros_like(gain)), dim=-1)


class SpectrumLog(nn.Module):
    """spectrum-log: `log(1 + A'/s) = w log(1 + A/s)`, with `w = exp(b)` and `s` the mean amplitude of the channel.

    Written as `A' - A = (s + A) (exp((w - 1) log(1 + A/s)) - 1)`, exactly 0 for `w = 1`.
    """

    def __init__(self, new_field: NewField, adaptation: RadialAdaptation | None = None) -> None:
        super().__init__()
        self.log_exponent = new_field(odd=False)
        self.adaptation = adaptation

    def forward(self, spectrum: Spectrum, width: int) -> Spectrum:
        log_exponent = self.log_exponent(spectrum.shape[-3], width, spectrum.dtype)
        if self.adaptation is not None:
            log_exponent = log_exponent + self.adaptation(spectrum, width)
        exponent = torch.expm1(bounded(log_exponent, MAX_LOG_EXPONENT))
        amplitude = relative_amplitude(spectrum, width)
        change = (1 + amplitude) * torch.expm1(exponent * torch.log1p(amplitude))
        return spectrum * (change / amplitude).unsqueeze(-1)


class Phase(nn.Module):
    """phase: `F' = e^(i theta) F`, with `theta` any real number, odd over the frequencies so that images stay real."""

    real = False

    def __init__(self, new_field: NewField) -> None:
        super().__init__()
        self.angle = new_field(odd=True)

    def forward(self, spectrum: Spectrum, width: int) -> Spectrum:
        return times(spectrum, self.change(spectrum.shape[-3], width, spectrum.dtype))

    def change(self, height: int, width: int, dtype: torch.dtype) -> Response:
        angle = self.angle(height, width, dtype)
        return torch.stack((-2 * torch.sin(angle / 2).square(), torch.sin(angle)), dim=-1)  # cos - 1, sin


class General(nn.Module):
    """general: `A' = A + s ((1 + gate) (W2 act(W1 A/s + B1) + B2) - act(A/s))`, `s` the mean amplitude of the channel.

    The paper's formula is `A' = W2 act(W1 A + B1) + B2`. Ours is a residual with a gate of zero: `T - T0`, the paper's
    curve less its own start, plus `gate T`. At the start `T = T0`, so the change is 0; its gradient to the gate is `T0`
    and to the weights that of `T`, neither of them 0, where `gate (T - T0)` or `gate T` would hold back one side. For
    relu `s act(A/s)` is `A` and this is the paper's formula; for the others a fixed curve lets it start as the
    identity. `W1` and `W2` are positive, `B1` and `B2` (in units of `s`) of either sign.
    """

    def __init__(self, new_field: NewField, channels: int, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.log_inner_gain, self.inner_bias = new_field(odd=False), new_field(odd=False)
        self.log_outer_gain, self.outer_bias = new_field(odd=False), new_field(odd=False)
        self.gate = nn.Parameter(torch.zeros(channels))

    def forward(self, spectrum: Spectrum, width: int) -> Spectrum:
        size = (spectrum.shape[-3], width, spectrum.dtype)
        w1 = bounded(self.log_inner_gain(*size), MAX_LOG_GAIN).exp()
        w2 = bounded(self.log_outer_gain(*size), MAX_LOG_GAIN).exp()
        b1, b2 = self.inner_bias(*size), self.outer_bias(*size)
        gate = self.gate.to(spectrum.dtype)[:, None, None]
        amplitude = relative_amplitude(spectrum, width)
        curve = w2 * self._leaky(w1 * amplitude + b1) + b2
        change = (1 + gate) * curve - self._leaky(amplitude)
        return spectrum * (change / amplitude).unsqueeze(-1)

    def _leaky(self, values: Tensor) -> Tensor:
        return (1 - LEAK) * self.activation(values) + LEAK * values


def bounded(values: Tensor, limit: float) -> Tensor:
    """`values` near 0, never beyond the limit."""
    return limit * torch.tanh(values / limit)


def relative_amplitude(spectrum: Spectrum, width: int) -> Float[Tensor, "b c h f"]:
    """Amplitude in units of its mean over the full spectrum of the channel, rounded off to at least `FLOOR`."""
    power = spectrum.square().sum(-1)
    often = multiplicity(width, spectrum.dtype, spectrum.device)
    mean = ((power + QUIET).sqrt() * often).sum((-2, -1), keepdim=True) / (spectrum.shape[-3] * width)
    return (power / mean.square() + FLOOR**2).sqrt()


def times(spectrum: Spectrum, response: Response) -> Spectrum:
    """The product of complex numbers."""
    (re, im), (a, b) = spectrum.unbind(-1), response.unbind(-1)
    return torch.stack((a * re - b * im, a * im + b * re), dim=-1)
