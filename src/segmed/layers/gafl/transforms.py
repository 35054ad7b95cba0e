"""From an image to its half-spectrum and back, orthonormal, over height and width.

A spectrum is real, `b c h f 2`; its last axis is the real and the imaginary part.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

Images = Float[Tensor, "b c h w"]
Spectrum = Float[Tensor, "b c h f 2"]


def spectrum_of(image: Images) -> Spectrum:
    """The half-spectrum of an image of any size."""
    return torch.view_as_real(torch.fft.rfft2(image, norm="ortho"))


def image_of(spectrum: Spectrum, height: int, width: int) -> Images:
    """The image of this size with that half-spectrum."""
    return torch.fft.irfft2(torch.view_as_complex(spectrum), s=(height, width), norm="ortho")


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


def through_spectrum(mode: Callable[[Spectrum, int], Spectrum]) -> Callable[[Images], Images]:
    """The image of the change that `mode` makes of the half-spectrum of an image, given that and the image's width."""

    def change(image: Images) -> Images:
        height, width = image.shape[-2:]
        return image_of(mode(spectrum_of(image), width), height, width)

    return change
