"""What makes a promptable model more than its image encoder: a value that is saved with the weights."""

from typing import Annotated, Literal

from pydantic import Field

from segmed.core.config import config_dataclass
from segmed.core.errors import ConfigError
from segmed.layers.featup import GuidedKind

Trains = Literal["decoder", "decoder+prompts", "last", "lora", "all"]
FROZEN_ENCODER: tuple[Trains, ...] = ("decoder", "decoder+prompts")
"""Values of `sam.trains` under which the image encoder learns nothing."""


@config_dataclass
class VitConfig:
    """The dimensions of a ViT image encoder as SAM's: windowed attention, and global in some layers."""

    width: Annotated[int, Field(ge=8)] = 768
    """Channels of a token."""
    depth: Annotated[int, Field(ge=1)] = 12
    """Layers."""
    heads: Annotated[int, Field(ge=1)] = 12
    """Heads of attention; they divide the width."""
    global_layers: tuple[int, ...] = (2, 5, 8, 11)
    """Layers, from 0, whose attention sees the whole image; the others see windows."""
    window: Annotated[int, Field(ge=1)] = 14
    """Side of a window in tokens."""
    mlp_width: Annotated[int, Field(ge=1)] | None = None
    """Channels within a layer's MLP; None is four times the width."""

    def __post_init__(self) -> None:
        """Refuse numbers that no encoder has."""
        if self.width % self.heads:
            raise ConfigError(f"vit.heads must divide vit.width, got {self.heads} and {self.width}.")
        if any(not 0 <= layer < self.depth for layer in self.global_layers):
            raise ConfigError(f"vit.global_layers lie from 0 to {self.depth - 1}, got {self.global_layers}.")


@config_dataclass
class HieraConfig:
    """The dimensions of SAM 2's image encoder: a Hiera of four stages, each of half the resolution of the one before.

    Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024, sec. 4 and appendix D.
    """

    width: Annotated[int, Field(ge=8)] = 96
    """Channels of a token in the first stage; each further stage has twice as many."""
    heads: Annotated[int, Field(ge=1)] = 1
    """Heads of attention in the first stage; each further stage has twice as many. They divide the width."""
    blocks: tuple[int, int, int, int] = (1, 2, 7, 2)
    """Blocks of each stage."""
    global_blocks: tuple[int, ...] = (5, 7, 9)
    """Blocks, from 0 over all stages, whose attention sees the whole image; the others see windows."""
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    """Sides of the windows of each stage, in tokens."""
    background: Annotated[int, Field(ge=1)] = 7
    """Side of the grid of positions that is stretched over the image."""

    def __post_init__(self) -> None:
        """Refuse numbers that no encoder has."""
        if self.width % self.heads:
            raise ConfigError(f"hiera.heads must divide hiera.width, got {self.heads} and {self.width}.")
        if min(self.blocks) < 1 or min(self.windows) < 1:
            raise ConfigError(f"hiera.blocks and hiera.windows are at least 1, got {self.blocks} and {self.windows}.")
        if any(not 0 <= block < sum(self.blocks) for block in self.global_blocks):
            raise ConfigError(f"hiera.global_blocks lie from 0 to {sum(self.blocks) - 1}, got {self.global_blocks}.")


PATCH = 16
"""Side of a patch of SAM's ViTs in pixels."""


@config_dataclass
class SamConfig:
    """A promptable model of the SAM family (Kirillov et al., Segment Anything, ICCV 2023)."""

    size: Annotated[int, Field(ge=32)] = 256
    """Side of the square that the network reads, in pixels: a multiple of 16; SAM and MedSAM were made for 1024."""
    trains: Trains = "all"
    """What is trained: `decoder` is the reproduced paper's (both encoders frozen), `decoder+prompts` adds the
    prompt encoder, `last` the image encoder's last two layers and neck, `lora` low-rank updates of its attention."""
    box_map: bool = True
    """Also draw each box on the image embedding, beside its two corner tokens. The drawing's weights start at zero, so
    that a pre-trained model begins as it was; SAM itself has the tokens alone."""
    box_prior: bool = False
    """Also tell the mask decoder's upscaled map where each of its cells lies in the box, measured in the box's sides. A
    gate starts at zero, so that a pre-trained model's masks begin as they were."""
    promptless_tokens: Annotated[int, Field(ge=0)] = 8
    """Learned tokens that stand in for a prompt where there is none; 0 leaves the decoder its own tokens, as in SAM."""
    presence: bool = True
    """A head that says how probable it is that an image shows the object at all; bounds promptless masks."""
    multimask: bool = False
    """Answer a single point with the best, by expected IoU, of the three masks that SAM was trained to give for it, in
    place of the one that it gives for all other prompts. For weights as they were published: training is of the one."""
    lora_rank: Annotated[int, Field(ge=1)] = 8
    """Rank of the updates where `trains` is lora."""
    featup: Literal["none", GuidedKind] = "none"
    """Add to the mask decoder's upscaled map the image embedding upsampled to the mask grid: `jbu` is FeatUp's, guided
    by the image, `jbu-constant` and `bilinear-control` its controls. A gate that starts at zero leaves masks be."""
    encode_at: Annotated[int, Field(ge=32)] | None = None
    """Side in pixels at which the image encoder reads the image; its embedding is then upsampled to the grid of `size`,
    so that decoder and prompts stay as they are. A multiple of 16 below `size`; None encodes at `size`."""
    encode_upsampler: GuidedKind = "jbu"
    """What upsamples the embedding where `encode_at` is set, by the same names."""
    checkpointing: bool = False
    """Compute the image encoder's layers again on the way back rather than keep what they hold: less memory, about a
    third more time. For ViT encoders that are trained."""
    vit: VitConfig | None = None
    """Dimensions of a ViT image encoder that is none of SAM's; None is what the model's name says."""
    hiera: HieraConfig | None = None
    """The same of an image encoder of SAM 2's kind."""

    def __post_init__(self) -> None:
        """Refuse sizes that no member of the family can read."""
        if self.size % 16:
            near = max(32, round(self.size / 16) * 16)
            raise ConfigError(f"sam.size is a multiple of 16, got {self.size}. Use {near}.")
        if self.encode_at is not None and (self.encode_at % 16 or self.encode_at >= self.size):
            raise ConfigError(
                f"sam.encode_at is a multiple of 16 below sam.size ({self.size}), got {self.encode_at}. "
                f"Use {max(32, self.size // 32 * 16)}, or null to encode at full size."
            )

    @property
    def encoder_side(self) -> int:
        """Side in pixels of what the image encoder reads."""
        return self.size if self.encode_at is None else self.encode_at
