"""SAM 2 small enough for tests, and transformers' own model of the same dimensions."""

from pathlib import Path

import torch
from transformers import Sam2Model
from transformers.models.sam2.configuration_sam2 import (
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
)

from segmed.models.config import ModelConfig
from segmed.models.sam2.network import PromptableSam2
from segmed.models.sam_config import HieraConfig, SamConfig
from segmed.models.zoo import build_model

SIDE = 64
SHAPE = HieraConfig(width=16, blocks=(1, 1, 2, 1), global_blocks=(3,), windows=(4, 2, 4, 2), background=3)
SHAPE_SETTING = (
    "model.sam.hiera={width: 16, blocks: [1, 1, 2, 1], global_blocks: [3], windows: [4, 2, 4, 2], background: 3}"
)
"""The same as a setting."""
BOX, OTHER = (8.0, 8.0, 40.0, 32.0), (20.0, 24.0, 60.0, 63.0)
PLAIN: dict[str, object] = {"box_map": False, "promptless_tokens": 0, "presence": False, "multimask": True}


def theirs() -> Sam2Model:
    """transformers' own model of these dimensions, with random weights that make every part matter."""
    torch.manual_seed(1)
    backbone = Sam2HieraDetConfig(
        hidden_size=16, num_attention_heads=1, blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 2, 4, 8], window_size_per_stage=[4, 2, 4, 2], global_attention_blocks=[3],
        window_positional_embedding_background_size=[3, 3], image_size=[SIDE, SIDE],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )  # fmt: skip
    config = Sam2Config(
        vision_config=vision, prompt_encoder_config=Sam2PromptEncoderConfig(image_size=SIDE),
        mask_decoder_config=Sam2MaskDecoderConfig(),
    )  # fmt: skip
    model = Sam2Model(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.1)
        twin = model.shared_image_embedding.positional_embedding  # one Gaussian under two names
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(twin)
    return model


def config(weights: str | Path = "none", **changes: object) -> ModelConfig:
    sam = SamConfig(**{"size": SIDE, "hiera": SHAPE, **changes})  # type: ignore[arg-type]
    return ModelConfig(name="sam2-tiny", encoder_weights=str(weights), sam=sam)


def built(weights: str | Path = "none", **changes: object) -> PromptableSam2:
    torch.manual_seed(0)
    model = build_model(config(weights, **changes)).eval()
    assert isinstance(model, PromptableSam2)
    return model
