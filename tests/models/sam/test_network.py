"""A promptable model: encode once, decode each object on its own, and start as SAM."""

import pytest
import torch
from tiny_models import SIDE, tiny, with_live_additions
from transformers.models.sam.modeling_sam import SamMaskDecoder

from segmed.core.errors import DataError, ModelError
from segmed.layers.embedding import Embedding
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.promptable import Decoded
from segmed.models.sam.network import PromptableSam
from segmed.models.sam.parts import GAUSSIAN, IDLE
from segmed.prompts.value import Prompts

BOX, OTHER = (8, 8, 40, 32), (20, 24, 60, 63)


def embedding(model: PromptableSam, images: int = 2) -> Embedding:
    torch.manual_seed(1)
    with torch.inference_mode():
        return model.encode(torch.randn(images, 3, SIDE, SIDE))


def decode(model: PromptableSam, on: Embedding, *prompts: Prompts) -> Decoded:
    with torch.inference_mode():
        return model.decode(on, ObjectPrompts.of(list(prompts)))


def sam_decoder(model: PromptableSam) -> SamMaskDecoder:
    return model.mask_decoder


def test_masks_are_those_of_sams_own_decoder() -> None:
    model = tiny()
    on = embedding(model, 1)
    ours = decode(model, on, Prompts(boxes=[BOX], points=[(20.0, 20.0)]))
    with torch.inference_mode():
        sparse, dense = model.prompt_encoder(
            input_points=torch.tensor([[[[20.0, 20.0]]]]),
            input_labels=torch.tensor([[[1]]]),
            input_boxes=torch.tensor([[BOX]]).float(),
            input_masks=None,
        )
        masks, iou = sam_decoder(model)(
            image_embeddings=on.first,
            image_positional_embeddings=model._position(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
    torch.testing.assert_close(ours.logits[0], masks[0, 0, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.iou[0], iou[0, 0, 0])


def test_the_mask_prompt_reaches_sams_own_decoder_alike() -> None:
    model = tiny()
    on, previous = embedding(model, 1), torch.randn(1, 32, 32)
    ours = decode(model, on, Prompts(boxes=[BOX], logits=previous.numpy()))
    with torch.inference_mode():
        sparse, dense = model.prompt_encoder(None, None, torch.tensor([[BOX]]).float(), previous[None])
        masks, _ = sam_decoder(model)(on.first, model._position(), sparse, dense, multimask_output=False)
    torch.testing.assert_close(ours.logits[0], masks[0, 0, 0], atol=1e-5, rtol=1e-5)


def test_a_ragged_batch_gives_what_its_images_give_one_by_one() -> None:
    model = with_live_additions(tiny())
    on = embedding(model, 3)
    several = [
        Prompts(boxes=[BOX, OTHER]),
        Prompts(),
        Prompts(points=[(5, 5), (9, 60), (30, 31)], point_labels=[1, 0, 1], point_objects=[0, 0, 1]),
    ]
    together = decode(model, on, *several)
    alone = [decode(model, on[index : index + 1], prompts) for index, prompts in enumerate(several)]
    torch.testing.assert_close(together.logits, torch.cat([each.logits for each in alone]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.iou, torch.cat([each.iou for each in alone]), atol=1e-5, rtol=1e-5)


def test_an_image_without_prompts_can_be_left_out() -> None:
    prompts = ObjectPrompts.of([Prompts(), Prompts(boxes=[BOX])], ask_all=False)
    assert prompts.image.tolist() == [1]


def test_a_batch_of_which_nothing_is_asked_decodes_to_nothing() -> None:
    model = tiny()
    with torch.inference_mode():
        decoded = model.decode(embedding(model), ObjectPrompts.of([Prompts(), Prompts()], ask_all=False))
    assert decoded.logits.shape == (0, 32, 32)
    assert decoded.iou.shape == (0,)


def test_drawing_the_box_changes_no_mask_before_it_is_trained() -> None:
    on = embedding(tiny())
    with_map = decode(tiny(), on, Prompts(boxes=[BOX]), Prompts(boxes=[OTHER]))
    tokens_alone = tiny(box_map=False)
    tokens_alone.load_state_dict({k: v for k, v in tiny().state_dict().items() if not k.startswith("box_map")})
    assert torch.equal(with_map.logits, decode(tokens_alone, on, Prompts(boxes=[BOX]), Prompts(boxes=[OTHER])).logits)


def test_the_places_in_a_box_change_no_mask_before_they_are_trained_and_then_do() -> None:
    on, told = embedding(tiny()), tiny(box_prior=True)
    told.load_state_dict(tiny().state_dict(), strict=False)
    asked = Prompts(boxes=[BOX]), Prompts()
    plain = decode(tiny(), on, *asked).logits
    assert torch.equal(decode(told, on, *asked).logits, plain)
    changed = decode(with_live_additions(told), on, *asked).logits - plain
    assert changed[0].abs().max() > 1e-2
    assert not changed[1].any()


def test_another_box_gives_another_mask_through_the_map_alone() -> None:
    model = with_live_additions(tiny())
    for embed in model.prompt_encoder.point_embed:
        torch.nn.init.zeros_(embed.weight)
    on = embedding(model, 1)
    one, other = (decode(model, on, Prompts(boxes=[box])).logits for box in (BOX, OTHER))
    assert (one - other).abs().max() > 1e-2


def test_no_pixel_without_a_prompt_is_more_probable_than_the_presence() -> None:
    model = tiny()
    torch.manual_seed(1)
    image = torch.randn(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        logits, present = model(image), model.presence_logits(model.encode(image))
    assert logits.shape == (2, 1, SIDE, SIDE)
    assert present is not None
    assert (logits.amax((1, 2, 3)) <= present + 1e-6).all()


def test_without_the_additions_the_model_is_plain_sam() -> None:
    model = tiny(box_map=False, promptless_tokens=0, presence=False)
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {
        "image_encoder", "prompt_encoder", "mask_decoder",
    }  # fmt: skip
    assert decode(model, embedding(model, 1), Prompts()).logits.shape == (1, 32, 32)


def test_an_image_of_another_size_is_refused_with_what_to_set() -> None:
    with pytest.raises(ModelError, match=r"reads 64 x 64 pixels, got 64 x 96.*preprocess.size"):
        tiny().encode(torch.zeros(1, 3, 64, 96))


def test_prompts_for_an_image_that_is_not_there_are_refused() -> None:
    model = tiny()
    with pytest.raises(DataError, match="name image 2 of a batch of 1"):
        decode(model, embedding(model, 1), Prompts(), Prompts(), Prompts(boxes=[BOX]))


@pytest.mark.parametrize(
    ("trains", "frozen"),
    [("decoder", {"image_encoder", "prompt_encoder"}), ("decoder+prompts", {"image_encoder"}), ("all", set())],
)
def test_what_is_not_trained_is_frozen(trains: str, frozen: set[str]) -> None:
    model = tiny(trains=trains).train()
    without = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    never = {name for name in without if name.startswith(IDLE) or name.endswith(GAUSSIAN)}
    assert {name.split(".")[0] for name in without - never} == frozen
    assert sum(name.startswith(IDLE) for name in never) == 3 * 6 + 3  # heads of three linear layers, and three biases
    assert model.image_encoder.training == ("image_encoder" not in frozen)
    assert not model.prompt_encoder.shared_embedding.positional_embedding.requires_grad


def test_a_frozen_encoder_keeps_no_graph_and_a_trained_one_does() -> None:
    image = torch.randn(1, 3, SIDE, SIDE)
    assert not tiny(trains="decoder").embed(image).first.requires_grad
    assert tiny(trains="all").embed(image).first.requires_grad


def test_every_trained_parameter_gets_a_gradient_from_boxes_points_masks_and_no_prompt() -> None:
    model = with_live_additions(tiny(box_prior=True)).train()
    on = model.embed(torch.randn(2, 3, SIDE, SIDE))
    prompts = ObjectPrompts.of([Prompts(boxes=[BOX]), Prompts(points=[(5, 5), (9, 9)], point_labels=[1, 0])])
    first = model.decode(on, prompts)
    again = model.decode(on, prompts.with_logits(first.logits))
    bare = model.decode(on, ObjectPrompts.none(2))
    present = model.presence_logits(on)
    assert present is not None
    total = sum(each.logits.square().mean() + each.iou.square().mean() for each in (first, again, bare))
    (total + present.square().mean()).backward()
    assert {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None} == set()
