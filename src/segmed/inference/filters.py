"""What a trained run's learned filter does: its gain by frequency, and an image before and after it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from segmed.core.errors import DataError, ModelError
from segmed.core.image import PixelSpacing
from segmed.layers.gafl import GAFL, HIGHEST, IMAGE_SIZE, GaflConfig, build_gafl, ring_weights
from segmed.models.checkpoint import CONFIG, WEIGHTS, load_config, load_tensors
from segmed.models.sam_config import SamConfig
from segmed.preprocess import Preprocess, PreprocessConfig

RINGS = 48
"""Frequencies of a radial curve, from 0 to the corner of the spectrum."""


@dataclass(frozen=True)
class LearnedFilter:
    """The filter of a run, with its settings, the preprocessing before it, and a name for each channel of the input.

    `inputs` is empty for a filter on the image embedding.
    """

    layer: GAFL
    config: GaflConfig
    preprocess: PreprocessConfig
    inputs: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """The size at which it is shown: its own, that of the preprocessing, or 256 x 256."""
        return self.config.size or (self.preprocess.size if self.inputs else None) or IMAGE_SIZE


@dataclass(frozen=True)
class FilterResponse:
    """A filter by frequency, per channel.

    Numbers are gains (amplitude after over before; 1 changes nothing) or, for mode phase, turns of the phase in radians
    (0 changes nothing). Of a filter that follows the image they are those that one image gets.
    """

    quantity: str
    frequencies: Float[np.ndarray, " rings"]
    """Cycles per pixel."""
    curves: Float[np.ndarray, "c rings"]
    """Mean over the ring (of phases: their mean size); NaN where a ring has no frequency of this size."""
    spectra: Float[np.ndarray, "c h w"]
    """The whole spectrum, frequency 0 in the middle."""


@dataclass(frozen=True)
class BeforeAndAfter:
    """A preprocessed image and what the filter makes of it."""

    before: Float[np.ndarray, "c h w"]
    after: Float[np.ndarray, "c h w"]


def learned_filter(run: Path) -> LearnedFilter | None:
    """Read the filter of a run without building its network; None where it has none, or is not a finished run."""
    if not (run / CONFIG).is_file() or not (run / WEIGHTS).is_file():
        return None
    config, _ = load_config(run)
    gafl = config.model.gafl
    if gafl is None:
        return None
    prefixes = ("gafl.", f"filters.{gafl.place}.")
    tensors = {
        name.removeprefix(prefix): tensor
        for name, tensor in load_tensors(run, config).items()
        for prefix in prefixes
        if name.startswith(prefix)
    }
    shown: tuple[str, ...]
    if gafl.place == "embedding":
        layer, shown = _of_embedding(gafl, tensors, (config.model.sam or SamConfig()).size), ()
    else:
        layer, shown = build_gafl(gafl, config.model.channels), input_names(config.preprocess)
    try:
        layer.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(
            f"{run}: the filter's weights do not fit its config ({' '.join(str(error).split())}). Copy the run again."
        ) from error
    return LearnedFilter(layer.eval(), gafl, config.preprocess, shown)


def input_names(preprocess: PreprocessConfig) -> tuple[str, ...]:
    """The network's input channels by their number in stored images, with the slice where there are neighbours."""
    reach = preprocess.neighbours
    return tuple(
        f"channel {channel}, slice {offset}" if reach else f"channel {channel}"
        for offset in range(-reach, reach + 1)
        for channel in preprocess.channels or ()
    )


def filter_image(
    learned: LearnedFilter, image: Shaped[np.ndarray, "..."], spacing: PixelSpacing | None = None
) -> BeforeAndAfter:
    """A stored image (`h w c`) as the network gets it, before and after the filter; normalised by itself alone.

    `spacing` is its millimetres per pixel. Raises `DataError` for a filter that no image passes, and without a spacing
    for a run that resamples to one.
    """
    if not learned.inputs:
        raise DataError("The filter is on the image embedding, which no image shows. Leave the image out.")
    preprocess = Preprocess(learned.preprocess)
    alone = [image] * (2 * learned.preprocess.neighbours + 1)  # the image stands in for its neighbours
    before, _ = preprocess.apply_stack(alone, preprocess.statistics([image]), spacing)
    with torch.inference_mode():
        after = learned.layer(before[None])[0]
    return BeforeAndAfter(before.numpy(), after.numpy())


def filter_response(learned: LearnedFilter, image: BeforeAndAfter | None = None) -> FilterResponse:
    """The filter by frequency. Raises `DataError` where it follows the image and there is none to follow."""
    layer = learned.layer
    if layer.linear:
        response = layer.response(*learned.size)
        values = response.angle() if layer.mode_name == "phase" else response.abs()
        return _response("phase" if layer.mode_name == "phase" else "gain", values, learned.size)
    if image is None:
        kind = "adaptive" if layer.adaptive else layer.mode_name
        raise DataError(f"The gains of a filter of mode {kind} depend on the image: name one.")
    height, width = image.before.shape[1:]
    before, after = (torch.fft.rfft2(torch.from_numpy(each)).abs() for each in (image.before, image.after))
    return _response("gain", after / before.clamp_min(1e-6 * float(before.max())), (height, width))


def _response(quantity: str, values: Float[Tensor, "c h f"], size: tuple[int, int]) -> FilterResponse:
    height, width = size
    rings = ring_weights(height, width, RINGS, torch.float32, values.device)
    total = rings.sum(0)
    curves = (values.abs().flatten(1) @ rings) / total.clamp_min(1e-12)
    curves = torch.where(total > 0, curves, torch.nan)
    return FilterResponse(
        quantity,
        np.linspace(0, HIGHEST, RINGS),
        curves.numpy(),
        _whole(values, width, odd=quantity == "phase").numpy(),
    )


def _whole(values: Float[Tensor, "c h f"], width: int, *, odd: bool) -> Float[Tensor, "c h w"]:
    """The half-spectrum with its mirror image, frequency 0 in the middle."""
    mirrored = values.flip(-2).roll(1, -2).flip(-1)
    mirrored = (-mirrored if odd else mirrored)[..., (1 if width % 2 == 0 else 0) : values.shape[-1] - 1]
    return torch.fft.fftshift(torch.cat([values, mirrored], dim=-1), dim=(-2, -1))


def _of_embedding(gafl: GaflConfig, tensors: dict[str, Tensor], side: int) -> GAFL:
    """The layer whose weights fit: an embedding has an eighth or a sixteenth of the image's cells."""
    channels = next(len(each) for name, each in tensors.items() if "adaptation" not in name)
    shapes = {name: each.shape for name, each in tensors.items()}
    layers = [build_gafl(gafl, channels, (side // stride, side // stride)) for stride in (8, 16)]
    return next((each for each in layers if {n: v.shape for n, v in each.state_dict().items()} == shapes), layers[0])
