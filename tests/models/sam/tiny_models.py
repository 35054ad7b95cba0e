"""A promptable model small enough for tests."""

import torch

from segmed.models.config import ModelConfig
from segmed.models.sam.network import PromptableSam
from segmed.models.sam.tiny import build_sam_tiny
from segmed.models.sam_config import SamConfig

SIDE = 64


def tiny(**changes: object) -> PromptableSam:
    """sam-tiny at 64 px on a very small encoder, in evaluation mode, the same weights every time."""
    torch.manual_seed(0)
    sam = SamConfig(**{"size": SIDE, **changes})  # type: ignore[arg-type]
    config = ModelConfig(name="sam-tiny", encoder="test_efficientnet", encoder_weights="none", sam=sam)
    return build_sam_tiny(config).eval()


def with_live_additions(model: PromptableSam) -> PromptableSam:
    """The model with the weights that start at zero made random, so that what they add can be seen."""
    if model.box_map is not None:
        torch.nn.init.normal_(model.box_map.project.weight, std=0.5)
    if model.box_prior is not None:
        torch.nn.init.normal_(model.box_prior.gate)
    return model
