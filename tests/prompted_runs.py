"""A promptable run on disk, small and untrained, for the tests of whatever applies one."""

from pathlib import Path

import torch

from segmed.core.labels import LabelMap
from segmed.models.checkpoint import RunConfig, save_run
from segmed.models.config import ModelConfig
from segmed.models.sam.network import PromptableSam
from segmed.models.sam.tiny import build_sam_tiny
from segmed.models.sam_config import SamConfig
from segmed.preprocess import PreprocessConfig

SIDE = 64
MODEL = ModelConfig(name="sam-tiny", encoder="test_efficientnet", encoder_weights="none", sam=SamConfig(size=SIDE))


def tiny_promptable() -> PromptableSam:
    """sam-tiny at 64 px, the same weights every time, those that start at zero made random so that boxes matter."""
    torch.manual_seed(0)
    model = build_sam_tiny(MODEL).eval()
    if model.box_map is not None:
        torch.nn.init.normal_(model.box_map.project.weight, std=0.5)
    return model


def run_config(**changes: object) -> RunConfig:
    """The config of a run of that model; images are stretched to 64 x 64."""
    contract = PreprocessConfig(size=(SIDE, SIDE))
    return RunConfig(**{"model": MODEL, "preprocess": contract, "labels": LabelMap(), "threshold": 0.4, **changes})  # type: ignore[arg-type]


def save_prompted_run(folder: Path, **changes: object) -> Path:
    """Write such a run's folder."""
    save_run(folder, tiny_promptable(), run_config(**changes))
    return folder
