"""A filter that is the same for every image, applied to two real images at a time as one complex image.

The impulse response of such a filter is real, so filtering `a + i b` filters `a` and `b` at once: as many complex
transforms as there are pairs, in place of real ones whose half-spectra have to be packed and unpacked. On the way back
the spectra are there already: one transform of the gradient gives those of the response and, where it is asked for, of
the image. Reference: Press et al., Numerical Recipes, sec. 12.3 (FFT of two real functions simultaneously).
"""

from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

Images = Float[Tensor, "b c h w"]
Half = Float[Tensor, "c h f n"]


def filtered_in_pairs(image: Images, change: Half) -> Images:
    """What a filter of complex response `change` over the half-spectrum makes of each image.

    The response must be that of a real filter: in columns that hold their own conjugates, rows `k` and `-k` conjugate.
    Its imaginary part may be left out (`c h f 1`) where it is zero. Differentiable once.
    """
    response = whole(change, image.shape[-1])
    if not (torch.is_grad_enabled() and (image.requires_grad or response.requires_grad)):
        return _unpaired(torch.fft.ifft2(torch.fft.fft2(_paired(image)).mul_(_factor(response))), len(image))
    filtered: Tensor = _Paired.apply(image, response)
    return filtered


def whole(half: Float[Tensor, "c h f n"], width: int) -> Float[Tensor, "c h w n"]:
    """The full spectrum of a real filter: at `-k` stands the conjugate of what is at `k`."""
    others = (width + 1) // 2  # columns that have a negative beside themselves, the first included
    mirrored = half[:, :, 1:others].flip(1, 2).roll(1, 1)
    if half.shape[-1] == 2:
        mirrored = mirrored * torch.tensor([1.0, -1.0], dtype=half.dtype, device=half.device)
    return torch.cat([half, mirrored], dim=2)


class _Paired(torch.autograd.Function):
    """`ifft2(response fft2(image))`, the response real (`c h w 1`) or complex (`c h w 2`), over the full spectrum."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, response: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(_paired(image))
        ctx.images = len(image)
        ctx.save_for_backward(spectrum, response)
        return _unpaired(torch.fft.ifft2(spectrum * _factor(response)), len(image))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        spectrum, response = ctx.saved_tensors
        back = torch.fft.fft2(_paired(gradient))
        to_image = to_response = None
        if ctx.needs_input_grad[0]:
            to_image = _unpaired(torch.fft.ifft2(back * _factor(response).conj()), ctx.images)
        if ctx.needs_input_grad[1]:  # what the two images of a pair have in common cancels at k and -k
            product = (torch.view_as_real(spectrum.conj() * back).sum(0)) / spectrum[0, 0].numel()
            to_response = product[..., : response.shape[-1]]
        return to_image, to_response


def _paired(image: Images) -> Complex[Tensor, "p c h w"]:
    """The first half of the batch as real parts, the second as imaginary ones; zeros for an image without a partner."""
    half = (len(image) + 1) // 2
    second = image[half:]
    if len(second) < half:
        second = torch.cat([second, image.new_zeros(1, *image.shape[1:])])
    return torch.complex(image[:half].contiguous(), second.contiguous())


def _unpaired(pairs: Complex[Tensor, "p c h w"], images: int) -> Images:
    return torch.cat([pairs.real, pairs.imag[: images - len(pairs)]])


def _factor(response: Float[Tensor, "c h w n"]) -> Tensor:
    return response[..., 0] if response.shape[-1] == 1 else torch.view_as_complex(response.contiguous())
