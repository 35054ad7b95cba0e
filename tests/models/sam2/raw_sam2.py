"""SAM 2's weights as its own code names them, written out from its modules by hand, apart from our table."""

from collections.abc import Mapping

import torch
from torch import Tensor

HIERA, NECK = "vision_encoder.backbone", "vision_encoder.neck"
PROMPTS, DECODER = "prompt_encoder", "mask_decoder"


def published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of transformers' `Sam2Model` as facebookresearch/sam2 has them, with some of what a video needs."""
    blocks = {int(name.split(".")[3]) for name in state if name.startswith(f"{HIERA}.blocks.")}
    names = {
        "image_encoder.trunk.pos_embed": f"{HIERA}.pos_embed",
        "image_encoder.trunk.pos_embed_window": f"{HIERA}.pos_embed_window",
        **_affine("image_encoder.trunk.patch_embed.proj", f"{HIERA}.patch_embed.projection"),
        "no_mem_embed": "no_memory_embedding",
        "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": f"{PROMPTS}.shared_embedding"
        ".positional_embedding",
        "sam_prompt_encoder.not_a_point_embed.weight": f"{PROMPTS}.not_a_point_embed.weight",
        "sam_prompt_encoder.no_mask_embed.weight": f"{PROMPTS}.no_mask_embed.weight",
    }
    for block in blocks:
        here, there = f"image_encoder.trunk.blocks.{block}", f"{HIERA}.blocks.{block}"
        for own, other in {
            "norm1": "layer_norm1", "norm2": "layer_norm2", "attn.qkv": "attn.qkv", "attn.proj": "attn.proj",
            "mlp.layers.0": "mlp.proj_in", "mlp.layers.1": "mlp.proj_out",
        }.items():  # fmt: skip
            names |= _affine(f"{here}.{own}", f"{there}.{other}")
        if f"{there}.proj.weight" in state:
            names |= _affine(f"{here}.proj", f"{there}.proj")
    for level in range(4):
        names |= _affine(f"image_encoder.neck.convs.{level}.conv", f"{NECK}.convs.{level}")
    for own, other in {0: "conv1", 1: "layer_norm1", 3: "conv2", 4: "layer_norm2", 6: "conv3"}.items():
        names |= _affine(f"sam_prompt_encoder.mask_downscaling.{own}", f"{PROMPTS}.mask_embed.{other}")
    names |= _decoder()
    points = state[f"{PROMPTS}.point_embed.weight"]
    return {
        **{own: state[other].clone() for own, other in names.items()},
        **{f"sam_prompt_encoder.point_embeddings.{kind}.weight": points[kind : kind + 1].clone() for kind in range(4)},
        "maskmem_tpos_enc": torch.zeros(7, 1, 1, 4),
        "no_mem_pos_enc": torch.zeros(1, 1, 4),
        "no_obj_ptr": torch.zeros(1, 4),
        "no_obj_embed_spatial": torch.zeros(1, 4),
        "mask_downsample.weight": torch.zeros(1, 1, 4, 4),
        "memory_attention.layers.0.norm1.weight": torch.zeros(4),
        "memory_encoder.out_proj.weight": torch.zeros(4),
        "obj_ptr_proj.layers.0.weight": torch.zeros(4),
        "obj_ptr_tpos_proj.weight": torch.zeros(4),
    }


def _decoder() -> dict[str, str]:
    own, other = "sam_mask_decoder", DECODER
    names = {f"{own}.{token}.weight": f"{other}.{token}.weight" for token in ("iou_token", "mask_tokens")}
    names[f"{own}.obj_score_token.weight"] = f"{other}.obj_score_token.weight"
    for convolution in ("conv_s0", "conv_s1"):
        names |= _affine(f"{own}.{convolution}", f"{other}.{convolution}")
    for number, part in {0: "upscale_conv1", 1: "upscale_layer_norm", 3: "upscale_conv2"}.items():
        names |= _affine(f"{own}.output_upscaling.{number}", f"{other}.{part}")
    heads = [*(f"output_hypernetworks_mlps.{number}" for number in range(4)), "iou_prediction_head"]
    for head in (*heads, "pred_obj_score_head"):
        for layer, part in enumerate(("proj_in", "layers.0", "proj_out")):
            names |= _affine(f"{own}.{head}.layers.{layer}", f"{other}.{head}.{part}")
    names |= _attention(
        f"{own}.transformer.final_attn_token_to_image", f"{other}.transformer.final_attn_token_to_image"
    )
    names |= _affine(f"{own}.transformer.norm_final_attn", f"{other}.transformer.layer_norm_final_attn")
    for layer in range(2):
        here, there = f"{own}.transformer.layers.{layer}", f"{other}.transformer.layers.{layer}"
        for attention in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token"):
            names |= _attention(f"{here}.{attention}", f"{there}.{attention}")
        for norm in (1, 2, 3, 4):
            names |= _affine(f"{here}.norm{norm}", f"{there}.layer_norm{norm}")
        names |= _affine(f"{here}.mlp.layers.0", f"{there}.mlp.proj_in")
        names |= _affine(f"{here}.mlp.layers.1", f"{there}.mlp.proj_out")
    return names


def _attention(own: str, other: str) -> dict[str, str]:
    names = {}
    for here, there in {"q_proj": "q_proj", "k_proj": "k_proj", "v_proj": "v_proj", "out_proj": "o_proj"}.items():
        names |= _affine(f"{own}.{here}", f"{other}.{there}")
    return names


def _affine(own: str, other: str) -> dict[str, str]:
    return {f"{own}.{part}": f"{other}.{part}" for part in ("weight", "bias")}
