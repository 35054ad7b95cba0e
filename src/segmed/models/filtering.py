"""A learned filter (GAFL) in a model of the zoo: on its input, on the image embedding, or on FeatUp's guidance.

Wherever it stands, the model's masks are what they were until the filter has learnt.
"""

import dataclasses

from torch import nn

from segmed.core.errors import ModelError
from segmed.layers.gafl import GAFL, Filtered, GaflConfig, build_gafl
from segmed.models.config import ModelConfig
from segmed.models.promptable import Promptable
from segmed.models.sam_config import FROZEN_ENCODER


def with_filter(model: nn.Module, config: ModelConfig) -> nn.Module:
    """`model` with the filter that `config` names, if any. Raises `ModelError` for a place that it does not have."""
    gafl = config.gafl
    if gafl is None:
        return model
    filters = getattr(model, "filters", None)
    if not isinstance(filters, nn.ModuleDict):
        if gafl.place != "input":
            raise ModelError(
                f"{config.name} has no {gafl.place} to filter: that is for promptable models. "
                "Set model.gafl.place to input."
            )
        return Filtered(model, build_gafl(gafl, config.channels))
    filters[gafl.place] = promptable_filter(model, config, gafl)
    return model


def promptable_filter(model: nn.Module, config: ModelConfig, gafl: GaflConfig) -> GAFL:
    """The filter of a promptable model, for `PromptableSam.filters`.

    Raises `ModelError` on the input of a frozen encoder, and for a guidance that the model does not have.
    """
    if gafl.place == "embedding":
        channels, cells = int(model.mask_decoder.hidden_size), int(model.grid)  # type: ignore[union-attr, arg-type]
        return build_gafl(gafl, channels, (cells, cells))
    trains = model.config.trains  # type: ignore[union-attr]  # a SamConfig
    if gafl.place == "input" and trains in FROZEN_ENCODER:
        raise ModelError(
            f"A filter on the input cannot train in front of the frozen encoder of sam.trains={trains}: its embeddings "
            "are kept, so the filter would neither be run again nor get a gradient. Set model.gafl.place to embedding "
            "or guidance, or sam.trains to all."
        )
    if gafl.place == "guidance" and not (isinstance(model, Promptable) and model.guided):
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
