"""Deterministic changes of intensity on images in [0, 1]; the samples concerned are changed, others are not."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from segmed.data.layouts.lgg import FLAIR, POST, PRE, SEQUENCES


def clahe(image: Float[Tensor, "b c h w"], chosen: Bool[Tensor, "b"], limit: float) -> Float[Tensor, "b c h w"]:
    """Contrast-limited adaptive histogram equalisation of each channel, on 8 by 8 tiles (kornia)."""
    from kornia.enhance import equalize_clahe

    if not chosen.any():
        return image
    changed = image.clone()
    changed[chosen] = equalize_clahe(image[chosen].clamp(0, 1), limit, (8, 8))
    return changed


def brightness_contrast(
    image: Float[Tensor, "b c h w"],
    chosen: Bool[Tensor, "b"],
    contrast: Float[Tensor, "b c"],
    brightness: Float[Tensor, "b c"],
) -> Float[Tensor, "b c h w"]:
    """`contrast * image + brightness`, cut to [0, 1]."""
    factor = torch.where(chosen[:, None], contrast, 1.0)[:, :, None, None]
    offset = torch.where(chosen[:, None], brightness, 0.0)[:, :, None, None]
    return torch.addcmul(offset, image, factor).clamp_(0, 1)


def gamma(
    image: Float[Tensor, "b c h w"], chosen: Bool[Tensor, "b"], exponent: Float[Tensor, "b c"]
) -> Float[Tensor, "b c h w"]:
    """`image ** exponent` (kornia)."""
    from kornia.enhance import adjust_gamma

    if not chosen.any():
        return image
    changed = image.clone()
    changed[chosen] = adjust_gamma(image[chosen].clamp(0, 1), exponent[chosen])
    return changed


def bias_field(
    image: Float[Tensor, "b c h w"], chosen: Bool[Tensor, "b"], weights: Float[Tensor, "b c n n"]
) -> Float[Tensor, "b c h w"]:
    """Multiply by the exponential of a cosine series of low order in y and x."""
    if not chosen.any():
        return image
    height, width = image.shape[-2:]
    orders = weights.shape[-1]
    rows, columns = _cosines(height, orders).to(weights), _cosines(width, orders).to(weights)
    changed = image.clone()
    changed[chosen] = image[chosen] * torch.exp(rows @ weights[chosen] @ columns.T)
    return changed


def noise(
    image: Float[Tensor, "b c h w"], chosen: Bool[Tensor, "b"], planes: Float[Tensor, "chosen c h w"]
) -> Float[Tensor, "b c h w"]:
    """Add one drawn plane to each chosen sample, in order."""
    if not chosen.any():
        return image
    changed = image.clone()
    changed[chosen] = image[chosen] + planes
    return changed


def drop_sequences(
    image: Float[Tensor, "b c h w"], post: Bool[Tensor, "b"], pre: Bool[Tensor, "b"]
) -> Float[Tensor, "b c h w"]:
    """Put a copy of FLAIR (channel 1) where post-contrast (2) or pre-contrast (0) is to be missing.

    Of slices stacked with their neighbours, three channels each, all lose the same sequences.
    """
    if not post.any():
        return image
    changed = image.clone()
    for first in range(0, image.shape[1], len(SEQUENCES)):
        changed[post, first + POST] = image[post, first + FLAIR]
        changed[pre, first + PRE] = image[pre, first + FLAIR]
    return changed


def _cosines(length: int, orders: int) -> Float[Tensor, "length orders"]:
    position = (torch.arange(length) + 0.5) / length
    return torch.cos(torch.pi * position[:, None] * torch.arange(orders))
