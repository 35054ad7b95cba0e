"""A promptable network: an image encoder, SAM's prompt encoder and mask decoder, and what SegMed adds to them.

Reference: Kirillov et al., Segment Anything, ICCV 2023, sec. 3 and appendix A; the modules with weights are those of
transformers (Apache-2.0). Where we differ: objects are rows, each with its own dense prompt, so that images with
different numbers of objects go together; a box can also be drawn on the embedding; learned tokens stand in for a
missing prompt; a head says whether the image shows the object at all; FeatUp upsamples the embedding, for the mask
decoder's upscaled map (`config.featup`) or because the encoder read a smaller image (`config.encode_at`). All additions
but the tokens and the smaller image leave a pre-trained model's masks as they are until they are trained.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPromptEncoder
from transformers.models.sam2.modeling_sam2 import Sam2MaskDecoder, Sam2PromptEncoder

from segmed.core.errors import ModelError
from segmed.layers.embedding import Embedding, Shape
from segmed.layers.featup import GuidedUpsampler
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.promptable import Decoded, Promptable
from segmed.models.sam.decoder import decode_masks
from segmed.models.sam.featup import SHARE, FineBranch, doublings
from segmed.models.sam.heads import BoxMap, BoxPrior, PresenceHead, PromptlessTokens
from segmed.models.sam.parts import freeze
from segmed.models.sam_config import SamConfig

MASK_CELLS = 4
"""Cells of the mask grid per cell of the embedding, along each side."""


class ImageEncoder(nn.Module):
    """What maps images `B K S S` to embeddings `B C g g`, with g = S / `stride`."""

    stride: int


class PromptableSam(nn.Module, Promptable):
    """Encode an image once, then decode any number of prompts.

    An embedding has one level, and a second on the mask grid where `config.featup` is set (`fine_map`).
    """

    image_encoder: ImageEncoder

    def __init__(
        self,
        image_encoder: ImageEncoder,
        prompt_encoder: SamPromptEncoder | Sam2PromptEncoder,
        mask_decoder: SamMaskDecoder | Sam2MaskDecoder,
        config: SamConfig,
        image_channels: int = 3,
    ) -> None:
        """Put the parts together, and freeze what `config.trains` does not name."""
        super().__init__()
        self.contract: str | None = None  # the preprocessing of pre-trained weights, if known
        self.image_encoder, self.prompt_encoder, self.mask_decoder = image_encoder, prompt_encoder, mask_decoder
        self.config = config
        self.stride = image_encoder.stride
        channels = int(mask_decoder.hidden_size)
        self.box_map = BoxMap(channels) if config.box_map else None
        self.box_prior = BoxPrior(channels // SHARE) if config.box_prior else None
        self.promptless = PromptlessTokens(config.promptless_tokens, channels) if config.promptless_tokens else None
        self.presence = PresenceHead(channels) if config.presence else None
        self.filters = nn.ModuleDict()  # learned filters (GAFL) of the input, the embedding or the guidance, by place
        self.fine: FineBranch | None = None
        if config.featup != "none":
            self.fine = FineBranch(channels, config.featup, image_channels=image_channels)
        self.upsampler: GuidedUpsampler | None = None
        if config.encode_at is not None:
            stages = doublings(config.encode_at // self.stride, self.grid)
            self.upsampler = GuidedUpsampler(config.encode_upsampler, channels, stages, image_channels=image_channels)
        freeze(self, config.trains)

    @property
    def guided(self) -> bool:
        """Whether the image guides an upsampling (FeatUp): decoding from the encoder's features takes it as well, and a
        learned filter can stand on it."""
        return self.fine is not None or self.upsampler is not None

    @property
    def grid(self) -> int:
        """Cells of the embedding along each side."""
        return self.config.size // self.stride

    @property
    def feature_cells(self) -> int:
        """Cells along each side of what the image encoder gives: `grid`, or fewer where it reads a smaller image."""
        return self.config.encoder_side // self.stride

    @property
    def feature_shapes(self) -> tuple[Shape, ...]:
        """One level, before any upsampling."""
        return ((int(self.mask_decoder.hidden_size), self.feature_cells, self.feature_cells),)

    @property
    def mask_side(self) -> int:
        """Cells of the mask grid along each side."""
        return self.grid * MASK_CELLS

    @property
    def trains_encoder(self) -> bool:
        """Whether anything of the image encoder is trained."""
        return any(parameter.requires_grad for parameter in self.image_encoder.parameters())

    def forward(self, image: Float[Tensor, "b k s s"]) -> Float[Tensor, "b 1 s s"]:
        """The promptless mask as logits at the network's size: no pixel is more probable than the presence."""
        return self.unprompted(self.encode(image))

    def embed(self, image: Float[Tensor, "b k h w"]) -> Embedding:
        """`encode`, without a graph where nothing of the image encoder is trained."""
        return self._with_fine(self.upsampled_features(image), image)

    def features(self, image: Float[Tensor, "b k h w"]) -> Embedding:
        """What the image encoder itself gives: the embedding, or one of a smaller grid where `config.encode_at` is set.

        Raises `ModelError` for images that are not `config.size` wide and high.
        """
        side, read = self.config.size, self.config.encoder_side
        if tuple(image.shape[2:]) != (side, side):
            raise ModelError(
                f"The promptable model reads {side} x {side} pixels, got {image.shape[2]} x {image.shape[3]}. "
                f"Set preprocess.size to [{side}, {side}], or model.sam.size to the images' size."
            )
        image = self.filtered("input", image)
        if read != side:
            image = functional.interpolate(image, (read, read), mode="bilinear", align_corners=False, antialias=True)
        return self.encoded(image)

    def encoded(self, image: Float[Tensor, "b k s s"]) -> Embedding:
        """What the image encoder gives of images of the size that it reads."""
        return Embedding((self.image_encoder(image),))

    def completed(self, features: Embedding, image: Float[Tensor, "b k h w"]) -> Embedding:
        """Upsampled by the image where the encoder read a smaller one, and with FeatUp's map where it has one."""
        return self._with_fine(self.upsampled(features.first, image), image)

    def upsampled_features(self, image: Float[Tensor, "b k h w"]) -> Float[Tensor, "b c g g"]:
        """The embedding's first level, without a graph where nothing of the image encoder is trained."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.trains_encoder):
            features = self.features(image)
        return self.upsampled(features.first, image)

    def upsampled(
        self, features: Float[Tensor, "b c f f"], image: Float[Tensor, "b k h w"]
    ) -> Float[Tensor, "b c g g"]:
        """`features`, upsampled by the image where their encoder read a smaller one."""
        if self.upsampler is None:
            return features
        embedding: Tensor = self.upsampler(features, self.guidance(image), (self.grid, self.grid))
        return embedding

    def _with_fine(self, first: Float[Tensor, "b c g g"], image: Float[Tensor, "b k h w"]) -> Embedding:
        fine = self.fine_map(first, image)
        return Embedding((first,) if fine is None else (first, fine))

    def fine_map(
        self, embedding: Float[Tensor, "b c g g"], image: Float[Tensor, "b k h w"]
    ) -> Float[Tensor, "b f y x"] | None:
        """What `decode` adds on the mask grid where `config.featup` is set, from embeddings and the preprocessed images
        they are of; once per image, for any number of prompts. None without such a branch."""
        return None if self.fine is None else self.fine(embedding, self.guidance(image))

    def guidance(self, image: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        """What guides every upsampling: the preprocessed image, through its learned filter if it has one."""
        return self.filtered("guidance", image)

    def train(self, mode: bool = True) -> "PromptableSam":
        """Training mode for what is trained; a frozen image encoder stays in evaluation mode, statistics and all."""
        super().train(mode)
        if not self.trains_encoder:
            self.image_encoder.eval()
        return self

    def decode(self, embedding: Embedding, prompts: ObjectPrompts) -> Decoded:
        """Decode each object on the embedding of its image; order is that of the prompts.

        Objects without any prompt get the learned tokens, if the model has them. Raises `ModelError` where the model
        was built with FeatUp's branch and its level is missing, or the reverse.
        """
        prompts.require_images(len(embedding))
        self.require_levels(embedding)
        first = self.filtered("embedding", embedding.first)
        logits = first.new_zeros((len(prompts), self.mask_side, self.mask_side), dtype=torch.float32)
        iou = first.new_zeros(len(prompts), dtype=torch.float32)
        position = self._position().to(first.dtype)
        for rows in prompts.layouts():
            some = prompts[rows]
            image = first[some.image] + self._dense(some).to(first.dtype)
            found = self.masks_of(some, embedding, image, position)
            logits = logits.index_copy(0, rows, found.logits.float())
            iou = iou.index_copy(0, rows, found.iou.float())
        return Decoded(logits, iou)

    def require_levels(self, embedding: Embedding) -> None:
        """Raise `ModelError` where the model has FeatUp's branch and the embedding lacks its level, or the reverse."""
        if len(embedding.levels) != (1 if self.fine is None else 2):
            raise ModelError(
                f"This model was built with sam.featup={self.config.featup}, and the embedding has "
                f"{len(embedding.levels)} levels. Pass what model.encode or model.completed returned."
            )

    def masks_of(
        self,
        some: ObjectPrompts,
        embedding: Embedding,
        image: Float[Tensor, "m c g g"],
        position: Float[Tensor, "1 c g g"],
    ) -> Decoded:
        """The masks of objects of one layout, each with its image's embedding and dense prompt added."""
        fine = embedding.levels[1] if self.fine is not None else None
        ambiguous = some.single_points if self.config.multimask else None
        return Decoded(
            *decode_masks(self.mask_decoder, image, position, self._sparse(some), self._added(some, fine), ambiguous)
        )

    def presence_logits(self, embedding: Embedding) -> Float[Tensor, " b"] | None:
        """How probable it is that each image shows the object, before the sigmoid; None without such a head."""
        return None if self.presence is None else self.presence(self.filtered("embedding", embedding.first))

    def filtered(self, place: str, values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """What stands at a place (input, embedding or guidance) through its learned filter, if it has one.

        The embedding is filtered where it is decoded and not where it is encoded, so that it can be kept unfiltered.
        """
        return self.filters[place](values) if place in self.filters else values

    def enlarged(self, logits: Float[Tensor, "m h w"]) -> Float[Tensor, "m s s"]:
        """Logits of the mask grid at the network's size, bilinear."""
        side = (self.config.size, self.config.size)
        return functional.interpolate(logits[:, None], side, mode="bilinear", align_corners=False)[:, 0]

    def _added(self, prompts: ObjectPrompts, fine: Float[Tensor, "b f y x"] | None) -> Float[Tensor, "m f y x"] | None:
        """What is added to the decoder's upscaled map of objects of one layout: FeatUp's map and the box's places."""
        own = None if fine is None else fine[prompts.image]
        if self.box_prior is None or not prompts.has_box.any():
            return own
        placed: Tensor = self.box_prior(prompts.boxes / self.config.size, self.mask_side)
        return placed if own is None else own + placed

    def _position(self) -> Float[Tensor, "1 c g g"]:
        """The positional encoding of the embedding's cells, at their centres."""
        embed = self.prompt_encoder.shared_embedding
        centres = (torch.arange(self.grid, device=embed.positional_embedding.device) + 0.5) / self.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        encoded: Tensor = embed(torch.stack([x, y], dim=-1))
        return encoded.permute(2, 0, 1)[None]

    def _sparse(self, prompts: ObjectPrompts) -> Float[Tensor, "m t c"] | None:
        """The tokens of objects of one layout; None where they have none at all.

        As in SAM: points without a box are followed by one token that is no point, and half a pixel is added.
        """
        count = int((prompts.point_labels[:1] >= 0).sum())
        has_box = bool(prompts.has_box[:1].any())
        if not count and not has_box:
            return None if self.promptless is None else self.promptless(len(prompts))
        points, labels = prompts.points[:, :count], prompts.point_labels[:, :count]
        sparse, _ = self.prompt_encoder(
            input_points=points[:, None] if count else None,
            input_labels=labels[:, None] if count else None,
            input_boxes=prompts.boxes[:, None] if has_box else None,
            input_masks=None,
        )
        return sparse[:, 0]

    def _dense(self, prompts: ObjectPrompts) -> Float[Tensor, "m c g g"]:
        """What is added to the embedding: the mask prompt or its absence, and the box drawn as a map."""
        absent = self.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        dense = absent.expand(len(prompts), -1, self.grid, self.grid)
        if prompts.logits is not None and prompts.has_logits.any():
            given: Tensor = self.prompt_encoder.mask_embed(prompts.logits[:, None])
            dense = torch.where(prompts.has_logits[:, None, None, None], given, dense)
        if self.box_map is not None and prompts.has_box.any():
            dense = dense + self.box_map(prompts.boxes / self.config.size, self.mask_side)
        return dense
