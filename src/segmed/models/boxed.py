"""A dense model that gets a box as a further input channel: what a promptable model is fairly compared with.

The box is all that it takes of a prompt. It is a `Promptable` whose
embedding is the image itself and every object is a pass through the whole network. The specialists that MedSAM was
compared with got their boxes in this way (Ma et al., Segment anything in medical images, Nat Commun 2024).
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmed.core.errors import ModelError
from segmed.layers.embedding import Embedding
from segmed.models.config import ModelConfig
from segmed.models.dense import build_dense, stride
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.promptable import Decoded, Promptable
from segmed.prompts.grid import box_coverage


class BoxedDense(nn.Module, Promptable):
    """A dense network of one label with the drawn box behind the image's channels; all zero where none is given."""

    image_encoder = None

    def __init__(self, network: nn.Module) -> None:
        """`network` takes one channel more than images have."""
        super().__init__()
        self.network = network
        self.stride = stride(network)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """Logits without a box."""
        return self.unprompted(self.features(image))

    def features(self, image: Float[Tensor, "b c h w"]) -> Embedding:
        """The image itself: every prompt costs a full forward pass."""
        return Embedding((image,))

    def decode(self, embedding: Embedding, prompts: ObjectPrompts) -> Decoded:
        """Logits at the network's size, one pass per object.

        Raises `ModelError` for points and mask prompts.
        """
        prompts.require_images(len(embedding))
        if bool((prompts.point_labels >= 0).any()) or bool(prompts.has_logits.any()):
            raise ModelError("A dense model with a box channel takes boxes alone. Leave points and masks out.")
        images = embedding.first
        size = (images.shape[2], images.shape[3])
        if not len(prompts):
            return Decoded(images.new_zeros((0, *size)).float(), images.new_zeros(0).float())
        drawn = torch.from_numpy(box_coverage(prompts.boxes.double().cpu().numpy(), size, size))
        image = images[prompts.image]
        logits = self.network(torch.cat([image, drawn.to(image)[:, None]], dim=1))[:, 0].float()
        return Decoded(logits, expected_iou(logits.detach()))

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
