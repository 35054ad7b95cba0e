"""How FeatUp's upsampler is trained on an encoder's own features."""

from typing import Annotated

from pydantic import Field

from segmed.core.config import config_dataclass


@config_dataclass
class FeatUpConfig:
    """Settings of the objectives `distil` and `multiview`."""

    train_encoder: bool = False
    """Whether `distil` also trains the image encoder, which then learns to read the smaller image; otherwise it is
    frozen and the upsampler alone is trained. `multiview` always leaves the encoder frozen."""
    cosine_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of one minus the cosine between features, cell by cell, beside their mean squared difference."""
    jitters: Annotated[int, Field(ge=1)] = 2
    """Views of each batch in a step of `multiview`; FeatUp's own training has 5."""
    zoom: Annotated[float, Field(ge=1)] = 2.0
    """Views are zoomed up to so many times, every second one, as in FeatUp."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.09
    """Views are moved by up to this share of the image; FeatUp's is 20 of 224 pixels."""
    projection: Annotated[int, Field(ge=1)] = 30
    """Random directions in which a view's features are compared."""
