"""A ViT of SAM's family small enough for tests, and transformers' own model with the same weights."""

from dataclasses import replace

import torch
from transformers import SamModel
from transformers.models.sam.configuration_sam import SamConfig as TransformersSamConfig

from segmed.layers.gafl import GaflConfig
from segmed.models.config import ModelConfig
from segmed.models.sam.network import PromptableSam
from segmed.models.sam_config import SamConfig, VitConfig
from segmed.models.zoo import build_model

SIDE = 64
SHAPE = VitConfig(width=32, depth=4, heads=2, global_layers=(1, 3), window=3)

NOTHING_ADDED: dict[str, object] = {"box_map": False, "promptless_tokens": 0, "presence": False}
ADDITIONS: dict[str, dict[str, object]] = {
    "box_map": {"box_map": True},
    "box_prior": {"box_prior": True},
    "promptless": {"promptless_tokens": 8},
    "presence": {"presence": True},
    "filters": {},
    "fine": {"featup": "jbu"},
    "upsampler": {"encode_at": SIDE // 2},
}
"""What each part that SegMed adds to SAM takes in `SamConfig`; filters are the model's."""


def added_config(*parts: str) -> ModelConfig:
    """`vit_config` with these parts alone added to SAM."""
    config = vit_config(**NOTHING_ADDED | {key: value for part in parts for key, value in ADDITIONS[part].items()})
    return replace(config, gafl=GaflConfig(place="embedding")) if "filters" in parts else config


def vit_config(**changes: object) -> ModelConfig:
    """sam-vit-b at 64 px with `SHAPE`, and changes of its `SamConfig`."""
    sam = SamConfig(**{"size": SIDE, "vit": SHAPE, **changes})  # type: ignore[arg-type]
    return ModelConfig(name="sam-vit-b", encoder_weights="none", sam=sam)


def tiny_vit(**changes: object) -> PromptableSam:
    """The model of `vit_config` in evaluation mode, the same weights every time."""
    torch.manual_seed(0)
    model = build_model(vit_config(**changes)).eval()
    assert isinstance(model, PromptableSam)
    return model


def unmodified(size: int = SIDE, shape: VitConfig = SHAPE) -> SamModel:
    """transformers' model of these dimensions, with random weights that make every part matter."""
    torch.manual_seed(1)
    vision = {
        "hidden_size": shape.width, "num_hidden_layers": shape.depth, "num_attention_heads": shape.heads,
        "global_attn_indexes": list(shape.global_layers), "window_size": shape.window, "image_size": size,
        "mlp_dim": 4 * shape.width,
    }  # fmt: skip
    config = TransformersSamConfig(vision_config=vision, prompt_encoder_config={"image_size": size, "patch_size": 16})
    model = SamModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.1)
    return model
