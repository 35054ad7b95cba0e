"""SAM's mask decoder, computed with the weights of transformers' module and less work: the same masks, faster.

Reference: Kirillov et al., Segment Anything, ICCV 2023, appendix A and fig. 14. An image has thousands of tokens and a
prompt has ten, so what is projected for every image token is projected for the prompt's instead: in
`(W_q p) · (W_k x) = (W_k^T W_q p) · x` the right side never computes W_k x (its bias adds the same to every x, and the
softmax forgets it), and `sum a_x W_v x = W_v sum a_x x` likewise. The transposed convolutions have as many pixels as
stride, so they are products with a matrix; everything stays in the layout `objects tokens channels`, and only the
finished mask is put in the order of pixels. Measured in `benchmarks/embedding_cache.py`.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional
from transformers.models.sam.modeling_sam import SamMaskDecoder

Tokens = Float[Tensor, "m t c"]
Pixels = Float[Tensor, "m n c"]
Position = Float[Tensor, "1 n c"]


def decode_masks(
    decoder: SamMaskDecoder,
    image: Float[Tensor, "m c g h"],
    position: Float[Tensor, "1 c g h"],
    sparse: Tokens | None,
    fine: Float[Tensor, "m k H W"] | None = None,
    ambiguous: Bool[Tensor, " m"] | None = None,
) -> tuple[Float[Tensor, "m H W"], Float[Tensor, " m"]]:
    """The logits and the expected IoU of one of SAM's masks, one object per row; sides are 4 g and 4 h.

    Args:
        decoder: Whose weights are used.
        image: Embeddings with the dense prompt added, one per object.
        position: Positional encoding of the embedding's cells.
        sparse: Tokens of points and boxes; None where there are none.
        fine: What is added to the upscaled map before its product with the token.
        ambiguous: Objects whose prompt has several answers (SAM, sec. 3, "Resolving ambiguity"). They get the mask of
            the largest expected IoU among the three for these, all others that of the single-mask token; None is all
            others.
    """
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(image), -1, -1)
    prompt = own if sparse is None else torch.cat([own, sparse.to(own.dtype)], dim=1)
    tokens, pixels = _two_way(decoder.transformer, prompt, _as_tokens(image), _as_tokens(position))
    expected: Tensor = decoder.iou_prediction_head(tokens[:, 0])
    weights, iou = _single(decoder, tokens, expected)
    if ambiguous is not None:
        best_weights, best_iou = _best_of_three(decoder, tokens, expected)
        weights = torch.where(ambiguous[:, None], best_weights, weights)
        iou = torch.where(ambiguous, best_iou, iou)
    masks = _mask(decoder, pixels, weights, (image.shape[2], image.shape[3]))
    if fine is not None:  # the product is linear, so what is added to the map is added to its product
        masks = masks + torch.einsum("mk,mkhw->mhw", weights.to(fine.dtype), fine)
    return masks, iou


def _single(
    decoder: SamMaskDecoder, tokens: Tokens, expected: Float[Tensor, "m four"]
) -> tuple[Float[Tensor, "m k"], Float[Tensor, " m"]]:
    """The single-mask token through its MLP, and the IoU that is expected of its mask."""
    return decoder.output_hypernetworks_mlps[0](tokens[:, 1]), expected[:, 0]


def _best_of_three(
    decoder: SamMaskDecoder, tokens: Tokens, expected: Float[Tensor, "m four"]
) -> tuple[Float[Tensor, "m k"], Float[Tensor, " m"]]:
    """The same of that token, among the three others, which expects most of its mask."""
    iou, chosen = expected[:, 1:].max(dim=1)
    networks = decoder.output_hypernetworks_mlps[1:]
    each = torch.stack([network(tokens[:, 2 + number]) for number, network in enumerate(networks)], dim=1)
    return each.gather(1, chosen[:, None, None].expand(-1, 1, each.shape[2]))[:, 0], iou


def _as_tokens(image: Float[Tensor, "m c g h"]) -> Float[Tensor, "m n c"]:
    return image.flatten(2).transpose(1, 2).contiguous()


def _two_way(transformer: Any, prompt: Tokens, pixels: Pixels, position: Position) -> tuple[Tokens, Pixels]:
    """The two-way transformer: the prompt's tokens and the image's, each attending to the other."""
    tokens = prompt
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            tokens = layer.self_attn(query=tokens[:, None], key=tokens[:, None], value=tokens[:, None])[0][:, 0]
        else:
            query = (tokens + prompt)[:, None]
            tokens = tokens + layer.self_attn(query=query, key=query, value=tokens[:, None])[0][:, 0]
        tokens = layer.layer_norm1(tokens)
        placed = pixels + position
        read = _tokens_to_image(layer.cross_attn_token_to_image, tokens + prompt, placed, pixels)
        tokens = layer.layer_norm2(tokens + read)
        tokens = layer.layer_norm3(tokens + layer.mlp(tokens))
        told = _image_to_tokens(layer.cross_attn_image_to_token, placed, tokens + prompt, tokens)
        pixels = layer.layer_norm4(pixels + told)
    read = _tokens_to_image(transformer.final_attn_token_to_image, tokens + prompt, pixels + position, pixels)
    return transformer.layer_norm_final_attn(tokens + read), pixels


def _tokens_to_image(attention: Any, query: Tokens, key: Pixels, value: Pixels) -> Tokens:
    """Attention of few tokens to many pixels, whose keys and values are never projected."""
    heads = attention.num_attention_heads
    asked = _by_head(attention.q_proj(query), heads) * attention.scaling
    wanted = asked @ _head_weights(attention.k_proj, heads)
    scores = wanted.flatten(1, 2) @ key.transpose(1, 2)
    shares = scores.softmax(dim=-1, dtype=torch.float32)
    seen = (shares.to(value.dtype) @ value).unflatten(1, (heads, -1))
    read = seen @ _head_weights(attention.v_proj, heads).transpose(1, 2)
    together: Tensor = read.transpose(1, 2).flatten(2) + attention.v_proj.bias
    return attention.out_proj(together)


def _image_to_tokens(attention: Any, query: Pixels, key: Tokens, value: Tokens) -> Pixels:
    """Attention of many pixels to few tokens: neither the pixels' queries nor their outputs are projected."""
    heads = attention.num_attention_heads
    offered = _by_head(attention.k_proj(key), heads) * attention.scaling
    wanted = offered @ _head_weights(attention.q_proj, heads)
    constant = offered @ attention.q_proj.bias.view(heads, -1, 1)
    scores = (wanted.flatten(1, 2) @ query.transpose(1, 2)).unflatten(1, (heads, -1)) + constant
    shares = scores.softmax(dim=2, dtype=torch.float32).flatten(1, 2)
    out_weight = attention.out_proj.weight.t().unflatten(0, (heads, -1))
    given = (_by_head(attention.v_proj(value), heads) @ out_weight).flatten(1, 2)
    return shares.to(given.dtype).transpose(1, 2) @ given + attention.out_proj.bias


def _by_head(projected: Tokens, heads: int) -> Float[Tensor, "m heads t d"]:
    return torch.unflatten(projected, -1, (heads, -1)).transpose(1, 2)


def _head_weights(projection: Any, heads: int) -> Float[Tensor, "heads d c"]:
    weight: Tensor = projection.weight
    return torch.unflatten(weight, 0, (heads, -1))


def _mask(
    decoder: SamMaskDecoder, pixels: Pixels, weights: Float[Tensor, "m k"], grid: tuple[int, int]
) -> Float[Tensor, "m H W"]:
    """Pixels upscaled twice by two and weighted to a mask, in order of pixels only at the end."""
    norm = decoder.upscale_layer_norm
    upscaled = functional.layer_norm(
        _split(decoder.upscale_conv1, pixels), norm.normalized_shape, norm.weight, norm.bias, norm.eps
    )
    upscaled = decoder.activation(_split(decoder.upscale_conv2, decoder.activation(upscaled)))
    masks = upscaled.flatten(1, 3) @ weights[:, :, None].to(upscaled.dtype)
    masks = masks.view(-1, *grid, 2, 2, 2, 2)
    return masks.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 4 * grid[0], 4 * grid[1])


def _split(convolution: Any, pixels: Float[Tensor, "m *n c"]) -> Float[Tensor, "m *n four k"]:
    """A transposed convolution of 2 x 2 and stride 2: each pixel becomes four, row by row."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return torch.unflatten(functional.linear(pixels, weight, convolution.bias.repeat(4)), -1, (4, -1))
