"""SAM 2 as a promptable network for single images: an embedding of three levels, and a decoder that reads them all.

Reference: Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024, sec. 4 and appendix D. The prompt encoder
and the mask decoder are transformers' own modules (Apache-2.0), used as they are. As in the published image predictor,
a single point gets the best of three masks, and a mask that is not stable gives way to the best of these, where
`config.multimask` is set; training is of the single mask. Not here: memory, which carries masks through a video.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.models.sam2.modeling_sam2 import Sam2MaskDecoder

from segmed.core.errors import ModelError
from segmed.layers.embedding import Embedding, Shape
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.promptable import Decoded
from segmed.models.sam.network import PromptableSam
from segmed.models.sam2.encoder import HieraEncoder

LEVELS = 3


class PromptableSam2(PromptableSam):
    """`PromptableSam` with SAM 2's encoder and decoder; the box's map, tokens for no prompt and the presence head are
    the same. Embeddings are those of `HieraEncoder`."""

    image_encoder: HieraEncoder
    mask_decoder: Sam2MaskDecoder

    @property
    def feature_shapes(self) -> tuple[Shape, ...]:
        """The encoder's three levels."""
        return self.image_encoder.shapes

    def encoded(self, image: Float[Tensor, "b k s s"]) -> Embedding:
        """What the image encoder gives of images of its own size."""
        levels: Embedding = self.image_encoder(image)
        return levels

    def completed(self, features: Embedding, image: Float[Tensor, "b k h w"]) -> Embedding:
        """The features themselves."""
        return features

    def embed(self, image: Float[Tensor, "b k h w"]) -> Embedding:
        """`encode`, without a graph where nothing of the image encoder is trained."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.trains_encoder):
            return self.features(image)

    def require_levels(self, embedding: Embedding) -> None:
        """Raise `ModelError` for an embedding of another model."""
        if len(embedding.levels) != LEVELS:
            raise ModelError(
                f"SAM 2 decodes embeddings of {LEVELS} levels, got {len(embedding.levels)}. Pass what model.encode "
                "returned."
            )

    def masks_of(
        self,
        some: ObjectPrompts,
        embedding: Embedding,
        image: Float[Tensor, "m c g g"],
        position: Float[Tensor, "1 c g g"],
    ) -> Decoded:
        """The masks of objects of one layout, each with its image's embedding and dense prompt added."""
        sparse = self._sparse(some)
        tokens = image.new_zeros((len(some), 0, image.shape[1])) if sparse is None else sparse
        three = some.single_points if self.config.multimask else torch.zeros_like(some.has_box)
        logits = image.new_zeros((len(some), self.mask_side, self.mask_side), dtype=torch.float32)
        iou = image.new_zeros(len(some), dtype=torch.float32)
        for ambiguous in (False, True):
            rows = (three == ambiguous).nonzero()[:, 0]
            if not len(rows):
                continue
            finest, between = (level[some.image[rows]] for level in embedding.levels[1:])
            masks, expected, _, _ = self.mask_decoder(
                image_embeddings=image[rows],
                image_positional_embeddings=position.expand(len(rows), -1, -1, -1),
                sparse_prompt_embeddings=tokens[rows, None],
                dense_prompt_embeddings=torch.zeros_like(image[rows]),
                multimask_output=ambiguous,
                high_resolution_features=[finest, between],
            )
            best, here = expected[:, 0].argmax(dim=1), torch.arange(len(rows), device=rows.device)
            logits = logits.index_copy(0, rows, masks[here, 0, best].float())
            iou = iou.index_copy(0, rows, expected[here, 0, best].float())
        return Decoded(logits, iou)
