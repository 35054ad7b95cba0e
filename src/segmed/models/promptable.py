"""What a model that takes prompts is: a protocol, and from its decoder's objects to one answer per image.

A model subclasses `Promptable` beside `nn.Module` and defines `features`, `decode` and `enlarged`; the rest has
defaults. `encode` is `completed(features(image), image)`: `features` is what can be kept beside a frozen encoder, and
`completed` adds what is made from them and the image, such as FeatUp's maps. None of the three depends on prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmed.core.errors import ModelError
from segmed.layers.embedding import Embedding, Shape
from segmed.models.object_prompts import ObjectPrompts
from segmed.prompts.value import Prompts

NOTHING = -20.0
"""The logit of an image of which nothing was asked: surely background."""


@dataclass(frozen=True)
class Decoded:
    """What the decoder says of m objects."""

    logits: Float[Tensor, "m h w"]
    """On the model's mask grid; SAM's has four cells per cell of the embedding, along each side."""
    iou: Float[Tensor, " m"]
    """The IoU that the model expects of each mask, not bounded to 0 to 1."""


@runtime_checkable
class Promptable(Protocol):
    """A network that encodes images once and decodes any number of prompts."""

    image_encoder: nn.Module | None
    """What `features` depends on, if it is worth keeping; None where features are the images."""
    contract: str | None = None
    """The preprocessing of the pre-trained weights that it began with, if known."""

    @property
    def mask_side(self) -> int | None:
        """Cells of mask prompts along each side; None where the model takes none."""
        return None

    @property
    def feature_shapes(self) -> tuple[Shape, ...]:
        """The levels of `features`; none where these are not worth keeping."""
        return ()

    @property
    def guided(self) -> bool:
        """Whether `completed` needs the image."""
        return False

    def features(self, image: Float[Tensor, "b k h w"]) -> Embedding:
        """What the image encoder itself says of preprocessed images."""
        ...

    def completed(self, features: Embedding, image: Float[Tensor, "b k h w"]) -> Embedding:
        """The embedding that `decode` takes, from features, kept or new, and the preprocessed images they are of."""
        return features

    def encode(self, image: Float[Tensor, "b k h w"]) -> Embedding:
        """The embedding of preprocessed images."""
        return self.completed(self.features(image), image)

    def embed(self, image: Float[Tensor, "b k h w"]) -> Embedding:
        """`encode` in training: without a graph where nothing of the image encoder is trained."""
        return self.encode(image)

    def decode(self, embedding: Embedding, prompts: ObjectPrompts) -> Decoded:
        """Decode each object on the embedding of its image, in the order of the prompts.

        Args:
            embedding: Of b images, as `encode` gives it.
            prompts: Of m objects; m may be 0, as of a batch of slices without any object.

        Returns:
            Logits `m h w` on the mask grid, and m expected IoUs.

        Raises:
            ModelError: Prompts or an embedding that the model does not take.
        """
        ...

    def enlarged(self, logits: Float[Tensor, "m h w"]) -> Float[Tensor, "m y x"]:
        """Decoded logits at the network's size, also where m is 0 (torch's `interpolate` refuses an empty batch)."""
        ...

    def presence_logits(self, embedding: Embedding) -> Float[Tensor, " b"] | None:
        """How probable it is that each image shows the object, before the sigmoid; None without such a head."""
        return None

    def unprompted(self, embedding: Embedding) -> Float[Tensor, "b 1 y x"]:
        """Logits without a prompt at the network's size: no pixel is more probable than the presence."""
        decoded = self.decode(embedding, ObjectPrompts.none(len(embedding), embedding.device))
        logits = self.enlarged(decoded.logits)[:, None]
        present = self.presence_logits(embedding)
        return logits if present is None else torch.minimum(logits, present[:, None, None, None])


def require_promptable(model: nn.Module) -> Promptable:
    """The model, if it takes prompts; raises `ModelError` otherwise."""
    if not isinstance(model, Promptable):
        raise ModelError(f"{type(model).__name__} takes no prompts. Choose a promptable model, such as sam-tiny.")
    return model


def prompted_logits(model: Promptable, embedding: Embedding, prompts: Sequence[Prompts]) -> Float[Tensor, "b h w"]:
    """Logits at the network's size of all that is asked of each image; `NOTHING` where that is nothing.

    Prompts are on the network's grid, one value per image.
    """
    objects = ObjectPrompts.of(prompts, ask_all=False).to(embedding.device)
    return largest_logits(model, model.decode(embedding, objects), objects, len(prompts))


def largest_logits(model: Promptable, decoded: Decoded, objects: ObjectPrompts, images: int) -> Float[Tensor, "b h w"]:
    """The largest logit of an image's objects, pixel by pixel at the network's size; `NOTHING` without any."""
    enlarged = model.enlarged(decoded.logits)
    size = enlarged.shape[1:]
    logits = torch.full((images, *size), NOTHING, device=enlarged.device)
    if not len(objects):
        return logits
    rows = objects.image[:, None, None].expand(-1, *size)
    return logits.scatter_reduce(0, rows, enlarged, "amax")
