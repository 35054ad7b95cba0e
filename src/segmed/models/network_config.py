"""A network and how its images are prepared: a run has one, an ensemble and a cascade several."""

from dataclasses import dataclass

from segmed.models.config import ModelConfig
from segmed.preprocess import PreprocessConfig


@dataclass(frozen=True)
class NetworkConfig:
    """What builds a network, and what its images go through."""

    model: ModelConfig
    preprocess: PreprocessConfig
