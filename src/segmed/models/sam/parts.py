"""SAM's prompt encoder and mask decoder with random weights, and which parts of a model training changes."""

import torch
from torch import nn
from transformers.models.sam.configuration_sam import SamConfig as TransformersSamConfig
from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPromptEncoder

from segmed.models.sam_config import Trains

CHANNELS = 256
"""Channels of an embedding, in every member of the family."""

ENCODER, PROMPTS = "image_encoder.", "prompt_encoder."
GAUSSIAN = "positional_embedding"
"""The random Gaussian of the positional encoding, which SAM draws once and never trains."""

IDLE = (
    *(f"mask_decoder.output_hypernetworks_mlps.{number}." for number in (1, 2, 3)),
    *(f"mask_decoder.transformer.layers.{number}.cross_attn_token_to_image.k_proj.bias" for number in (0, 1)),
    "mask_decoder.transformer.final_attn_token_to_image.k_proj.bias",
    "mask_decoder.pred_obj_score_head.",
)
"""Weights that no mask depends on: heads of SAM's three other masks, biases that a softmax forgets, and SAM 2's head
that says whether a video's frame shows the object. They are kept, so that SAM's weights fit, and left as they are."""


def freeze(model: nn.Module, trains: Trains) -> None:
    """Let gradients reach what `trains` names and nothing else; what SegMed adds to SAM is always trained.

    The parts of an encoder that `last` and `lora` train are chosen where the encoder is built.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(
            _is_trained(name, trains) and not name.endswith(GAUSSIAN) and not name.startswith(IDLE)
        )


def _is_trained(name: str, trains: Trains) -> bool:
    if name.startswith(ENCODER):
        return trains == "all"
    return not name.startswith(PROMPTS) or trains != "decoder"


def prompt_parts(size: int, stride: int) -> tuple[SamPromptEncoder, SamMaskDecoder]:
    """SAM's own prompt encoder and mask decoder, for images of `size` and embeddings of `size / stride` cells.

    The Gaussian of the positional encoding has SAM's deviation of 1; transformers draws it with another.
    """
    vision = {"hidden_size": 2 * CHANNELS, "image_size": size, "patch_size": stride, "num_pos_feats": CHANNELS // 2}
    config = TransformersSamConfig(
        vision_config=vision, prompt_encoder_config={"image_size": size, "patch_size": stride}
    )
    config.mask_decoder_config._attn_implementation = "eager"
    prompt_encoder, mask_decoder = SamPromptEncoder(config), SamMaskDecoder(config.mask_decoder_config)
    gaussian = prompt_encoder.shared_embedding.positional_embedding
    with torch.no_grad():
        gaussian.copy_(torch.randn_like(gaussian))
    gaussian.requires_grad_(False)
    return prompt_encoder, mask_decoder
