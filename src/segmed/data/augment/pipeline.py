"""The augmentation itself: draw with the generator that is passed in, then apply, deterministically."""

import dataclasses
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from segmed.core.errors import ConfigError
from segmed.data.augment import geometry, intensity, spectral
from segmed.data.augment.config import AugmentConfig, preset_named
from segmed.data.augment.draws import Draws, crop_margins, draw


class Augment:
    """Changes normalised images and their masks together; output sizes equal input sizes.

    Image: float, `b c h w`, any range. Mask: 0 or 1, `b k h w`, one plane per foreground label; it stays
    0 or 1. A `soft` mask has values from 0 to 1, and is interpolated as the image is.
    The last step of the `reproduction` preset's eight, Normalize, is not here: `segmed.preprocess` did it.
    The crop keeps a share of the image at its own scale, at a random place, and pads it back about the centre.
    """

    def __init__(self, config: AugmentConfig, size: tuple[int, int], slices: int = 1, *, soft: bool = False) -> None:
        """Make an augmentation of images of `size` (height, width) in pixels, whose channels are of `slices` slices."""
        self.config = config
        self.slices = slices
        self.size = size
        self.soft = soft
        self._does_nothing = config == AugmentConfig()

    def __call__(
        self, image: Float[Tensor, "b c h w"], mask: Float[Tensor, "b k h w"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b k h w"]]:
        """Draw, then apply. The result depends on nothing but the arguments; `generator` may live anywhere."""
        if self._does_nothing:
            return image, mask
        return self.apply(image, mask, self.draw(image.shape[0], image.shape[1], generator))

    def draw(self, batch: int, channels: int, generator: torch.Generator) -> Draws:
        """All random numbers for one batch."""
        return draw(
            self.config, batch=batch, channels=channels, size=self.size, generator=generator, slices=self.slices
        )

    def apply(
        self, image: Float[Tensor, "b c h w"], mask: Float[Tensor, "b k h w"], draws: Draws
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b k h w"]]:
        """Apply what was drawn; no randomness here. Raises `ConfigError` when the size is not the one built for."""
        size = (image.shape[-2], image.shape[-1])
        if size != self.size:
            raise ConfigError(
                f"The augmentation is for images of {_named(self.size)}, got {_named(size)}. "
                "Build it with the size that preprocessing gives."
            )
        draws = _on(draws, image.device)
        unit, low, span = _to_unit_range(image.float())
        moved, mask = geometry.warp(unit, mask, draws.sampling, soft=self.soft)
        if self.config.crop < 1:
            margins = crop_margins(self.config.crop, self.size)
            moved, mask = geometry.blank_border(moved, margins), geometry.blank_border(mask, margins)
        changed = self._change_intensity(moved, draws).mul(span).add_(low)
        return intensity.drop_sequences(changed, draws.drop_post, draws.drop_pre).to(image.dtype), mask

    def _change_intensity(self, unit: Float[Tensor, "b c h w"], draws: Draws) -> Float[Tensor, "b c h w"]:
        unit = intensity.clahe(unit, draws.clahe, draws.clahe_limit)
        if self.config.brightness_contrast > 0:
            unit = intensity.brightness_contrast(unit, draws.linear, draws.contrast, draws.brightness)
        unit = intensity.gamma(unit, draws.gamma_changed, draws.gamma)
        unit = intensity.bias_field(unit, draws.biased, draws.bias)
        unit = spectral.band_gains(unit, draws.regained, draws.log_gain)
        unit = spectral.ring_noise(unit, draws.ringing, draws.ring_noise, draws.ring_centre)
        return intensity.noise(unit, draws.noisy, draws.noise)


def build_augment(
    augment: str | AugmentConfig, size: tuple[int, int], slices: int = 1, *, soft: bool = False
) -> Augment:
    """An augmentation for images of one size.

    Args:
        augment: Settings, or the name of a preset (see `PRESETS`).
        size: (height, width) of the images, in pixels.
        slices: How many slices are stacked in the channels.
        soft: Whether masks are shares from 0 to 1, and not 0 or 1.

    Returns:
        A function of image, mask and generator.

    Raises:
        ConfigError: An unknown preset; the nearest name is told.

    Example:
        >>> augment = build_augment("mri", (48, 40))
        >>> image, mask = torch.rand(2, 3, 48, 40), torch.ones(2, 1, 48, 40)
        >>> image, mask = augment(image, mask, torch.Generator().manual_seed(0))
        >>> image.shape, mask.shape
        (torch.Size([2, 3, 48, 40]), torch.Size([2, 1, 48, 40]))
    """
    if isinstance(augment, AugmentConfig):
        return Augment(augment, size, slices, soft=soft)
    try:
        return Augment(preset_named(augment), size, slices, soft=soft)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _to_unit_range(
    image: Float[Tensor, "b c h w"],
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c 1 1"], Float[Tensor, "b c 1 1"]]:
    """The image in [0, 1] per sample and channel, with the minimum and the range that undo it."""
    low = image.amin(dim=(2, 3), keepdim=True)
    span = image.amax(dim=(2, 3), keepdim=True) - low
    return (image - low) / span.clamp_min(torch.finfo(image.dtype).tiny), low, span


def _on(draws: Draws, device: torch.device) -> Draws:
    values = {field.name: getattr(draws, field.name) for field in dataclasses.fields(draws)}
    tensors: dict[str, Any] = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
    return dataclasses.replace(draws, **tensors)


def _named(size: tuple[int, int]) -> str:
    return "x".join(str(side) for side in size)
