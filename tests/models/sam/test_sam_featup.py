"""FeatUp in promptable models: a branch that starts as nothing, and an encoder that reads a smaller image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import SIDE, tiny
from torch import nn

from segmed.core.errors import ConfigError, ModelError
from segmed.core.labels import LabelMap
from segmed.inference import load
from segmed.inference.prompted import PromptedPredictor
from segmed.layers.embedding import Embedding
from segmed.layers.featup import KINDS, GuidedKind, GuidedUpsampler
from segmed.layers.gafl import GaflConfig
from segmed.models.checkpoint import RunConfig, save_run
from segmed.models.config import ModelConfig
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.promptable import Decoded
from segmed.models.sam.featup import doublings
from segmed.models.sam.network import PromptableSam
from segmed.models.sam.tiny import build_sam_tiny
from segmed.models.sam_config import SamConfig
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig
from segmed.prompts.value import Prompts

BOX = Prompts(boxes=[(8, 8, 40, 32)])


def images(count: int = 2) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(count, 3, SIDE, SIDE)


def opened(model: PromptableSam) -> PromptableSam:
    """The model with the branch's gate open, so that what it adds can be seen."""
    assert model.fine is not None
    nn.init.ones_(model.fine.gate)
    return model


def decode(model: PromptableSam, image: torch.Tensor, *prompts: Prompts) -> Decoded:
    with torch.inference_mode():
        return model.decode(model.encode(image), ObjectPrompts.of(list(prompts)))


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_start_masks_are_bit_identical_to_those_without_the_branch(kind: GuidedKind) -> None:
    plain, with_branch = tiny(), tiny(featup=kind)
    assert torch.equal(decode(plain, images(), BOX, BOX).logits, decode(with_branch, images(), BOX, BOX).logits)
    with torch.inference_mode():
        assert torch.equal(plain(images()), with_branch(images()))


def test_an_open_gate_changes_masks_differently_for_each_image() -> None:
    plain, model = tiny(), opened(tiny(featup="jbu"))
    change = decode(model, images(), BOX, BOX).logits - decode(plain, images(), BOX, BOX).logits
    assert change.abs().amax((1, 2)).min() > 0
    assert torch.allclose(
        decode(model, images()[1:], BOX).logits, decode(model, images(), BOX, BOX).logits[1:], atol=1e-4
    )


def test_one_map_of_an_image_serves_all_its_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(tiny(featup="jbu"))
    two = Prompts(boxes=[(8, 8, 40, 32), (20, 24, 60, 63)])
    made = []
    forward = GuidedUpsampler.kernels
    monkeypatch.setattr(GuidedUpsampler, "kernels", lambda *arguments: made.append(1) or forward(*arguments))
    together = decode(model, images(1), two).logits
    assert len(made) == 1
    apart = [decode(model, images(1), Prompts(boxes=[box])).logits for box in two.boxes]
    assert torch.allclose(together, torch.cat(apart), atol=1e-4)


def test_a_kept_embedding_and_the_image_give_the_same_masks() -> None:
    model = opened(tiny(featup="jbu"))
    with torch.inference_mode():
        kept = Embedding((model.features(images()).first.half(),)).float()  # as a cache keeps it
        cached = model.decode(model.completed(kept, images()), ObjectPrompts.of([BOX, BOX]))
    assert torch.allclose(cached.logits, decode(model, images(), BOX, BOX).logits, atol=1e-2)


def test_decoding_without_the_map_is_refused_where_the_model_has_the_branch() -> None:
    model = tiny(featup="jbu")
    with pytest.raises(ModelError, match=r"featup=jbu, and the embedding has 1 levels.*Pass what model.encode"):
        model.decode(model.features(images()), ObjectPrompts.of([BOX, BOX]))
    with pytest.raises(ModelError, match=r"featup=none, and the embedding has 2 levels"):
        tiny().decode(model.encode(images()), ObjectPrompts.of([BOX, BOX]))


def test_the_gate_gets_the_first_gradient_and_then_all_of_the_branch_does() -> None:
    model = tiny(featup="jbu").train()
    assert model.fine is not None
    for step in range(2):
        model.zero_grad()
        embedding = model.embed(images())
        model.decode(embedding, ObjectPrompts.of([BOX, BOX])).logits.sum().backward()
        moved = {name: bool(p.grad is not None and p.grad.any()) for name, p in model.fine.named_parameters()}
        assert all(moved.values()) if step else moved["gate"]
        with torch.no_grad():
            model.fine.gate.add_(0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_smaller_image_in_the_encoder_gives_the_same_grids_and_masks_to_the_decoder(kind: GuidedKind) -> None:
    model = tiny(encode_at=32, encode_upsampler=kind)
    with torch.inference_mode():
        assert model.features(images()).shapes == model.feature_shapes == ((256, 4, 4),)
        assert model.encode(images()).shapes == ((256, 8, 8),)
    assert decode(model, images(), BOX, BOX).logits.shape == (2, 32, 32)


def test_what_raises_a_frozen_encoders_embedding_is_trained() -> None:
    model = tiny(encode_at=32, trains="decoder").train()
    embedding = model.embed(images())
    embedding.first.square().sum().backward()
    assert all(parameter.grad is None for parameter in model.image_encoder.parameters())
    assert model.upsampler is not None
    assert all(parameter.grad is not None for parameter in model.upsampler.parameters())


def test_guidance_of_images_with_other_channels_is_mixed() -> None:
    sam = SamConfig(size=SIDE, encode_at=32, featup="jbu")
    config = ModelConfig(name="sam-tiny", encoder="test_efficientnet", encoder_weights="none", channels=2, sam=sam)
    with torch.inference_mode():
        assert build_sam_tiny(config).eval()(torch.randn(1, 2, SIDE, SIDE)).shape == (1, 1, SIDE, SIDE)


@pytest.mark.parametrize(("side", "goal", "times"), [(16, 32, 1), (8, 32, 2), (5, 8, 1), (5, 11, 2), (8, 8, 0)])
def test_as_many_doublings_as_the_goal_needs(side: int, goal: int, times: int) -> None:
    assert doublings(side, goal) == times


@pytest.mark.parametrize("encode_at", [100, 256, 512])
def test_an_encoder_side_that_is_not_below_the_models_is_refused(encode_at: int) -> None:
    with pytest.raises(ConfigError, match=f"multiple of 16 below sam.size .256., got {encode_at}. Use 128"):
        SamConfig(encode_at=encode_at)


def test_a_learned_filter_on_the_guidance_starts_as_nothing_and_then_changes_what_is_raised() -> None:
    torch.manual_seed(0)
    sam = SamConfig(size=SIDE, encode_at=32)
    config = ModelConfig(
        name="sam-tiny", encoder="test_efficientnet", encoder_weights="none", sam=sam,
        gafl=GaflConfig(place="guidance"),
    )  # fmt: skip
    model = build_model(config).eval()
    assert isinstance(model, PromptableSam)
    with torch.no_grad():
        before, features = model.encode(images()).first, model.features(images()).first
        assert torch.allclose(before, tiny(encode_at=32).encode(images()).first, atol=1e-4)
        for parameter in model.filters["guidance"].parameters():
            nn.init.normal_(parameter)
        assert torch.equal(model.features(images()).first, features)
        assert not torch.allclose(model.encode(images()).first, before, atol=1e-3)


def test_a_predictor_keeps_the_map_beside_the_embedding_and_answers_as_the_model_does(tmp_path: Path) -> None:
    sam = SamConfig(size=SIDE, featup="jbu")
    config = ModelConfig(name="sam-tiny", encoder="test_efficientnet", encoder_weights="none", sam=sam)
    model = opened(build_sam_tiny(config).eval())
    save_run(tmp_path, model, RunConfig(config, PreprocessConfig(size=(SIDE, SIDE)), LabelMap(), 0.5))
    predictor = load(tmp_path, device="cpu")
    assert isinstance(predictor, PromptedPredictor)
    slices = [np.random.default_rng(seed).integers(1, 255, (SIDE, SIDE, 3), np.uint8) for seed in range(2)]
    answers = predictor.decode_volume(predictor.encode_volume(slices))
    for answer, expected in zip(answers, predictor.probabilities(slices), strict=True):
        np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
