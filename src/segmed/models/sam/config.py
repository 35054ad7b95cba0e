"""What makes a promptable model more than its image encoder: a value that is saved with the weights."""

from typing import Annotated, Literal

from pydantic import Field

from segmed.core.config import config_dataclass
from segmed.core.errors import ConfigError
from segmed.layers.raising import Kind

Trains = Literal["decoder", "decoder+prompts", "last", "lora", "all"]


@config_dataclass
class SamConfig:
    """A promptable model of the SAM family (Kirillov et al., Segment Anything, ICCV 2023)."""

    size: Annotated[int, Field(ge=32)] = 256
    """Side of the square that the network reads, in pixels: a multiple of 16; SAM and MedSAM were made for 1024."""
    trains: Trains = "all"
    """What training changes: `decoder` is the report's (image and prompt encoder frozen), `decoder+prompts` adds the
    prompt encoder, `last` the image encoder's last two blocks, `lora` low-rank updates of its attention."""
    box_map: bool = True
    """Also draw each box on the image embedding, beside its two corner tokens. The drawing's weights start at zero, so
    that a pre-trained model begins as it was; SAM itself has the tokens alone."""
    promptless_tokens: Annotated[int, Field(ge=0)] = 8
    """Learned tokens that stand in for a prompt where there is none; 0 leaves the decoder its own tokens, as in SAM."""
    presence: bool = True
    """A head that says how probable it is that an image shows the object at all; bounds promptless masks."""
    lora_rank: Annotated[int, Field(ge=1)] = 8
    """Rank of the updates where `trains` is lora."""
    featup: Literal["none", Kind] = "none"
    """Add to the mask decoder's upscaled map the image embedding raised to the mask grid: `jbu` is FeatUp's, guided by
    the image, `jbu-constant` and `bilinear-control` its controls. A gate that starts at zero leaves masks be."""
    encode_at: Annotated[int, Field(ge=32)] | None = None
    """Side in pixels at which the image encoder reads the image; its embedding is then raised to the grid of `size`,
    so that decoder and prompts stay as they are. A multiple of 16 below `size`; None encodes at `size`."""
    encode_raiser: Kind = "jbu"
    """What raises the embedding where `encode_at` is set, by the same names."""

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
