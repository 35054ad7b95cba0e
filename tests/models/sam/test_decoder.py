"""Our decoder says what transformers' says, for any prompts, grids and precision, and learns alike."""

import pytest
import torch
from tiny_models import tiny
from transformers.models.sam.modeling_sam import SamMaskDecoder

from segmed.models.sam.decoder import decode_masks


def theirs(
    decoder: SamMaskDecoder, image: torch.Tensor, position: torch.Tensor, sparse: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    masks, iou = decoder(
        image_embeddings=image,
        image_positional_embeddings=position.expand(len(image), -1, -1, -1),
        sparse_prompt_embeddings=None if sparse is None else sparse[:, None],
        dense_prompt_embeddings=torch.zeros_like(image),
        multimask_output=False,
    )
    return masks[:, 0, 0], iou[:, 0, 0]


def three_masks(
    decoder: SamMaskDecoder, image: torch.Tensor, position: torch.Tensor, sparse: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    masks, iou = decoder(
        image_embeddings=image,
        image_positional_embeddings=position.expand(len(image), -1, -1, -1),
        sparse_prompt_embeddings=sparse[:, None],
        dense_prompt_embeddings=torch.zeros_like(image),
        multimask_output=True,
    )
    return masks[:, 0], iou[:, 0]


def sensitive(seed: int = 0) -> SamMaskDecoder:
    """A decoder whose biases and norms are not at their neutral start, where a mistake would hide."""
    torch.manual_seed(seed)
    decoder = tiny().mask_decoder
    for parameter in decoder.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=0.3, std=0.3)
    return decoder.requires_grad_()


@pytest.mark.parametrize(("count", "grid"), [(None, (5, 7)), (2, (8, 8)), (12, (3, 9))])
def test_logits_iou_and_gradients_are_those_of_transformers(count: int | None, grid: tuple[int, int]) -> None:
    decoder = sensitive()
    image = torch.randn(3, 256, *grid, requires_grad=True)
    position = torch.randn(1, 256, *grid)
    sparse = None if count is None else torch.randn(3, count, 256, requires_grad=True)
    wanted = [image, *(() if sparse is None else (sparse,)), *decoder.transformer.parameters()]
    found = []
    for run in (decode_masks, theirs):
        masks, iou = run(decoder, image, position, sparse)
        loss = (masks * torch.linspace(-1, 1, masks.numel()).view_as(masks)).sum() + iou.sum()
        found.append((masks.detach(), iou.detach(), torch.autograd.grad(loss, wanted, allow_unused=True)))
    (masks, iou, gradients), (their_masks, their_iou, their_gradients) = found
    assert masks.shape == (3, 4 * grid[0], 4 * grid[1])
    torch.testing.assert_close(masks, their_masks, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(iou, their_iou, atol=1e-4, rtol=1e-4)
    # the bias of a key moves all scores alike: its gradient is 0, which rounding makes a small number there
    for mine, other in zip(gradients, their_gradients, strict=True):
        scale = float(other.abs().max()) if other is not None else 0.0
        mine = torch.zeros_like(other) if mine is None else mine
        torch.testing.assert_close(mine, other, atol=1e-3 * scale + 1e-2, rtol=1e-3)


def test_in_bf16_the_logits_stay_close() -> None:
    decoder = sensitive()
    image, position, sparse = torch.randn(2, 256, 8, 8), torch.randn(1, 256, 8, 8), torch.randn(2, 3, 256)
    with torch.inference_mode():
        exact, _ = decode_masks(decoder, image, position, sparse)
        with torch.autocast("cpu", torch.bfloat16):
            rough, _ = decode_masks(decoder, image, position, sparse)
    assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_ambiguous_prompts_get_the_best_of_the_three_masks_of_transformers_and_others_the_single_one() -> None:
    decoder = sensitive()
    image, position, sparse = torch.randn(4, 256, 5, 7), torch.randn(1, 256, 5, 7), torch.randn(4, 2, 256)
    ambiguous = torch.tensor([True, False, True, True])
    _, alike = three_masks(decoder, image, position, sparse)
    with torch.no_grad():  # the prompt then decides which mask is best
        decoder.iou_prediction_head.proj_out.bias[1:] -= alike.mean(dim=0)
    three, expected = three_masks(decoder, image, position, sparse)
    single, single_expected = theirs(decoder, image, position, sparse)
    best = expected.argmax(dim=1)
    assert len(set(best[ambiguous].tolist())) > 1  # not always the same token
    masks, iou = decode_masks(decoder, image, position, sparse, ambiguous=ambiguous)
    for row, is_ambiguous in enumerate(ambiguous.tolist()):
        wanted = three[row, best[row]] if is_ambiguous else single[row]
        torch.testing.assert_close(masks[row], wanted, atol=1e-4, rtol=1e-4)
        number = expected[row].max() if is_ambiguous else single_expected[row]
        torch.testing.assert_close(iou[row], number, atol=1e-4, rtol=1e-4)
