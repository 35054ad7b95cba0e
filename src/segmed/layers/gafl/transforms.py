"""From an image to its half-spectrum and back, orthonormal, over height and width: by FFT, or by matrix products.

A spectrum is real, `b c h f 2`, its last axis the real and the imaginary part: exporters know no complex numbers.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmed.layers.gafl.frequencies import multiplicity

Images = Float[Tensor, "b c h w"]
Spectrum = Float[Tensor, "b c h f 2"]


class Transform(nn.Module, ABC):
    """A pair of transforms, each the other's inverse."""

    @abstractmethod
    def spectrum(self, image: Images) -> Spectrum:
        """The half-spectrum of an image."""

    @abstractmethod
    def image(self, spectrum: Spectrum, height: int, width: int) -> Images:
        """The image of this size with that half-spectrum."""


class FFT(Transform):
    """`rfft2` and `irfft2`, any size."""

    def spectrum(self, image: Images) -> Spectrum:
        return torch.view_as_real(torch.fft.rfft2(image, norm="ortho"))

    def image(self, spectrum: Spectrum, height: int, width: int) -> Images:
        return torch.fft.irfft2(torch.view_as_complex(spectrum), s=(height, width), norm="ortho")


class MatrixDFT(Transform):
    """The same numbers by products with constant matrices of cosines and sines, for one size; exports to ONNX.

    Costs `2 h f (w + 2 h)` multiply-adds per channel each way, about 50 million for 256 x 256.
    """

    cos_rows: Tensor
    sin_rows: Tensor
    cos_columns: Tensor
    sin_columns: Tensor
    weights: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        for name, cosines_and_sines in (
            ("rows", _waves(height, height)),
            ("columns", _waves(width, width // 2 + 1)),
        ):
            for part, values in zip(("cos", "sin"), cosines_and_sines, strict=True):
                self.register_buffer(f"{part}_{name}", values.float())
        self.register_buffer("weights", multiplicity(width, torch.float32, torch.device("cpu")).clone())

    def spectrum(self, image: Images) -> Spectrum:
        cos, sin = self.cos_rows.to(image.dtype), self.sin_rows.to(image.dtype)
        re = image @ self.cos_columns.to(image.dtype)
        im = -(image @ self.sin_columns.to(image.dtype))
        return torch.stack((cos @ re + sin @ im, cos @ im - sin @ re), dim=-1)

    def image(self, spectrum: Spectrum, height: int, width: int) -> Images:
        re, im = spectrum.unbind(-1)
        cos, sin = self.cos_rows.to(re.dtype), self.sin_rows.to(re.dtype)
        re, im = cos @ re - sin @ im, cos @ im + sin @ re
        weights = self.weights.to(re.dtype)
        return (re * weights) @ self.cos_columns.to(re.dtype).T - (im * weights) @ self.sin_columns.to(re.dtype).T


def _waves(pixels: int, columns: int) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
    """cos and sin of 2 pi n k / pixels, orthonormal, in float64; the phase is reduced in integers first."""
    steps = torch.outer(torch.arange(pixels), torch.arange(columns)) % pixels
    angle = steps.to(torch.float64) * (2 * math.pi / pixels)
    return angle.cos() / math.sqrt(pixels), angle.sin() / math.sqrt(pixels)


def filtered(image: Images, padding: int, change: Callable[[Images], Images]) -> Images:
    """`image` plus the `change` that a filter makes of it; in its dtype, computed in float32 or 64.

    `padding` pixels are reflected on every side before, and cut off after.
    """
    with torch.autocast(image.device.type, enabled=False):
        padded = image if image.dtype == torch.float64 else image.float()
        if padding:
            padded = nn.functional.pad(padded, (padding,) * 4, mode="reflect")
        height, width = padded.shape[-2:]
        changed = change(padded)
        if padding:
            changed = changed[..., padding : height - padding, padding : width - padding]
        return changed.to(image.dtype).add_(image)


def through_spectrum(transform: Transform, mode: Callable[[Spectrum, int], Spectrum]) -> Callable[[Images], Images]:
    """The image of the change that `mode` makes of the half-spectrum of an image, given that and the image's width."""

    def change(image: Images) -> Images:
        height, width = image.shape[-2:]
        return transform.image(mode(transform.spectrum(image), width), height, width)

    return change
