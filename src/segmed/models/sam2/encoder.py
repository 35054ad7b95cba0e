"""SAM 2's image encoder: a Hiera, a feature pyramid, and what the mask decoder reads of its finer levels.

Reference: Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024, sec. 4 ("Image encoder") and appendix D;
Ryali et al., Hiera, ICML 2023. The modules with weights are those of transformers (Apache-2.0). Where we differ: the
two convolutions that make the finer levels small (conv_s0 and conv_s1 of the published mask decoder), and the embedding
of "no memory" that SAM 2 adds to single images, belong to the encoder here, as the published predictor computes them
once for each image.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig, Sam2VisionConfig
from transformers.models.sam2.modeling_sam2 import Sam2VisionModel

from segmed.layers.embedding import Embedding, Shape
from segmed.layers.lora import LoRALinear
from segmed.models.sam.network import ImageEncoder
from segmed.models.sam.parts import CHANNELS
from segmed.models.sam_config import HieraConfig, Trains

STRIDE, FINEST = 16, 4
"""Pixels of a cell of the embedding, and of the finest level."""
LAST = 2
"""Blocks that `trains: last` trains, with the pyramid."""


class HieraEncoder(ImageEncoder):
    """Maps images `B K S S` to three levels: `B 256 S/16 S/16`, `B 32 S/4 S/4` and `B 64 S/8 S/8`."""

    stride = STRIDE

    def __init__(self, shape: HieraConfig, size: int, channels_in: int, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.size, self.checkpointing = size, checkpointing
        self.vision = Sam2VisionModel(_vision_config(shape, size, channels_in))
        self.conv_s0 = nn.Conv2d(CHANNELS, CHANNELS // 8, 1)
        self.conv_s1 = nn.Conv2d(CHANNELS, CHANNELS // 4, 1)
        self.no_memory_embedding = nn.Parameter(torch.zeros(1, 1, CHANNELS))
        with torch.no_grad():
            for position in (self.vision.backbone.pos_embed, self.vision.backbone.pos_embed_window):
                nn.init.trunc_normal_(position, std=0.02)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Of the levels that `forward` gives, the coarsest first."""
        coarse, fine = self.size // STRIDE, self.size // FINEST
        return (CHANNELS, coarse, coarse), (CHANNELS // 8, fine, fine), (CHANNELS // 4, fine // 2, fine // 2)

    def forward(self, image: Float[Tensor, "b k s s"]) -> Embedding:
        """The levels of images: that on which prompts are decoded, then the finest, then the one between."""
        finest, between, coarse = self._pyramid(image)
        coarse = coarse + self.no_memory_embedding.view(1, -1, 1, 1)
        return Embedding((coarse, self.conv_s0(finest), self.conv_s1(between)))

    def train_only(self, trains: Trains, rank: int) -> None:
        """Let gradients reach what `trains` names of the encoder; for lora, updates beside qkv that begin at zero."""
        if trains == "last":
            for part in (*self.vision.backbone.blocks[-LAST:], self.vision.neck, self.conv_s0, self.conv_s1):
                part.requires_grad_(True)
        if trains == "lora":
            for block in self.vision.backbone.blocks:
                block.attn.qkv = LoRALinear.around(block.attn.qkv, rank)

    def _pyramid(self, image: Float[Tensor, "b k s s"]) -> tuple[Tensor, ...]:
        """The pyramid's three maps of 256 channels, the finest first."""
        if not (self.checkpointing and self.training and torch.is_grad_enabled()):
            found: tuple[Tensor, ...] = tuple(self.vision(image).fpn_hidden_states)
            return found
        backbone, stages = self.vision.backbone, []
        tokens = backbone.patch_embed(image)
        tokens = tokens + backbone._get_pos_embed(tokens.shape[1:3])
        for number, block in enumerate(backbone.blocks):
            tokens = checkpoint(block, tokens, use_reentrant=False)
            if number in backbone.stage_ends:
                stages.append(tokens)
        maps, _ = self.vision.neck(tuple(stages))
        return tuple(maps[-self.vision.num_feature_levels :][::-1])


def _vision_config(shape: HieraConfig, size: int, channels_in: int) -> Sam2VisionConfig:
    widths = [shape.width * 2**stage for stage in range(4)]
    backbone = Sam2HieraDetConfig(
        hidden_size=shape.width,
        num_attention_heads=shape.heads,
        num_channels=channels_in,
        image_size=[size, size],
        window_positional_embedding_background_size=[shape.background, shape.background],
        blocks_per_stage=list(shape.blocks),
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[shape.heads * 2**stage for stage in range(4)],
        window_size_per_stage=list(shape.windows),
        global_attention_blocks=list(shape.global_blocks),
    )
    cells = [[size // stride, size // stride] for stride in (FINEST, 2 * FINEST, STRIDE)]
    return Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=widths[::-1], backbone_feature_sizes=cells, hidden_act="gelu"
    )
