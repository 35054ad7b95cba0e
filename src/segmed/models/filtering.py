"""A learned filter (GAFL) in a model of the zoo: on its input, on the image embedding, or on FeatUp's guidance.

Wherever it stands, the model's masks are what they were until the filter has learnt.
"""

import dataclasses
from typing import TYPE_CHECKING, TypeGuard

from torch import nn

from segmed.core.errors import ModelError
from segmed.layers.gafl import GAFL, Filtered, GaflConfig, build_gafl
from segmed.models.config import ModelConfig
from segmed.models.families import FAMILIES
from segmed.models.sam_config import FROZEN_ENCODER

if TYPE_CHECKING:
    from segmed.models.sam.network import PromptableSam


def with_filter(model: nn.Module, config: ModelConfig) -> nn.Module:
    """`model` with the filter that `config` names, if any. Raises `ModelError` for a place that it does not have."""
    gafl = config.gafl
    if gafl is None:
        return model
    if not _is_sam(model, config):
        if gafl.place != "input":
            raise ModelError(
                f"{config.name} has no {gafl.place} to filter: that is for promptable models. "
                "Set model.gafl.place to input."
            )
        return Filtered(model, build_gafl(gafl, config.channels))
    model.filters[gafl.place] = promptable_filter(model, config, gafl)
    return model


def _is_sam(model: nn.Module, config: ModelConfig) -> "TypeGuard[PromptableSam]":
    if config.name not in FAMILIES:
        return False
    from segmed.models.sam.network import PromptableSam  # transformers, which dense models do without

    return isinstance(model, PromptableSam)


def promptable_filter(model: "PromptableSam", config: ModelConfig, gafl: GaflConfig) -> GAFL:
    """The filter of a promptable model, for `PromptableSam.filters`.

    Raises `ModelError` on the input of a frozen encoder, and for a guidance that the model does not have.
    """
    if gafl.place == "embedding":
        return build_gafl(gafl, model.feature_shapes[0][0], (model.grid, model.grid))
    trains = model.config.trains
    if gafl.place == "input" and trains in FROZEN_ENCODER:
        raise ModelError(
            f"A filter on the input cannot train in front of the frozen encoder of sam.trains={trains}: its embeddings "
            "are kept, so the filter would neither be run again nor get a gradient. Set model.gafl.place to embedding "
            "or guidance, or sam.trains to all."
        )
    if gafl.place == "guidance" and not model.guided:
        raise ModelError(
            f"{config.name} has no guidance to filter: FeatUp is not part of it. Set model.gafl.place to embedding."
        )
    return build_gafl(gafl, config.channels)


def fit_filter(config: ModelConfig, size: tuple[int, int]) -> ModelConfig:
    """The config with `size`, that of the network's input, for a filter of images that names none.

    A filter with more frequencies than its images has numbers between these that no image can teach.
    """
    gafl = config.gafl
    if gafl is None or gafl.size is not None or gafl.place == "embedding":
        return config
    return dataclasses.replace(config, gafl=dataclasses.replace(gafl, size=size))
