"""A picture of what FeatUp does to features: low resolution, bilinear and upsampled, in one basis of colours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped
from torch import Tensor, nn
from torch.nn import functional

from segmed.core.errors import ModelError
from segmed.core.image import PixelSpacing
from segmed.core.intensity import span_of
from segmed.inference.predictor import Predictor
from segmed.layers.featup import BilinearUpsample, GuidedUpsampler, JBUUpsample

Colours = Float32[np.ndarray, "_h _w 3"]


@dataclass(frozen=True)
class FeaturePanels:
    """Pictures of values 0 to 1, each at its own size."""

    image: Colours
    """What the network reads; three of its channels, or one as grey."""
    low: Colours
    bilinear: Colours
    upsampled: Colours
    channels: int
    """Channels of the features that the three colours stand for."""
    kept: float
    """Share of the variance of the low-resolution features that the colours show."""
    fitted: Colours | None = None
    """Of another upsampler, fitted to this image alone."""


def feature_panels(
    predictor: Predictor,
    image: Shaped[np.ndarray, "h w *c"],
    fit: Callable[[nn.Module, Tensor], Tensor] | None = None,
    *,
    spacing: PixelSpacing | None = None,
) -> FeaturePanels:
    """The features that a run's FeatUp upsamples on one image, at the place in the network where it does so most.

    Colours are the three principal components of the low-resolution features, and the same basis, centre and range
    serve all pictures. `spacing` is the image's. `fit`, if given, makes one more map `1 c h w` from the network and the
    preprocessed image.
    Raises `ModelError` for a run without FeatUp, and where `fit` raises other features.
    """
    read = predictor.prepared(image, spacing)
    low, upsampled = captured(predictor.model, read)
    bilinear = functional.interpolate(low[None], upsampled.shape[1:], mode="bilinear", align_corners=False)[0]
    basis = fit_basis(low)
    fitted = None if fit is None else fit(predictor.model, read)[0].float().cpu()
    if fitted is not None and len(fitted) != len(low):
        raise ModelError(
            f"This run upsamples most in its mask decoder ({len(low)} channels), not its encoder's {len(fitted)}. "
            "Draw a run without sam.featup."
        )
    shown = read[0].float().cpu().numpy().transpose(1, 2, 0)
    return FeaturePanels(
        image=stretched(shown if shown.shape[2] == 3 else np.repeat(shown[..., :1], 3, axis=2)),
        low=basis.colours(low),
        bilinear=basis.colours(bilinear),
        upsampled=basis.colours(upsampled),
        channels=len(low),
        kept=basis.kept,
        fitted=None if fitted is None else basis.colours(fitted),
    )


def captured(
    model: nn.Module, image: Float[Tensor, "1 k y x"]
) -> tuple[Float[Tensor, "c h w"], Float[Tensor, "c p q"]]:
    """What goes into, and comes out of, the upsampler of a network that upsamples most; the last one among equals."""
    calls: list[tuple[Tensor, Tensor]] = []

    def keep(module: nn.Module, arguments: Any, result: Tensor) -> None:
        calls.append((arguments[0][0].float().cpu(), result[0].float().cpu()))

    kinds = GuidedUpsampler | JBUUpsample | BilinearUpsample
    upsamplers = [each for each in model.modules() if isinstance(each, kinds)]
    handles = [each.register_forward_hook(keep) for each in upsamplers]
    try:
        with torch.inference_mode():
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    if not calls:
        raise ModelError(
            "This run has no FeatUp to draw. Train one with --upsampler jbu (U-Nets), --set model.sam.featup=jbu, "
            "or `segmed distil`."
        )
    return max(reversed(calls), key=lambda call: call[1].shape[1] * call[1].shape[2] / call[0][0].numel())


@dataclass(frozen=True)
class Basis:
    """Three directions among channels, and the range of values that becomes 0 to 1 along each."""

    centre: Float[Tensor, " c"]
    axes: Float[Tensor, "c n"]
    low: Float[Tensor, " n"]
    high: Float[Tensor, " n"]
    kept: float

    def colours(self, features: Float[Tensor, "c h w"]) -> Colours:
        """Features as red, green and blue."""
        along = torch.einsum("chw,cn->hwn", features - self.centre[:, None, None], self.axes)
        scaled = ((along - self.low) / (self.high - self.low).clamp(min=1e-12)).clamp(0, 1)
        return np.asarray(functional.pad(scaled, (0, 3 - scaled.shape[2])).numpy(), np.float32)


def fit_basis(features: Float[Tensor, "c h w"]) -> Basis:
    """The principal components of features over their cells, from their 1st to their 99th percentile."""
    cells = features.flatten(1).T  # hw c
    centre = cells.mean(0)
    _, strength, axes = torch.linalg.svd(cells - centre, full_matrices=False)
    axes = axes[:3].T
    along = (cells - centre) @ axes
    low, high = (torch.quantile(along, share, dim=0) for share in (0.01, 0.99))
    energy = strength.square()
    return Basis(centre, axes, low, high, float(energy[:3].sum() / energy.sum().clamp(min=1e-12)))


def stretched(image: Float[np.ndarray, "h w c"]) -> Colours:
    """Each channel from its 1st to its 99th percentile, as 0 to 1."""
    low, high = np.percentile(image, (1, 99), axis=(0, 1))
    spans = [span_of(*ends) for ends in zip(low, high, strict=True)]
    return np.asarray(np.clip((image - low) / spans, 0, 1), np.float32)


def draw_features(panels: FeaturePanels, name: str) -> Any:
    """The panels side by side as a matplotlib figure; cells are drawn as they are, without smoothing."""
    from matplotlib.figure import Figure

    pictures = [
        ("image", panels.image),
        (f"features, {panels.low.shape[0]} x {panels.low.shape[1]}", panels.low),
        (f"bilinear, {panels.bilinear.shape[0]} x {panels.bilinear.shape[1]}", panels.bilinear),
        (f"FeatUp, {panels.upsampled.shape[0]} x {panels.upsampled.shape[1]}", panels.upsampled),
    ]
    if panels.fitted is not None:
        pictures.append(("implicit, of this image alone", panels.fitted))
    figure = Figure(figsize=(3 * len(pictures), 3.6), layout="constrained")
    for axes, (title, picture) in zip(figure.subplots(1, len(pictures)), pictures, strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, fontsize=11)
        axes.axis("off")
    share = f"{panels.kept:.0%} of their variance"
    figure.suptitle(f"{name}: first three principal components of {panels.channels} channels, {share}", fontsize=10)
    return figure
