"""SAM's weights as segment-anything names them, written out from its modules by hand, apart from our table."""

import torch
from torch import Tensor

from segmed.models.sam_config import VitConfig


def raw_sam(shape: VitConfig, cells: int, channels: int = 3) -> dict[str, Tensor]:
    """Random weights of segment-anything's `Sam` with this image encoder, on a grid of `cells` x `cells` patches."""
    torch.manual_seed(3)
    width, head = shape.width, shape.width // shape.heads
    state: dict[str, tuple[int, ...]] = {
        "image_encoder.pos_embed": (1, cells, cells, width),
        **_affine("image_encoder.patch_embed.proj", (width, channels, 16, 16)),
        "image_encoder.neck.0.weight": (256, width, 1, 1),
        **_norm("image_encoder.neck.1", 256),
        "image_encoder.neck.2.weight": (256, 256, 3, 3),
        **_norm("image_encoder.neck.3", 256),
    }
    for block in range(shape.depth):
        name = f"image_encoder.blocks.{block}"
        reach = cells if block in shape.global_layers else shape.window
        state |= {
            **_norm(f"{name}.norm1", width), **_norm(f"{name}.norm2", width),
            **_affine(f"{name}.attn.qkv", (3 * width, width)), **_affine(f"{name}.attn.proj", (width, width)),
            f"{name}.attn.rel_pos_h": (2 * reach - 1, head), f"{name}.attn.rel_pos_w": (2 * reach - 1, head),
            **_affine(f"{name}.mlp.lin1", (4 * width, width)), **_affine(f"{name}.mlp.lin2", (width, 4 * width)),
        }  # fmt: skip
    state |= _prompt_encoder() | _mask_decoder()
    return {name: torch.randn(size) * 0.1 for name, size in state.items()}


def _prompt_encoder() -> dict[str, tuple[int, ...]]:
    name = "prompt_encoder"
    return {
        f"{name}.pe_layer.positional_encoding_gaussian_matrix": (2, 128),
        **{f"{name}.point_embeddings.{number}.weight": (1, 256) for number in range(4)},
        f"{name}.not_a_point_embed.weight": (1, 256), f"{name}.no_mask_embed.weight": (1, 256),
        **_affine(f"{name}.mask_downscaling.0", (4, 1, 2, 2)), **_norm(f"{name}.mask_downscaling.1", 4),
        **_affine(f"{name}.mask_downscaling.3", (16, 4, 2, 2)), **_norm(f"{name}.mask_downscaling.4", 16),
        **_affine(f"{name}.mask_downscaling.6", (256, 16, 1, 1)),
    }  # fmt: skip


def _mask_decoder() -> dict[str, tuple[int, ...]]:
    name = "mask_decoder"
    state: dict[str, tuple[int, ...]] = {
        f"{name}.iou_token.weight": (1, 256), f"{name}.mask_tokens.weight": (4, 256),
        "mask_decoder.output_upscaling.0.weight": (256, 64, 2, 2), "mask_decoder.output_upscaling.0.bias": (64,),
        **_norm(f"{name}.output_upscaling.1", 64),
        "mask_decoder.output_upscaling.3.weight": (64, 32, 2, 2), "mask_decoder.output_upscaling.3.bias": (32,),
        **_attention(f"{name}.transformer.final_attn_token_to_image", 128),
        **_norm(f"{name}.transformer.norm_final_attn", 256),
        **_three(f"{name}.iou_prediction_head", 256, 4),
    }  # fmt: skip
    for number in range(4):
        state |= _three(f"{name}.output_hypernetworks_mlps.{number}", 256, 32)
    for layer in range(2):
        inner = f"{name}.transformer.layers.{layer}"
        for norm in (1, 2, 3, 4):
            state |= _norm(f"{inner}.norm{norm}", 256)
        state |= _attention(f"{inner}.self_attn", 256)
        state |= _attention(f"{inner}.cross_attn_token_to_image", 128)
        state |= _attention(f"{inner}.cross_attn_image_to_token", 128)
        state |= _affine(f"{inner}.mlp.lin1", (2048, 256)) | _affine(f"{inner}.mlp.lin2", (256, 2048))
    return state


def _affine(name: str, weight: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _attention(name: str, inner: int) -> dict[str, tuple[int, ...]]:
    return {
        **_affine(f"{name}.q_proj", (inner, 256)), **_affine(f"{name}.k_proj", (inner, 256)),
        **_affine(f"{name}.v_proj", (inner, 256)), **_affine(f"{name}.out_proj", (256, inner)),
    }  # fmt: skip


def _three(name: str, hidden: int, out: int) -> dict[str, tuple[int, ...]]:
    return (
        _affine(f"{name}.layers.0", (hidden, 256))
        | _affine(f"{name}.layers.1", (hidden, hidden))
        | _affine(f"{name}.layers.2", (out, hidden))
    )
