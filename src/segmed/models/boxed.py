"""A dense model that gets a box as a further input channel: what a promptable model is fairly compared with.

The box is all that it takes of a prompt. Seen from outside it encodes and decodes like a `PromptableSam`, but its
embedding is the image itself and every object is a pass through the whole network. The specialists that MedSAM was
compared with got their boxes in this way (Ma et al., Segment anything in medical images, Nat Commun 2024).
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmed.core.errors import ModelError
from segmed.models.config import ModelConfig
from segmed.models.dense import build_dense, stride
from segmed.models.sam.network import Decoded
from segmed.models.sam.prompts import ObjectPrompts
from segmed.prompts.grid import box_coverage


class BoxedDense(nn.Module):
    """A dense network of one label with the drawn box behind the image's channels; all zero where none is given."""

    def __init__(self, network: nn.Module) -> None:
        """`network` takes one channel more than images have."""
        super().__init__()
        self.network = network
        self.stride = stride(network)

    @property
    def mask_side(self) -> int:
        """Raises `ModelError`: there is no grid for mask prompts."""
        raise ModelError("A dense model with a box channel takes no mask prompts. Give it boxes.")

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """Logits without a box."""
        return self.unprompted(image)

    def unprompted(self, embedding: Float[Tensor, "b c h w"], fine: Tensor | None = None) -> Float[Tensor, "b 1 h w"]:
        """`forward`, by the name that promptable models have for it."""
        return self.decode(embedding, ObjectPrompts.none(len(embedding), embedding.device)).logits[:, None]

    def encode(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The image itself: every prompt costs a full forward pass."""
        return image

    def embed(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """`encode`."""
        return image

    def upsampled(
        self, features: Float[Tensor, "b c h w"], image: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        """Features are the image already."""
        return features

    def fine_map(self, embedding: Float[Tensor, "b c h w"], image: Float[Tensor, "b c h w"]) -> None:
        """It has no such map."""
        return

    def decode(
        self, embedding: Float[Tensor, "b c h w"], prompts: ObjectPrompts, fine: Tensor | None = None
    ) -> Decoded:
        """Logits at the network's size, one pass per object; `fine` is None, as `fine_map` is.

        Raises `ModelError` for points and mask prompts.
        """
        prompts.require_images(len(embedding))
        if bool((prompts.point_labels >= 0).any()) or bool(prompts.has_logits.any()):
            raise ModelError("A dense model with a box channel takes boxes alone. Leave points and masks out.")
        size = (embedding.shape[2], embedding.shape[3])
        if not len(prompts):
            return Decoded(embedding.new_zeros((0, *size)).float(), embedding.new_zeros(0).float())
        drawn = torch.from_numpy(box_coverage(prompts.boxes.double().cpu().numpy(), size, size))
        image = embedding[prompts.image]
        logits = self.network(torch.cat([image, drawn.to(image)[:, None]], dim=1))[:, 0].float()
        return Decoded(logits, expected_iou(logits.detach()))

    def presence_logits(self, embedding: Float[Tensor, "b c h w"]) -> None:
        """It has no such head."""
        return

    def enlarged(self, logits: Float[Tensor, "m h w"]) -> Float[Tensor, "m h w"]:
        """They have the network's size already."""
        return logits


def expected_iou(logits: Float[Tensor, "m h w"]) -> Float[Tensor, " m"]:
    """The IoU of each mask (logits above 0) that its own probabilities lead to expect, where there is no head for it.

    Expected intersection over expected union: the probability inside over the mask's size plus that outside. An empty
    mask gets 1 less the largest probability.
    """
    probabilities = logits.sigmoid().flatten(1)
    inside = probabilities >= 0.5
    hits = torch.where(inside, probabilities, 0).sum(1)
    union = torch.where(inside, 1, probabilities).sum(1)
    return torch.where(inside.any(1), hits / union, 1 - probabilities.amax(1))


def build_boxed(config: ModelConfig) -> BoxedDense:
    """A dense model with a box channel; raises `ModelError` for several labels and whatever `build_dense` refuses."""
    if config.labels != 1:
        raise ModelError(f"A box asks for one label, but model.labels is {config.labels}. Name one with --labels.")
    return BoxedDense(build_dense(replace(config, channels=config.channels + 1)))
