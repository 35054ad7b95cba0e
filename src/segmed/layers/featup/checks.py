"""What the joint bilateral upsampler asks of its input, and what it says when it gets something else."""

import torch
from torch import Tensor

from segmed.core.errors import ModelError
from segmed.core.image import Size
from segmed.layers.featup.jbu import GUIDANCE_CHANNELS


def check_guidance(guidance: Tensor, source_size: Size) -> None:
    """Raise `ModelError` unless `guidance` is B 3 H W and no smaller than the features."""
    if guidance.ndim != 4 or guidance.shape[1] != GUIDANCE_CHANNELS:
        raise ModelError(
            f"JBU guidance has shape {tuple(guidance.shape)}; expected (batch, 3, height, width): "
            "repeat a grey image three times along axis 1."
        )
    if min(source_size) < 1:
        raise ModelError(f"JBU features of {by(source_size)} pixels hold nothing; both sides must be at least 1.")
    if guidance.shape[2] < source_size[0] or guidance.shape[3] < source_size[1]:
        raise ModelError(
            f"JBU guidance of {by(guidance.shape[2:])} pixels is smaller than the features' {by(source_size)}; "
            "pass the image at its full resolution."
        )


def check_source(source: Tensor, channels: int) -> None:
    """Raise `ModelError` unless `source` is B C h w with the channels that the stack was built for."""
    if source.ndim != 4 or not source.is_floating_point():
        raise ModelError(
            f"JBU features have shape {tuple(source.shape)} and dtype {source.dtype}; "
            "expected floating-point (batch, channels, height, width)."
        )
    if source.shape[1] != channels:
        raise ModelError(
            f"JBU features have {source.shape[1]} channels and the stack was built for {channels}; "
            f"build JBUStack({source.shape[1]}) or pass other features."
        )


def check_finite(tensor: Tensor, what: str) -> None:
    """Raise `ModelError` for nan or infinity; in eager mode only, as reading values would break a compiled graph."""
    if torch.compiler.is_compiling():
        return
    if not bool(tensor.isfinite().all()):
        raise ModelError(f"JBU {what} hold nan or infinite values; check the encoder's output and the image's scaling.")


def check_match(source: Tensor, source_size: Size, batch: int) -> None:
    """Raise `ModelError` unless the features fit kernels made for `source_size` and `batch` images."""
    if source.shape[-2:] != torch.Size(source_size):
        raise ModelError(
            f"JBU features of {by(source.shape[-2:])} pixels cannot use kernels made for {by(source_size)}; "
            "make kernels with the features' size."
        )
    if batch not in (1, source.shape[0]):
        raise ModelError(
            f"JBU features are a batch of {source.shape[0]} and guidance one of {batch}; "
            "pass one guidance image for each map, or a single one for all."
        )


def plan_sizes(source_size: Size, size: Size | None, stages: int) -> tuple[Size, ...]:
    """The sizes that the stages raise a map to, one after the other; fewer than `stages` if the target comes early.

    Every stage doubles, or goes straight to the target along an axis where that is nearer.
    Raises `ModelError` for a target smaller than the features or out of reach.
    """
    reach = 2**stages
    target = size or (source_size[0] * reach, source_size[1] * reach)
    if target[0] < source_size[0] or target[1] < source_size[1]:
        raise ModelError(f"JBU upsamples features; {by(target)} pixels is less than the features' {by(source_size)}.")
    if target[0] > source_size[0] * reach or target[1] > source_size[1] * reach:
        raise ModelError(
            f"JBU of {stages} stages upsamples features of {by(source_size)} to at most {reach} times that, "
            f"not to {by(target)}; build it with more stages, or resize its result."
        )
    sizes: list[Size] = []
    reached = source_size
    while reached != target:
        reached = min(2 * reached[0], target[0]), min(2 * reached[1], target[1])
        sizes.append(reached)
    return tuple(sizes)


def by(size: Size | torch.Size) -> str:
    """(64, 48) as 64x48."""
    return f"{size[0]}x{size[1]}"
