"""What the weights of SAM are called: in segment-anything's code, in transformers, and here.

The table is ours, made from the two projects' module names. A name that no row matches stays as it is, so that it is
listed as unexpected later and never lost.
"""

import re
from collections.abc import Mapping

from torch import Tensor

Rows = tuple[tuple[str, str], ...]

GAUSSIAN = "prompt_encoder.shared_embedding.positional_embedding"
"""The Gaussian of the positional encoding, in transformers and here."""
TWIN = "shared_image_embedding.positional_embedding"
"""transformers' second name for it."""

ADDED = ("box_map.", "box_prior.", "promptless.", "presence.", "filters.", "fine.", "upsampler.")
"""Prefixes of what SegMed adds to SAM in a `PromptableSam`; no published checkpoint has them, any may be given them."""

SEGMENT_ANYTHING: Rows = (
    ("image_encoder.patch_embed.proj.", "vision_encoder.patch_embed.projection."),
    ("image_encoder.pos_embed", "vision_encoder.pos_embed"),
    ("image_encoder.blocks.{}.norm{}.", "vision_encoder.layers.{}.layer_norm{}."),
    ("image_encoder.blocks.{}.", "vision_encoder.layers.{}."),
    ("image_encoder.neck.0.", "vision_encoder.neck.conv1."),
    ("image_encoder.neck.1.", "vision_encoder.neck.layer_norm1."),
    ("image_encoder.neck.2.", "vision_encoder.neck.conv2."),
    ("image_encoder.neck.3.", "vision_encoder.neck.layer_norm2."),
    ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", GAUSSIAN),
    ("prompt_encoder.point_embeddings.{}.", "prompt_encoder.point_embed.{}."),
    ("prompt_encoder.mask_downscaling.0.", "prompt_encoder.mask_embed.conv1."),
    ("prompt_encoder.mask_downscaling.1.", "prompt_encoder.mask_embed.layer_norm1."),
    ("prompt_encoder.mask_downscaling.3.", "prompt_encoder.mask_embed.conv2."),
    ("prompt_encoder.mask_downscaling.4.", "prompt_encoder.mask_embed.layer_norm2."),
    ("prompt_encoder.mask_downscaling.6.", "prompt_encoder.mask_embed.conv3."),
    ("mask_decoder.transformer.norm_final_attn.", "mask_decoder.transformer.layer_norm_final_attn."),
    ("mask_decoder.transformer.layers.{}.norm{}.", "mask_decoder.transformer.layers.{}.layer_norm{}."),
    ("mask_decoder.output_upscaling.0.", "mask_decoder.upscale_conv1."),
    ("mask_decoder.output_upscaling.1.", "mask_decoder.upscale_layer_norm."),
    ("mask_decoder.output_upscaling.3.", "mask_decoder.upscale_conv2."),
    ("mask_decoder.output_hypernetworks_mlps.{}.layers.0.", "mask_decoder.output_hypernetworks_mlps.{}.proj_in."),
    ("mask_decoder.output_hypernetworks_mlps.{}.layers.1.", "mask_decoder.output_hypernetworks_mlps.{}.layers.0."),
    ("mask_decoder.output_hypernetworks_mlps.{}.layers.2.", "mask_decoder.output_hypernetworks_mlps.{}.proj_out."),
    ("mask_decoder.iou_prediction_head.layers.0.", "mask_decoder.iou_prediction_head.proj_in."),
    ("mask_decoder.iou_prediction_head.layers.1.", "mask_decoder.iou_prediction_head.layers.0."),
    ("mask_decoder.iou_prediction_head.layers.2.", "mask_decoder.iou_prediction_head.proj_out."),
)
"""Beginnings of names in segment-anything and in transformers; `{}` is a number. The first row that matches counts."""

OURS: Rows = (("vision_encoder.", "image_encoder.vit."),)
"""Beginnings in transformers and here; the prompt encoder and the mask decoder are transformers' own modules."""


def renamed(name: str, rows: Rows, *, back: bool = False) -> str:
    """A name by the first row that it begins with, from left to right, or `back` from right to left."""
    for row in rows:
        source, target = reversed(row) if back else row
        match = re.match(re.escape(source).replace(r"\{\}", r"(\d+)"), name)
        if match:
            return target.format(*match.groups()) + name[match.end() :]
    return name


def renamed_all(tensors: Mapping[str, Tensor], rows: Rows, *, back: bool = False) -> dict[str, Tensor]:
    """Tensors under their new names."""
    return {renamed(name, rows, back=back): tensor for name, tensor in tensors.items()}
