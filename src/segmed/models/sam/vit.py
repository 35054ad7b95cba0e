"""SAM and MedSAM: SAM's ViT image encoder at any size, with SAM's prompt encoder and mask decoder.

Reference: Kirillov et al., Segment Anything, ICCV 2023, appendix A (image encoder: a ViT of patch 16 after Li et al.,
Exploring Plain Vision Transformer Backbones for Object Detection, ECCV 2022, with windows of 14 and four layers of
global attention). The modules are those of transformers (Apache-2.0), built for the wanted size, so that at 1024 the
computation is the unmodified one. Where we differ: random weights are drawn with a deviation of 0.02, as a ViT's
usually are; those of transformers (1e-10) are made to be replaced.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.models.sam.configuration_sam import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

from segmed.core.errors import ModelError
from segmed.layers.lora import LoRALinear
from segmed.models.config import ModelConfig
from segmed.models.families import FAMILIES, vit_of
from segmed.models.sam.network import ImageEncoder, PromptableSam
from segmed.models.sam.parts import CHANNELS, prompt_parts
from segmed.models.sam.weights import find_weights, fit_weights, require_same_architecture
from segmed.models.sam_config import PATCH, SamConfig, Trains, VitConfig

DEVIATION = 0.02
"""Of random weights."""
LAST = 2
"""Layers that `trains: last` trains, with the neck."""


class VitEncoder(ImageEncoder):
    """SAM's image encoder for images of `size`; embeddings have stride 16."""

    stride = PATCH

    def __init__(self, shape: VitConfig, size: int, channels_in: int, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.vit = SamVisionEncoder(
            SamVisionConfig(
                hidden_size=shape.width,
                num_hidden_layers=shape.depth,
                num_attention_heads=shape.heads,
                global_attn_indexes=list(shape.global_layers),
                window_size=shape.window,
                mlp_dim=shape.mlp_width or 4 * shape.width,
                output_channels=CHANNELS,
                num_channels=channels_in,
                image_size=size,
                patch_size=PATCH,
                initializer_range=DEVIATION,
            )
        )
        with torch.no_grad():
            nn.init.trunc_normal_(self.vit.pos_embed, std=DEVIATION)

    def forward(self, image: Float[Tensor, "b k s s"]) -> Float[Tensor, "b c g g"]:
        """The embedding of images."""
        embedding: Tensor
        if self.checkpointing and self.training and torch.is_grad_enabled():
            tokens = self.vit.patch_embed(image) + self.vit.pos_embed
            for layer in self.vit.layers:
                tokens = checkpoint(layer, tokens, use_reentrant=False)
            embedding = self.vit.neck(tokens)
        else:
            embedding = self.vit(image).last_hidden_state
        return embedding

    def train_only(self, trains: Trains, rank: int) -> None:
        """Let gradients reach what `trains` names of the encoder; for lora, updates beside qkv that begin at zero."""
        if trains == "last":
            for part in (*self.vit.layers[-LAST:], self.vit.neck):
                part.requires_grad_(True)
        if trains == "lora":
            for layer in self.vit.layers:
                layer.attn.qkv = LoRALinear.around(layer.attn.qkv, rank)


def build_sam_vit(config: ModelConfig) -> PromptableSam:
    """A member of the family by `config.name`, with random weights or those that `config.encoder_weights` names.

    Raises `ModelError` for more than one label, another encoder, and weights that cannot be had or do not fit.
    """
    sam = config.sam or SamConfig()
    require_possible(config)
    shape = sam.vit or vit_of(config.name)
    pretrained = None
    if config.encoder_weights != "none":  # found first, so that a wrong name costs no time
        pretrained = find_weights(config.encoder_weights, config.name)
        require_same_architecture(pretrained, shape, config.channels, config.name)
    model = bare_vit(config)
    encoder = model.image_encoder
    assert isinstance(encoder, VitEncoder)
    if pretrained is not None:
        fit_weights(pretrained.source.tensors, model, pretrained.place)
        model.contract = pretrained.contract
    encoder.train_only(sam.trains, sam.lora_rank)
    return model


def bare_vit(config: ModelConfig) -> PromptableSam:
    """The model with random weights, before anything is loaded or chosen to be trained."""
    sam = config.sam or SamConfig()
    shape = sam.vit or vit_of(config.name)
    encoder = VitEncoder(shape, sam.encoder_side, config.channels, checkpointing=sam.checkpointing)
    return PromptableSam(encoder, *prompt_parts(sam.size, PATCH), config=sam, image_channels=config.channels)


def require_possible(config: ModelConfig) -> None:
    """Raise `ModelError` for more than one label, and for another encoder than the model's own."""
    if config.labels != 1:
        raise ModelError(f"A promptable model segments one label, got {config.labels}. Name one with --labels.")
    own = FAMILIES[config.name].encoder
    if config.encoder != own:
        raise ModelError(f"{config.name} has an encoder of its own, {own}, not {config.encoder}. Leave --encoder out.")
