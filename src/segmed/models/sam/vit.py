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
from transformers.models.sam.configuration_sam import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

from segmed.core.errors import ModelError
from segmed.models.config import ModelConfig
from segmed.models.sam.config import SamConfig, VitConfig
from segmed.models.sam.network import ImageEncoder, Promptable
from segmed.models.sam.parts import CHANNELS, prompt_parts

PATCH = 16
DEVIATION = 0.02

SHAPES: dict[str, VitConfig] = {
    "sam-vit-b": VitConfig(),
    "sam-vit-l": VitConfig(width=1024, depth=24, heads=16, global_layers=(5, 11, 17, 23)),
    "sam-vit-h": VitConfig(width=1280, depth=32, heads=16, global_layers=(7, 15, 23, 31)),
    "medsam": VitConfig(),
}
"""The image encoder of each member of the family."""


class VitEncoder(ImageEncoder):
    """SAM's image encoder for images of `size`; embeddings have stride 16."""

    stride = PATCH

    def __init__(self, shape: VitConfig, size: int, channels_in: int) -> None:
        super().__init__()
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
        embedding: Tensor = self.vit(image).last_hidden_state
        return embedding


def build_sam_vit(config: ModelConfig) -> Promptable:
    """A member of the family by `config.name`.

    Raises `ModelError` for more than one label.
    """
    if config.labels != 1:
        raise ModelError(f"A promptable model segments one label, got {config.labels}. Name one with --labels.")
    sam = config.sam or SamConfig()
    encoder = VitEncoder(sam.vit or SHAPES[config.name], sam.size, config.channels)
    return Promptable(encoder, *prompt_parts(sam.size, PATCH), config=sam)
