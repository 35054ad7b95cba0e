"""Deterministic changes of an image's spectrum: gains over the radius of the frequency, and noise in one ring of it.

What a scanner's sharpening, its reconstruction filter or interference do to an image. Frequency 0, the mean, is kept.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from segmed.layers.gafl import hats, radius

KNOTS = 8
"""Numbers over the radius, from frequency 0 to the corner of the spectrum, with straight lines between them."""
RING_WIDTH = 0.02
"""Standard deviation of a ring's profile, in cycles per pixel."""


def band_gains(
    image: Float[Tensor, "b c h w"], chosen: Bool[Tensor, "b"], log_gain: Float[Tensor, "b c knots"]
) -> Float[Tensor, "b c h w"]:
    """Multiply the spectrum of the chosen samples by `exp` of a curve over the radius, which is 0 at frequency 0."""
    if not chosen.any():
        return image
    height, width = image.shape[-2:]
    rings = hats(height, width, KNOTS, image.dtype, image.device)[:, 1:]
    gain = (log_gain[chosen][..., 1:].to(image) @ rings.T).exp().unflatten(-1, (height, width // 2 + 1))
    changed = image.clone()
    changed[chosen] = torch.fft.irfft2(torch.fft.rfft2(image[chosen]) * gain, s=(height, width))
    return changed


def ring_noise(
    image: Float[Tensor, "b c h w"],
    chosen: Bool[Tensor, "b"],
    planes: Float[Tensor, "chosen c h w"],
    centre: Float[Tensor, "b"],
) -> Float[Tensor, "b c h w"]:
    """Add one plane of white noise to each chosen sample, all but a ring of its frequencies taken out.

    `centre` is the ring's radius in cycles per pixel. The noise keeps the deviation of its plane.
    """
    if not chosen.any():
        return image
    height, width = image.shape[-2:]
    distance = radius(height, width).to(image) - centre[chosen][:, None, None].to(image)
    ring = torch.exp(-0.5 * (distance / RING_WIDTH).square())[:, None]
    ring[..., 0, 0] = 0
    shaped = torch.fft.irfft2(torch.fft.rfft2(planes.to(image)) * ring, s=(height, width))
    wanted, there = (each.square().mean((-2, -1), keepdim=True).sqrt() for each in (planes.to(image), shaped))
    changed = image.clone()
    changed[chosen] = image[chosen] + shaped * (wanted / there.clamp_min(torch.finfo(image.dtype).tiny))
    return changed
