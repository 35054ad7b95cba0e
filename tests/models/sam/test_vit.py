"""SAM's ViT: the unmodified computation, at any size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_vit import SIDE, tiny_vit, unmodified, vit_config

from segmed.core.errors import ConfigError, ModelError
from segmed.models.config import ModelConfig
from segmed.models.families import vit_of
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.sam.network import PromptableSam
from segmed.models.sam.vit import VitEncoder
from segmed.models.sam.weights import with_positions_of
from segmed.models.sam_config import VitConfig
from segmed.models.zoo import build_model
from segmed.prompts.value import Prompts

BOXES = [[8.0, 8, 40, 32], [20, 24, 60, 63]]


def with_the_weights_of(source: torch.nn.Module) -> PromptableSam:
    model = tiny_vit()
    own = {
        name.replace("vision_encoder.", "image_encoder.vit."): tensor
        for name, tensor in source.state_dict().items()
        if not name.startswith("shared_image_embedding.")
    }
    missing, unexpected = model.load_state_dict(own, strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"box_map", "promptless", "presence"}
    return model


def test_embeddings_and_embedded_prompts_are_bit_equal_to_the_unmodified_models() -> None:
    theirs = unmodified()
    ours = with_the_weights_of(theirs)
    torch.manual_seed(2)
    image = torch.randn(2, 3, SIDE, SIDE)
    asked = ObjectPrompts.of([Prompts(boxes=[box]) for box in BOXES])
    with torch.inference_mode():
        sparse, dense = theirs.prompt_encoder(None, None, torch.tensor(BOXES)[:, None], None)
        assert torch.equal(ours.encode(image).first, theirs.get_image_embeddings(image))
        assert torch.equal(ours._position(), theirs.get_image_wide_positional_embeddings())
        assert torch.equal(ours._sparse(asked), sparse[:, 0])
        assert torch.equal(ours._dense(asked), dense)


def test_masks_are_those_of_the_unmodified_model_to_the_last_digits() -> None:
    theirs = unmodified()
    ours = with_the_weights_of(theirs)
    torch.manual_seed(2)
    image = torch.randn(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        expected = theirs(pixel_values=image, input_boxes=torch.tensor(BOXES)[:, None], multimask_output=False)
        got = ours.decode(ours.encode(image), ObjectPrompts.of([Prompts(boxes=[box]) for box in BOXES]))
    scale = float(expected.pred_masks.abs().max())
    torch.testing.assert_close(got.logits, expected.pred_masks[:, 0, 0], atol=2e-6 * scale, rtol=0)
    torch.testing.assert_close(got.iou, expected.iou_scores[:, 0, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [32, 48, 112])
def test_any_multiple_of_sixteen_is_a_size_of_the_vit(size: int) -> None:
    model = tiny_vit(size=size)
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, size, size)).shape == (1, 1, size, size)


def test_a_vit_that_reads_a_smaller_image_has_the_weights_and_grids_of_the_full_one() -> None:
    full, smaller = tiny_vit(size=96), tiny_vit(size=96, encode_at=48)
    missing, unexpected = smaller.load_state_dict(
        with_positions_of(smaller.state_dict(), full.state_dict()), strict=False
    )
    assert not unexpected
    assert {name.partition(".")[0] for name in missing} == {"upsampler"}
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        assert smaller.features(image).shapes == ((256, 3, 3),)
        assert smaller.encode(image).shapes == full.encode(image).shapes == ((256, 6, 6),)


@pytest.mark.parametrize(("name", "millions"), [("sam-vit-b", 89.7), ("sam-vit-l", 308.3), ("sam-vit-h", 637.0)])
def test_the_encoders_have_the_sizes_of_the_papers_models(name: str, millions: float) -> None:
    with torch.device("meta"):
        encoder = VitEncoder(vit_of(name), 1024, 3)
    assert sum(parameter.numel() for parameter in encoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_random_weights_are_of_a_useful_size() -> None:
    model = tiny_vit()
    torch.manual_seed(2)
    with torch.inference_mode():
        one, other = model.encode(torch.randn(2, 3, SIDE, SIDE)).first
    assert (one - other).abs().mean() > 0.1


def test_several_labels_are_refused() -> None:
    with pytest.raises(ModelError, match="one label, got 2"):
        build_model(ModelConfig(name="medsam", labels=2))


def test_dimensions_that_no_encoder_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="heads must divide"):
        VitConfig(width=32, heads=3)
    with pytest.raises(ConfigError, match="from 0 to 3"):
        VitConfig(depth=4, global_layers=(4,))
    assert vit_config().sam is not None


def test_single_points_get_the_best_mask_of_the_unmodified_model_where_the_config_says_so() -> None:
    theirs = unmodified()
    ours = with_the_weights_of(theirs)
    ours.config = replace(ours.config, multimask=True)
    torch.manual_seed(2)
    image = torch.randn(1, 3, SIDE, SIDE)
    one, two = Prompts(points=[(20.0, 24.0)]), Prompts(points=[(20.0, 24.0), (40.0, 12.0)])
    with torch.inference_mode():
        on = ours.encode(image)
        alone = theirs(pixel_values=image, input_points=torch.tensor([[[[20.0, 24.0]]]]), multimask_output=True)
        both = theirs(
            pixel_values=image, input_points=torch.tensor([[[[20.0, 24.0], [40.0, 12.0]]]]), multimask_output=False
        )
        single, pair = (ours.decode(on, ObjectPrompts.of([prompts])) for prompts in (one, two))
    best = int(alone.iou_scores[0, 0].argmax())
    scale = float(alone.pred_masks.abs().max())
    torch.testing.assert_close(single.logits[0], alone.pred_masks[0, 0, best], atol=1e-5 * scale, rtol=0)
    torch.testing.assert_close(single.iou[0], alone.iou_scores[0, 0, best], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pair.logits[0], both.pred_masks[0, 0, 0], atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize(
    ("prompts", "ambiguous"),
    [
        (Prompts(points=[(20.0, 24.0)]), True),
        (Prompts(points=[(20.0, 24.0), (9.0, 9.0)]), False),
        (Prompts(points=[(20.0, 24.0)], boxes=[(8, 8, 40, 32)]), False),
        (Prompts(points=[(20.0, 24.0)], logits=np.zeros((1, 16, 16), np.float32)), False),
    ],
)
def test_only_a_point_alone_is_ambiguous(prompts: Prompts, ambiguous: bool) -> None:
    assert ObjectPrompts.of([prompts]).single_points.tolist() == [ambiguous]
