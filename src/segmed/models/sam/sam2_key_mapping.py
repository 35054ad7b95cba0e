"""What the weights of SAM 2 are called: in its own code, in transformers, and here.

The table is ours, made from the two projects' module names. A name that no row matches stays as it is, so that it is
listed as unexpected later and never lost.
"""

import re

import torch
from torch import Tensor

from segmed.models.sam.key_mapping import GAUSSIAN, Rows, renamed

PUBLISHED: Rows = (
    ("image_encoder.trunk.patch_embed.proj.", "vision_encoder.backbone.patch_embed.projection."),
    ("image_encoder.trunk.blocks.{}.norm{}.", "vision_encoder.backbone.blocks.{}.layer_norm{}."),
    ("image_encoder.trunk.blocks.{}.mlp.layers.0.", "vision_encoder.backbone.blocks.{}.mlp.proj_in."),
    ("image_encoder.trunk.blocks.{}.mlp.layers.1.", "vision_encoder.backbone.blocks.{}.mlp.proj_out."),
    ("image_encoder.trunk.", "vision_encoder.backbone."),
    ("image_encoder.neck.convs.{}.conv.", "vision_encoder.neck.convs.{}."),
    ("no_mem_embed", "no_memory_embedding"),
    ("sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", GAUSSIAN),
    ("sam_prompt_encoder.mask_downscaling.0.", "prompt_encoder.mask_embed.conv1."),
    ("sam_prompt_encoder.mask_downscaling.1.", "prompt_encoder.mask_embed.layer_norm1."),
    ("sam_prompt_encoder.mask_downscaling.3.", "prompt_encoder.mask_embed.conv2."),
    ("sam_prompt_encoder.mask_downscaling.4.", "prompt_encoder.mask_embed.layer_norm2."),
    ("sam_prompt_encoder.mask_downscaling.6.", "prompt_encoder.mask_embed.conv3."),
    ("sam_prompt_encoder.", "prompt_encoder."),
    ("sam_mask_decoder.transformer.norm_final_attn.", "mask_decoder.transformer.layer_norm_final_attn."),
    ("sam_mask_decoder.transformer.final_attn_token_to_image.out_proj.",
     "mask_decoder.transformer.final_attn_token_to_image.o_proj."),
    ("sam_mask_decoder.transformer.layers.{}.norm{}.", "mask_decoder.transformer.layers.{}.layer_norm{}."),
    ("sam_mask_decoder.transformer.layers.{}.mlp.layers.0.", "mask_decoder.transformer.layers.{}.mlp.proj_in."),
    ("sam_mask_decoder.transformer.layers.{}.mlp.layers.1.", "mask_decoder.transformer.layers.{}.mlp.proj_out."),
    *(
        (f"sam_mask_decoder.transformer.layers.{{}}.{attention}.out_proj.",
         f"mask_decoder.transformer.layers.{{}}.{attention}.o_proj.")
        for attention in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
    ),
    ("sam_mask_decoder.output_upscaling.0.", "mask_decoder.upscale_conv1."),
    ("sam_mask_decoder.output_upscaling.1.", "mask_decoder.upscale_layer_norm."),
    ("sam_mask_decoder.output_upscaling.3.", "mask_decoder.upscale_conv2."),
    *(
        (f"sam_mask_decoder.{head}.layers.{number}.", f"mask_decoder.{head}.{theirs}.")
        for head in ("output_hypernetworks_mlps.{}", "iou_prediction_head", "pred_obj_score_head")
        for number, theirs in enumerate(("proj_in", "layers.0", "proj_out"))
    ),
    ("sam_mask_decoder.", "mask_decoder."),
)  # fmt: skip
"""Beginnings of names in SAM 2's own code and in transformers; `{}` is a number. The first row that matches counts."""

OURS: Rows = (
    ("vision_encoder.", "image_encoder.vision."),
    ("no_memory_embedding", "image_encoder.no_memory_embedding"),
    ("mask_decoder.conv_s", "image_encoder.conv_s"),
)
"""Beginnings in transformers and here; the rest are transformers' own modules."""

OF_VIDEO = (
    "memory_attention.", "memory_encoder.", "mask_downsample.", "maskmem_tpos_enc", "no_mem_pos_enc", "no_obj_ptr",
    "no_obj_embed_spatial", "obj_ptr_proj.", "obj_ptr_tpos_proj.", "memory_temporal_positional_encoding",
    "no_memory_positional_encoding", "no_object_pointer", "occlusion_spatial_embedding_parameter",
    "object_pointer_proj.", "temporal_positional_encoding_projection_layer.",
)  # fmt: skip
"""Beginnings of names, in either code, of what carries masks through a video: single images do without it."""

POINTS = "sam_prompt_encoder.point_embeddings."


def from_published(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of SAM 2's own code under transformers' names, which keep the four kinds of points in one tensor."""
    found = {renamed(name, PUBLISHED): each for name, each in tensors.items() if not name.startswith(POINTS)}
    points = {int(kind[1]): name for name in tensors if (kind := re.match(re.escape(POINTS) + r"(\d)\.weight$", name))}
    if sorted(points) == list(range(4)):
        found["prompt_encoder.point_embed.weight"] = torch.cat([tensors[points[number]] for number in range(4)])
    return found


def without_video(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that single images need."""
    return {name: each for name, each in tensors.items() if not name.startswith(OF_VIDEO)}
