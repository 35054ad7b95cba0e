"""The preprocessing contract: from stored pixels to network input and back, the same in every place.

`Preprocess` is deterministic and saved with the weights; random augmentation is apart (`segmed.data.augment`).
Intensities are normalised with the statistics of the whole volume of a patient, so that a slice without tissue
does not become noise, and the grid change is undone exactly by the `Undo` that `apply` returns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

from segmed.core.config import config_dataclass
from segmed.core.errors import ConfigError, DataError
from segmed.core.image import PixelSpacing, Size
from segmed.core.intensity import RESOLUTION, Range, extremes, require_scale, scale_holding, span_of
from segmed.core.stacking import Plane

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LARGEST = 16384
"""Pixels along a side of the network's input beyond which a spacing is taken for a mistake."""


LARGEST_PIXEL = 1e37
"""Magnitude beyond which sums and squares of pixels are no numbers in single precision."""


@config_dataclass
class PreprocessConfig:
    """What is done to an image before the network sees it."""

    channels: tuple[int, ...] | None = None
    """Which stored channels the network gets, in this order, from 0; LGG's are pre-contrast, FLAIR, post-contrast.
    None: all; training writes down which these are, and sets `model.channels` to their number."""
    normalisation: Literal["volume-zscore", "tissue-zscore", "minmax", "minmax-imagenet", "imagenet"] = "volume-zscore"
    """`volume-zscore`: percentile clip, then mean 0 and deviation 1 over the non-zero voxels of the volume;
    `tissue-zscore`: the same over its tissue, the voxels brighter than the mean of all its voxels, where the background
    is not 0 but noise;
    `minmax`: percentile clip, then 0 to 1 (MedSAM's); `minmax-imagenet`: the same, then ImageNet's mean and deviation
    (MedSAM2's); `imagenet`: ImageNet's mean and deviation (SAM's), of pixels
    scaled so that `intensity_range` is 0 to 1."""
    intensity_range: tuple[float, float] | None = None
    """Intensities that are black and white for `imagenet`; pixels are clipped there. None: 0 and 255 for 8 bits; of
    other types training measures it over its data, by the bits in use, and keeps it with the run. Where no run says
    it, it is measured over the volume."""
    clip_percentiles: tuple[float, float] = (0.5, 99.5)
    """Percentiles of the non-zero voxels at which intensities are clipped; not used by `imagenet`."""
    size: Size | None = None
    """Network input (height, width) in pixels; None keeps the image's own size and pads to `divisor`."""
    spacing: PixelSpacing | None = None
    """Network input in mm from pixel to pixel (rows, columns), in place of one size in pixels: a structure is then as
    large in every volume, whatever its spacing. `size` is the least input then: smaller slices are padded to it, and
    training enlarges it to hold its largest slice. Data without spacing are refused."""
    fit: Literal["squash", "letterbox"] = "squash"
    """How an image gets to `size`: stretched to it, or scaled by one factor and padded at the bottom and right."""
    plane: Plane = "acquired"
    """How volumes are cut into slices: `axial`, `coronal` or `sagittal`, in one orientation whatever the file;
    `acquired` is across the axis of the largest spacing. Slices in files of their own are taken as they are."""
    neighbours: int = 0
    """Slices on either side that the network sees as further channels (2.5D); 0 is the slice alone. At the ends of a
    volume, and where a slice is missing, the last slice is repeated."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How an image is resized, always with a wider kernel where it shrinks; SAM's is bilinear, MedSAM's bicubic."""
    padding: Literal["edge", "zero"] = "edge"
    """What fills the pixels beyond the image: its last row and column, or 0 after normalisation (SAM's)."""
    slice_range: bool = False
    """After resizing, stretch each slice to 0 to 1, over all its channels: MedSAM's last step."""
    divisor: int = 32
    """Network input sides are multiples of this: the model's stride."""

    def __post_init__(self) -> None:
        """Refuse settings that no image could meet."""
        low, high = self.clip_percentiles
        if not 0 <= low < high <= 100:
            raise ConfigError(f"clip_percentiles must rise within 0 to 100, got {self.clip_percentiles}.")
        if self.channels is not None and (not self.channels or min(self.channels) < 0):
            raise ConfigError(f"channels must name at least one stored channel from 0, got {self.channels}.")
        if self.of_a_picture and self.channels is not None and len(self.channels) != 3:
            raise ConfigError(
                f"{self.normalisation} normalisation has three channels; choose volume-zscore for other numbers."
            )
        if self.intensity_range is not None and not self.intensity_range[0] < self.intensity_range[1]:
            raise ConfigError(f"intensity_range must rise from black to white, got {self.intensity_range}.")
        if self.neighbours < 0:
            raise ConfigError(f"neighbours must be 0 or more slices, got {self.neighbours}.")
        if self.divisor < 1:
            raise ConfigError(f"divisor must be at least 1, got {self.divisor}.")
        if self.spacing is not None and not all(np.isfinite(step) and step > 0 for step in self.spacing):
            raise ConfigError(f"spacing is two positive numbers of mm, rows and columns, got {self.spacing}.")
        if self.size is not None and any(side % self.divisor or side < 1 for side in self.size):
            near = tuple(max(1, round(side / self.divisor)) * self.divisor for side in self.size)
            raise ConfigError(
                f"size {self.size} is not a multiple of the model's stride {self.divisor}. Use {near} instead."
            )

    def with_channels(self, count: int) -> "PreprocessConfig":
        """The same with the first `count` channels named, where it takes all."""
        return self if self.channels is not None else replace(self, channels=tuple(range(count)))

    @property
    def of_a_picture(self) -> bool:
        """Whether the normalisation is of three channels, as ImageNet's pictures have them."""
        return self.normalisation in ("imagenet", "minmax-imagenet")

    @property
    def slices(self) -> int:
        """Slices that the network sees at a time: one and its neighbours."""
        return 2 * self.neighbours + 1

    @property
    def inputs(self) -> int | None:
        """Channels of the network's input: those of the slice and of its neighbours; None where the data say it."""
        return None if self.channels is None else len(self.channels) * self.slices


@dataclass(frozen=True)
class Statistics:
    """Per-channel intensity statistics of one volume: clip limits, then `(x - shift) / scale`."""

    low: Float[np.ndarray, " c"]
    high: Float[np.ndarray, " c"]
    shift: Float[np.ndarray, " c"]
    scale: Float[np.ndarray, " c"]


@dataclass(frozen=True)
class Undo:
    """The way back from the network's grid to the image's: crop what was padded, then resize."""

    original: Size
    content: Size
    """Height and width of the image within the network's grid, before padding."""

    def __call__(self, logits: Float[Tensor, "k h w"]) -> Float[Tensor, "k H W"]:
        """Return logits on the original grid; bit-equal to the crop where no resize was made."""
        height, width = self.content
        logits = logits[:, :height, :width]
        if self.content == self.original:
            return logits
        return functional.interpolate(logits[None], self.original, mode="bilinear", align_corners=False)[0]


class Preprocess:
    """Apply a `PreprocessConfig`.

    With a `zoom` the image is so many times as large at the network's input, for test-time scales: a fixed size to the
    nearest multiple of the divisor, a spacing and an image's own size exactly.
    """

    def __init__(self, config: PreprocessConfig, zoom: float = 1.0) -> None:
        self.config, self.zoom = config, zoom

    def statistics(self, volume: Sequence[Shaped[np.ndarray, "..."]]) -> Statistics:
        """Intensity statistics of the slices (`h w c` each) of one patient's volume.

        Only non-zero voxels count, as zero is background; a channel without any gives shift 0 and scale 1.
        Raises `DataError` where a slice lacks a configured channel or holds NaN or infinity, and where `imagenet` has
        an `intensity_range` that cannot be that of these slices.
        """
        slices = [self._select(image) for image in volume]
        channels = slices[0].shape[2] if slices else len(self.config.channels or ())
        low, high = np.zeros(channels, np.float32), np.full(channels, np.inf, np.float32)
        shift, scale = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        if self.config.of_a_picture and channels != 3:
            raise DataError(
                f"{self.config.normalisation} normalisation is of three channels, and the image has {channels}. Name "
                "three with preprocess.channels, one of them several times where there are fewer."
            )
        if self.config.normalisation == "imagenet":
            black, white = self._black_and_white(slices)
            low[:], high[:] = black, white
            shift = np.asarray(IMAGENET_MEAN, np.float32) * (white - black) + black
            return Statistics(low, high, shift, np.asarray(IMAGENET_STD, np.float32) * (white - black))
        for channel in range(channels):
            voxels = np.concatenate([image[..., channel].ravel() for image in slices])
            values = voxels[voxels != 0]
            if values.size:
                limits = np.percentile(values, self.config.clip_percentiles, method="inverted_cdf")
                low[channel], high[channel] = limits
                if self.config.normalisation == "tissue-zscore":
                    values = tissue(voxels)
                shift[channel], scale[channel] = self._location_and_scale(np.clip(values, *limits), channel)
        return Statistics(low, high, shift, scale)

    def apply(
        self, image: Shaped[np.ndarray, "..."], statistics: Statistics, spacing: PixelSpacing | None = None
    ) -> tuple[Float[Tensor, "c h w"], Undo]:
        """Normalise and fit one image.

        Args:
            image: `h w c`, any real dtype.
            statistics: Those of its volume.
            spacing: Its mm per pixel, rows and columns; needed where the config has a spacing.

        Returns:
            What the network gets, in float32, and the way back.

        Raises:
            DataError: A channel that is missing, pixels that are no numbers, or no spacing where one is needed.
        """
        pixels = self._select(image).astype(np.float32)
        clipped = np.clip(pixels, statistics.low, statistics.high)
        normalised = (clipped - statistics.shift) / statistics.scale
        tensor = torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)))
        content, network = self._sizes(tensor.shape[1:], spacing)
        if content != tuple(tensor.shape[1:]):
            tensor = _resized(tensor, content, self.config.interpolation)
        if self.config.slice_range:
            least, most = float(tensor.min()), float(tensor.max())
            tensor = (tensor - least) / span_of(least, most)
        padded = _pad(tensor, network, mode="replicate" if self.config.padding == "edge" else "constant")
        return padded, self.undo(image.shape[:2], spacing)

    def undo(self, shape: Sequence[int], spacing: PixelSpacing | None = None) -> Undo:
        """The way back for an image of this (height, width) and spacing."""
        original = (int(shape[0]), int(shape[1]))
        return Undo(original=original, content=self._sizes(original, spacing)[0])

    def apply_stack(
        self,
        images: Sequence[Shaped[np.ndarray, "..."]],
        statistics: Statistics,
        spacing: PixelSpacing | None = None,
    ) -> tuple[Float[Tensor, "c h w"], Undo]:
        """Normalise a slice with its neighbours, below to above, each with all its channels, and return the way back.

        `spacing` is as for `apply`, and the same for all. Raises `DataError` where there are not `2 neighbours + 1`
        slices, or they differ in size.
        """
        if len(images) != self.config.slices:
            raise DataError(
                f"The model reads {self.config.neighbours} neighbours on either side, got {len(images)} slices. "
                "Give the patient's slices together."
            )
        tensors, undos = zip(*(self.apply(image, statistics, spacing) for image in images), strict=True)
        if len({undo.original for undo in undos}) > 1:
            raise DataError(
                f"Neighbouring slices differ in size: {sorted({undo.original for undo in undos})}. "
                "A 2.5D model needs volumes whose slices share a grid."
            )
        return torch.cat(tensors), undos[self.config.neighbours]

    def apply_mask(self, labels: UInt8[np.ndarray, "h w"], spacing: PixelSpacing | None = None) -> Int[Tensor, "H W"]:
        """Take a mask to the network's grid, nearest neighbour; what is padded is background."""
        content, network = self._sizes(labels.shape, spacing)
        tensor = torch.from_numpy(np.array(labels))[None, None]
        if content != labels.shape:
            tensor = functional.interpolate(tensor, content, mode="nearest-exact")
        return _pad(tensor[0], network, mode="constant")[0].long()

    def apply_mask_shares(
        self, labels: UInt8[np.ndarray, "h w"], count: int, spacing: PixelSpacing | None = None
    ) -> Float[Tensor, "k H W"]:
        """Take a mask to the network's grid as shares: how much of each pixel's area has label 1, 2, … `count`.

        What is padded has a share of 0. Shares are exact for every ratio of the sizes.
        """
        content, network = self._sizes(labels.shape, spacing)
        values = torch.arange(1, count + 1, dtype=torch.uint8).view(-1, 1, 1)
        planes = (torch.from_numpy(np.array(labels))[None] == values).float()
        if content != labels.shape:
            planes = _shares(labels.shape[0], content[0]) @ planes @ _shares(labels.shape[1], content[1]).T
        return _pad(planes, network, mode="constant")

    def network_size(self, shape: Sequence[int], spacing: PixelSpacing | None = None) -> Size:
        """Height and width that an image of `shape` (height, width, …) and spacing has at the network's input."""
        return self._sizes(shape, spacing)[1]

    def _sizes(self, shape: Sequence[int], spacing: PixelSpacing | None) -> tuple[Size, Size]:
        """The size of the image at the network's input, and that of the input, which may be padded."""
        original = (int(shape[0]), int(shape[1]))
        size = self.fixed_size
        if self.config.spacing is not None:
            rows, columns = self.config.spacing
            content = _at_spacing(original, spacing, (rows / self.zoom, columns / self.zoom))
            least_height, least_width = size or (1, 1)
            return content, (self._whole(max(content[0], least_height)), self._whole(max(content[1], least_width)))
        if size is None:
            content = (self._zoomed(original[0]), self._zoomed(original[1]))
            return content, (self._whole(content[0]), self._whole(content[1]))
        if self.config.fit == "squash":
            return size, size
        factor = min(size[0] / original[0], size[1] / original[1])
        return (max(1, int(original[0] * factor + 0.5)), max(1, int(original[1] * factor + 0.5))), size

    def _zoomed(self, side: int) -> int:
        return max(1, int(side * self.zoom + 0.5))

    @property
    def fixed_size(self) -> Size | None:
        """The size that the network reads: the configured one times the zoom, each side to its nearest multiple of the
        divisor. None where it follows the image."""
        if self.config.size is None or self.zoom == 1:
            return self.config.size
        step = self.config.divisor
        height, width = (max(1, int(side * self.zoom / step + 0.5)) * step for side in self.config.size)
        return height, width

    def _whole(self, side: int) -> int:
        """The next multiple of the divisor."""
        return -(-side // self.config.divisor) * self.config.divisor

    def _select(self, image: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "h w c"]:
        if image.ndim != 3:
            raise DataError(f"An image has height, width and channels, got shape {image.shape}. Add the missing axis.")
        chosen = range(image.shape[2]) if self.config.channels is None else self.config.channels
        if max(chosen) >= image.shape[2]:
            raise DataError(
                f"The model reads channels {self.config.channels} but the image has {image.shape[2]}. "
                "Give an image with the sequences the model was trained on, or make a run of published weights with "
                "`segmed pretrained --data`, which repeats those that the data have."
            )
        selected = image[..., list(chosen)]
        if selected.dtype.kind == "f" and not np.isfinite(selected).all():
            raise DataError("The image holds NaN or infinite pixels. Replace them before use.")
        if selected.dtype.kind == "f" and selected.dtype.itemsize > 4 and np.abs(selected).max() > LARGEST_PIXEL:
            raise DataError("The image holds pixels that single precision does not. Scale its intensities before use.")
        return selected

    def _black_and_white(self, slices: Sequence[Shaped[np.ndarray, "h w c"]]) -> Range:
        known = self.config.intensity_range
        if known is None:
            return scale_holding(*extremes(slices), np.result_type(*(image.dtype for image in slices)))
        require_scale(slices, known)
        return known

    def _location_and_scale(self, values: Shaped[np.ndarray, " n"], channel: int) -> tuple[float, float]:
        if self.config.normalisation in ("minmax", "minmax-imagenet"):
            least, span = float(values.min()), span_of(float(values.min()), float(values.max()))
            if self.config.normalisation == "minmax":
                return least, span
            return least + IMAGENET_MEAN[channel] * span, IMAGENET_STD[channel] * span
        mean, deviation = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
        largest = max(
            abs(float(values.min())), abs(float(values.max()))
        )  # the lowest whole number has no absolute value
        return mean, deviation if deviation > RESOLUTION * largest else 1.0


def _shares(pixels: int, cells: int) -> Float[Tensor, "cells pixels"]:
    """How much of each of `cells` equal parts of a line is covered by each of its `pixels` equal parts."""
    step = pixels / cells
    start = torch.arange(cells, dtype=torch.float64)[:, None] * step
    low = torch.arange(pixels, dtype=torch.float64)
    covered = (torch.minimum(start + step, low + 1) - torch.maximum(start, low)).clamp(min=0)
    return (covered / step).float()


def _at_spacing(size: Size, spacing: PixelSpacing | None, wanted: PixelSpacing) -> Size:
    """The size of an image of `size` and `spacing` at the spacing `wanted`; its own where that changes no pixel."""
    if spacing is None:
        raise DataError(
            f"preprocess.spacing is {wanted[0]:g} x {wanted[1]:g} mm, but the spacing of these images is not known. "
            "Use files that state it, as NIfTI and DICOM do, or set preprocess.size and leave spacing out."
        )
    height, width = (
        max(1, int(side * step / new + 0.5)) for side, step, new in zip(size, spacing, wanted, strict=True)
    )
    if max(height, width) > LARGEST:
        raise DataError(
            f"{size[0]} x {size[1]} pixels of {spacing[0]:.4g} x {spacing[1]:.4g} mm would be {height} x {width} at "
            f"preprocess.spacing {wanted[0]:g} x {wanted[1]:g} mm. Set a larger spacing."
        )
    return height, width


def tissue(voxels: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " m"]:
    """Those of a volume's voxels that are brighter than their mean; all of them where none is."""
    bright = voxels[voxels > voxels.mean(dtype=np.float64)]
    return bright if bright.size else voxels


def _resized(tensor: Float[Tensor, "c h w"], size: Size, mode: str) -> Float[Tensor, "c H W"]:
    """Resize; where a bicubic kernel overshoots at an edge, the image's own least and largest pixel are the bounds."""
    resized = functional.interpolate(tensor[None], size, mode=mode, align_corners=False, antialias=True)[0]
    return resized.clamp(tensor.min(), tensor.max()) if mode == "bicubic" else resized


def _pad(tensor: Shaped[Tensor, "c h w"], size: Size, *, mode: str) -> Shaped[Tensor, "c H W"]:
    missing = (0, size[1] - tensor.shape[2], 0, size[0] - tensor.shape[1])
    return functional.pad(tensor[None], missing, mode=mode)[0] if any(missing) else tensor
