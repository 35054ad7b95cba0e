"""All randomness of an augmentation, in one place: from settings and a generator to plain numbers."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from segmed.core.errors import ConfigError
from segmed.data.augment.config import AugmentConfig, Range
from segmed.data.augment.spectral import KNOTS

BIAS_ORDERS = 4
RING_RADII = (0.05, 0.25)
"""Radii of rings of noise, in cycles per pixel."""


@dataclass(frozen=True)
class Draws:
    """One batch's random numbers: `apply` with the same draws gives the same result on any device.

    `sampling` maps output to input pixels, both measured from the image centre, (x, y). Per sample and per
    channel where a second axis is there. `noise` holds one plane for each sample chosen by `noisy`, in order.
    """

    sampling: Float[Tensor, "b 2 3"]
    clahe: Bool[Tensor, "b"]
    clahe_limit: float
    linear: Bool[Tensor, "b"]
    contrast: Float[Tensor, "b c"]
    brightness: Float[Tensor, "b c"]
    gamma_changed: Bool[Tensor, "b"]
    gamma: Float[Tensor, "b c"]
    biased: Bool[Tensor, "b"]
    bias: Float[Tensor, "b c n n"]
    noisy: Bool[Tensor, "b"]
    noise: Float[Tensor, "noisy c h w"]
    drop_post: Bool[Tensor, "b"]
    drop_pre: Bool[Tensor, "b"]
    regained: Bool[Tensor, "b"]
    log_gain: Float[Tensor, "b c knots"]
    ringing: Bool[Tensor, "b"]
    ring_noise: Float[Tensor, "ringing c h w"]
    ring_centre: Float[Tensor, "b"]


@dataclass(frozen=True)
class _Dice:
    """Draws of given shapes from one generator, on its own device."""

    generator: torch.Generator
    batch: int

    def uniform(self, between: Range, *shape: int) -> Float[Tensor, "b ..."]:
        low, high = between
        drawn = torch.rand((self.batch, *shape), generator=self.generator, device=self.generator.device)
        return low + (high - low) * drawn

    def normal(self, *shape: int) -> Float[Tensor, "..."]:
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def chance(self, probability: float) -> Bool[Tensor, "b"]:
        return self.uniform((0.0, 1.0)) < probability


def draw(
    config: AugmentConfig,
    *,
    batch: int,
    channels: int,
    size: tuple[int, int],
    generator: torch.Generator,
    slices: int = 1,
) -> Draws:
    """Draw everything for a batch of `size` (height, width); reads and advances only `generator`.

    `channels` are the sequences of `slices` stacked slices: a sequence is changed alike in all slices, as a scanner
    would, and only noise is drawn for each.
    """
    if channels % slices:
        raise ConfigError(f"{channels} channels are not those of {slices} slices.")
    channels //= slices
    dice = _Dice(generator, batch)
    planes = channels if config.per_channel else 1
    contrast = dice.uniform((1 - config.contrast, 1 + config.contrast), planes)
    noisy = dice.chance(config.noise)
    level = dice.uniform((0.0, config.noise_level))
    drop_post = dice.chance(config.drop_post if channels == 3 else 0.0)
    return Draws(
        sampling=_sampling(config, dice, size),
        clahe=dice.chance(config.clahe),
        clahe_limit=float(dice.uniform(config.clahe_limit)[0]) if config.clahe > 0 else config.clahe_limit[0],
        linear=dice.chance(config.brightness_contrast),
        contrast=contrast.expand(batch, channels).repeat(1, slices),
        brightness=dice.uniform((-config.brightness, config.brightness), planes)
        .expand(batch, channels)
        .repeat(1, slices),
        gamma_changed=dice.chance(config.gamma),
        gamma=_log_uniform(dice, config.gamma_range, planes).expand(batch, channels).repeat(1, slices),
        biased=dice.chance(config.bias_field),
        bias=_bias(config, dice, planes).expand(batch, channels, BIAS_ORDERS, BIAS_ORDERS).repeat(1, slices, 1, 1),
        noisy=noisy,
        noise=dice.normal(int(noisy.sum()), channels * slices, *size) * level[noisy][:, None, None, None],
        drop_post=drop_post,
        drop_pre=drop_post & dice.chance(config.drop_pre),
        **_spectral(config, dice, size, channels, slices),
    )


def _spectral(
    config: AugmentConfig, dice: _Dice, size: tuple[int, int], channels: int, slices: int
) -> dict[str, Tensor]:
    """Drawn last, so that what was drawn before stays as it was without them."""
    planes = channels if config.per_channel else 1
    strength = config.band_gain_strength
    regained = dice.chance(config.band_gain)
    gains = dice.uniform((-strength, strength), planes, KNOTS).expand(dice.batch, channels, KNOTS)
    ringing = dice.chance(config.ring_noise)
    level = dice.uniform((0.0, config.ring_noise_level))[ringing][:, None, None, None]
    return {
        "regained": regained,
        "log_gain": gains.repeat(1, slices, 1),
        "ringing": ringing,
        "ring_noise": dice.normal(int(ringing.sum()), channels * slices, *size) * level,
        "ring_centre": dice.uniform(RING_RADII),
    }


def _log_uniform(dice: _Dice, between: Range, planes: int) -> Float[Tensor, "b c"]:
    return dice.uniform((math.log(between[0]), math.log(between[1])), planes).exp()


def _bias(config: AugmentConfig, dice: _Dice, planes: int) -> Float[Tensor, "b c n n"]:
    """Weights of a cosine series in y and x: low orders only, the constant left out, variance 1 in all."""
    order = torch.arange(BIAS_ORDERS)
    decay = 1.0 / (1 + order[:, None] ** 2 + order[None, :] ** 2)
    decay[0, 0] = 0.0
    decay[order[:, None] + order[None, :] >= BIAS_ORDERS] = 0.0
    mean_square = torch.where(order > 0, 0.5, 1.0)  # of a cosine over the image
    variance = (decay**2 * mean_square[:, None] * mean_square[None, :]).sum()
    weights = (decay / variance.sqrt()).to(dice.generator.device)
    drawn = dice.normal(dice.batch, planes, BIAS_ORDERS, BIAS_ORDERS)
    return config.bias_strength * weights * drawn


def _sampling(config: AugmentConfig, dice: _Dice, size: tuple[int, int]) -> Float[Tensor, "b 2 3"]:
    """Flips, quarter turns, affine and the crop's shift as one matrix, output pixel to input pixel."""
    height, width = size
    degrees = dice.uniform((-config.rotation, config.rotation))
    scale = _log_uniform(dice, config.scale, 1)[:, 0]
    shift = dice.uniform((-config.shift, config.shift), 2) * torch.tensor([width, height], device=scale.device)
    affine = dice.chance(config.affine)
    angle = torch.where(affine, degrees, 0.0).deg2rad()
    turns = dice.uniform((1.0, 4.0)).floor() if height == width else torch.full_like(angle, 2.0)
    angle = angle + torch.where(dice.chance(config.rotate90), turns, 0.0) * (math.pi / 2)
    flip = torch.stack([dice.chance(config.horizontal_flip), dice.chance(config.vertical_flip)], dim=1)

    cosine, sine = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    mirror = torch.where(flip, -1.0, 1.0)[:, :, None]
    linear = mirror * rotation / torch.where(affine, scale, 1.0)[:, None, None]
    offset = torch.where(affine[:, None], shift, 0.0) + _crop_shift(config, dice, size)
    return torch.cat([linear, offset[:, :, None]], dim=2)


def _crop_shift(config: AugmentConfig, dice: _Dice, size: tuple[int, int]) -> Float[Tensor, "b 2"]:
    """Whole pixels (x, y) from the image centre to the centre of the crop."""
    margins = torch.tensor(crop_margins(config.crop, size)[::-1], device=dice.generator.device)
    return torch.floor(dice.uniform((0.0, 1.0), 2) * (2 * margins + 1)) - margins


def crop_margins(kept: float, size: tuple[int, int]) -> tuple[int, int]:
    """Pixels padded back at either side, (vertical, horizontal), when a share `kept` of each side is cropped."""
    return int(size[0] * (1 - kept) / 2), int(size[1] * (1 - kept) / 2)
