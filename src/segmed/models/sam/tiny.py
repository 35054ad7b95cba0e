"""sam-tiny: a compact member of the SAM family that trains within an hour on a CPU.

The prompt encoder and the mask decoder are SAM's own (4.1 M parameters); the image encoder is a small convolutional
pyramid: the stages of stride 4, 8 and 16 of any convolutional network of timm (a ResNet-18's: 2.8 M), fused to a map of
stride 8. Decoder and prompts begin with random weights, the stages with random ones, ImageNet's or a file's. Where it
differs from SAM beside size: the positional encoding's Gaussian has SAM's deviation of 1 and is not trained
(transformers draws it with half the hidden size, and trains it).
"""

import difflib
import functools
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmed.core.errors import ModelError
from segmed.models.config import ModelConfig
from segmed.models.encoder_weights import find_encoder_file, load_encoder, out_of_reach
from segmed.models.hub import quiet_hub
from segmed.models.sam.network import ImageEncoder, PromptableSam
from segmed.models.sam.parts import CHANNELS, prompt_parts
from segmed.models.sam_config import SamConfig

STRIDE = 8
REDUCTIONS = (4, 8, 16)
"""Strides of the pyramid's maps."""


class PyramidEncoder(ImageEncoder):
    """Maps of stride 4, 8 and 16 of a network of timm, fused to one of stride 8 and normalised."""

    stride = STRIDE

    def __init__(self, name: str, channels_in: int, channels: int) -> None:
        super().__init__()
        self.stages = timm.create_model(
            name, pretrained=False, features_only=True, in_chans=channels_in, out_indices=_stages(name)
        )
        _drop_idle_stages(self.stages)
        fine, middle, coarse = feature_info(self.stages).channels()
        self.fine = nn.Conv2d(fine, channels, 2, stride=2)
        self.middle = nn.Conv2d(middle, channels, 1)
        self.coarse = nn.Conv2d(coarse, channels, 1)
        self.fuse = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(1, channels)

    def forward(self, image: Float[Tensor, "b k s s"]) -> Float[Tensor, "b c g g"]:
        """The embedding of images."""
        fine, middle, coarse = self.stages(image)
        middle = self.middle(middle)
        coarse = functional.interpolate(self.coarse(coarse), middle.shape[2:], mode="bilinear", align_corners=False)
        embedding: Tensor = self.norm(self.fuse(functional.gelu(self.fine(fine) + middle + coarse)))
        return embedding


def build_sam_tiny(config: ModelConfig) -> PromptableSam:
    """sam-tiny; `config.encoder` is the pyramid's, and `config.encoder_weights` what its stages begin with.

    Raises `ModelError` for an unknown encoder, weights out of reach or of another encoder, and more than one label.
    """
    if config.labels != 1:
        raise ModelError(f"A promptable model segments one label, got {config.labels}. Name one with --labels.")
    if config.upsampler != "interpolate":
        raise ModelError(f"sam-tiny has no U-Net decoder for upsampler {config.upsampler}. Set sam.featup instead.")
    sam = config.sam or SamConfig()
    if sam.trains in ("last", "lora"):
        raise ModelError(f"sam-tiny has no attention blocks for sam.trains={sam.trains}. Use all, or decoder.")
    encoder = PyramidEncoder(config.encoder.removeprefix("tu-"), config.channels, CHANNELS)
    if config.encoder_weights != "none":
        _load_stages(encoder.stages, config)
    return PromptableSam(encoder, *prompt_parts(sam.size, STRIDE), config=sam, image_channels=config.channels)


def _load_stages(stages: nn.Module, config: ModelConfig) -> None:
    """Give the stages the weights that `config.encoder_weights` names.

    They are read into the whole encoder, so that every tensor of a file is accounted for, and the stages take theirs.
    """
    name = config.encoder.removeprefix("tu-")
    file = find_encoder_file(config.encoder, config.encoder_weights)
    if file is None and config.encoder_weights != "imagenet":
        raise ModelError(
            f"sam-tiny has no weights {config.encoder_weights!r}. Choose imagenet or none, or give a safetensors file "
            f"of {name}."
        )
    try:
        with quiet_hub():
            whole = timm.create_model(name, pretrained=file is None, features_only=True, in_chans=config.channels)
    except OSError as error:
        raise out_of_reach(config.encoder, config.encoder_weights) from error
    except RuntimeError as error:
        raise ModelError(
            f"{name} has no ImageNet weights by this name. Choose another encoder, or --encoder-weights none."
        ) from error
    if file is not None:
        load_encoder(whole, file.path, name=name, channels=config.channels)
    state = whole.state_dict()
    stages.load_state_dict({key: state[key] for key in stages.state_dict()})


def feature_info(network: nn.Module) -> Any:
    """timm's description of the maps that a network gives."""
    return network.feature_info


def _drop_idle_stages(network: nn.Module) -> None:
    """Cut off the stages beyond the coarsest map, which some networks of timm keep and run for nothing."""
    container, _, place = feature_info(network).module_name()[-1].partition(".")
    stages = getattr(network, container, None)
    if place and isinstance(stages, nn.Sequential):
        del stages[int(place.partition(".")[0]) + 1 :]


@functools.cache  # a whole network is made to know them
def _stages(name: str) -> tuple[int, ...]:
    """Which of the network's maps have the pyramid's strides; raises `ModelError` where it does not have all."""
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ModelError(f"Unknown encoder {name!r} of sam-tiny. {hint}Give a convolutional model of timm.")
    try:
        with torch.device("meta"):
            reductions = feature_info(timm.create_model(name, pretrained=False, features_only=True)).reduction()
    except (RuntimeError, AttributeError) as error:
        raise ModelError(f"{name} gives no maps of several strides. Choose a convolutional encoder.") from error
    if not set(REDUCTIONS) <= set(reductions):
        raise ModelError(f"{name} has maps of stride {reductions}; sam-tiny needs {REDUCTIONS}. Use resnet18.")
    return tuple(reductions.index(stride) for stride in REDUCTIONS)
