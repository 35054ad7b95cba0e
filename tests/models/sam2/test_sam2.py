"""SAM 2 for single images: the unmodified computation, its weights under every name, and training of the one mask."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_sam2 import published_names
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Sam2Model

from sam2_reference import BOX, OTHER, PLAIN, SIDE, built, config, theirs
from segmed.core.errors import ModelError
from segmed.layers.embedding import Embedding
from segmed.layers.lora import merged_state
from segmed.models.config import ModelConfig
from segmed.models.convert import convert
from segmed.models.families import FAMILIES, hiera_of
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.promptable import Decoded
from segmed.models.sam.weights import meta_state
from segmed.models.sam2.build import bare_sam2
from segmed.models.sam2.network import PromptableSam2
from segmed.models.sam2.weights import HieraShape, model_of, shape_of
from segmed.models.sam_config import SamConfig, VitConfig
from segmed.models.zoo import build_model
from segmed.prompts.value import Prompts


@pytest.fixture(scope="module")
def reference() -> Sam2Model:
    return theirs()


@pytest.fixture(scope="module")
def weights(reference: Sam2Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference's weights as transformers stores them, with what a video needs beside them."""
    tensors = {name: each.clone() for name, each in reference.state_dict().items()}
    file = tmp_path_factory.mktemp("weights") / "model.safetensors"
    video = {"memory_attention.layer_norm.weight": torch.zeros(3), "no_object_pointer": torch.zeros(1)}
    save_file({**tensors, **video}, file)
    return file


def image(count: int = 2) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(count, 3, SIDE, SIDE)


def decoded(model: PromptableSam2, pictures: Tensor, *prompts: Prompts) -> Decoded:
    with torch.inference_mode():
        return model.decode(model.encode(pictures), ObjectPrompts.of(list(prompts)))


def test_embeddings_are_those_of_the_unmodified_model(reference: Sam2Model, weights: Path) -> None:
    ours = built(weights, **PLAIN)
    with torch.inference_mode():
        finest, between, coarse = reference.get_image_embeddings(image())
        levels = ours.encode(image()).levels
    for mine, other in zip(levels, (coarse, finest, between), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    assert ours.feature_shapes == tuple(tuple(level.shape[1:]) for level in levels)


@pytest.mark.parametrize("multimask", [True, False])
def test_masks_of_boxes_are_those_of_the_unmodified_model(reference: Sam2Model, weights: Path, multimask: bool) -> None:
    ours = built(weights, **{**PLAIN, "multimask": multimask})
    reference.mask_decoder.dynamic_multimask_via_stability = multimask
    found = decoded(ours, image(), Prompts(boxes=[BOX]), Prompts(boxes=[OTHER]))
    with torch.inference_mode():
        expected = reference(pixel_values=image(), input_boxes=torch.tensor([[BOX], [OTHER]]), multimask_output=False)
    scale = float(expected.pred_masks.abs().max())
    torch.testing.assert_close(found.logits, expected.pred_masks[:, 0, 0], atol=1e-4 * scale, rtol=0)
    torch.testing.assert_close(found.iou, expected.iou_scores[:, 0, 0], atol=1e-4, rtol=0)


def test_a_single_point_gets_the_best_of_the_unmodified_models_three_masks(reference: Sam2Model, weights: Path) -> None:
    ours = built(weights, **PLAIN)
    found = decoded(ours, image(1), Prompts(points=[(20.0, 24.0)]))
    with torch.inference_mode():
        expected = reference(
            pixel_values=image(1), input_points=torch.tensor([[[[20.0, 24.0]]]]), multimask_output=True
        )
    best = int(expected.iou_scores[0, 0].argmax())
    scale = float(expected.pred_masks.abs().max())
    torch.testing.assert_close(found.logits[0], expected.pred_masks[0, 0, best], atol=1e-4 * scale, rtol=0)
    torch.testing.assert_close(found.iou[0], expected.iou_scores[0, 0, best], atol=1e-4, rtol=0)


def test_points_beside_a_mask_prompt_and_points_alone_are_answered_as_one_by_one(weights: Path) -> None:
    ours = built(weights, **PLAIN)
    torch.manual_seed(3)
    logits = torch.randn(1, 16, 16).numpy()
    prompts = [
        Prompts(points=[(20.0, 24.0)]),
        Prompts(points=[(30.0, 14.0)], logits=logits),
        Prompts(boxes=[BOX], points=[(20.0, 24.0)]),
    ]
    together = decoded(ours, image(3), *prompts)
    for index, prompt in enumerate(prompts):
        alone = decoded(ours, image(3)[index : index + 1], prompt)
        torch.testing.assert_close(together.logits[index], alone.logits[0], atol=1e-4, rtol=1e-4)


def test_weights_of_its_own_code_are_those_of_transformers_under_other_names(
    reference: Sam2Model, weights: Path, tmp_path: Path
) -> None:
    torch.save({"model": published_names(reference.state_dict())}, tmp_path / "sam2.1_hiera_tiny.pt")
    theirs, ours = (built(file, **PLAIN).state_dict() for file in (weights, tmp_path / "sam2.1_hiera_tiny.pt"))
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    assert built(tmp_path / "sam2.1_hiera_tiny.pt", **PLAIN).contract == "sam2"


def test_a_checkpoint_of_its_own_code_is_converted_and_opens_in_transformers(
    reference: Sam2Model, tmp_path: Path
) -> None:
    torch.save({"model": published_names(reference.state_dict())}, tmp_path / "sam2.1_hiera.pt")
    done = convert(tmp_path / "sam2.1_hiera.pt", tmp_path / "out.safetensors")
    assert (done.format, done.contract) == ("training output, SAM 2's own names", "sam2")
    assert done.architecture.words == "a Hiera of width 16 and 5 blocks"
    missing, unexpected = theirs().load_state_dict(load_file(done.weights), strict=False)
    assert (missing, unexpected) == ([], [])
    assert built(done.weights, **PLAIN).contract == "sam2"
    with pytest.raises(ModelError, match="wants the parts that carry masks through a video"):
        convert(tmp_path / "sam2.1_hiera.pt", tmp_path / "other.safetensors", layout="segment-anything")


@pytest.mark.parametrize("missing", ["image_encoder.trunk.blocks.2.attn.qkv.weight", "sam_mask_decoder.conv_s1.bias"])
def test_a_checkpoint_that_is_not_whole_is_refused_and_writes_nothing(
    reference: Sam2Model, tmp_path: Path, missing: str
) -> None:
    tensors = published_names(reference.state_dict())
    del tensors[missing]
    torch.save({"model": tensors}, tmp_path / "sam2.pt")
    with pytest.raises(ModelError, match="not whole; missing: "):
        convert(tmp_path / "sam2.pt", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("name", [name for name, row in FAMILIES.items() if row.hiera is not None])
def test_the_published_models_are_told_from_shapes(name: str) -> None:
    sam = SamConfig(size=1024, box_map=False, promptless_tokens=0, presence=False)
    state = meta_state(lambda: bare_sam2(ModelConfig(name=name, encoder_weights="none", sam=sam)))
    theirs = {each.replace("image_encoder.vision.", "vision_encoder."): tensor for each, tensor in state.items()}
    found = shape_of(theirs, "x")
    assert found == HieraShape.of(hiera_of(name), 3)
    assert model_of(found) == ("sam2-tiny" if name == "medsam2" else name)  # whose shapes it has


def test_the_published_sizes_are_those_of_the_paper() -> None:
    def millions(name: str) -> float:
        sam = SamConfig(size=1024, box_map=False, promptless_tokens=0, presence=False)
        state = meta_state(lambda: bare_sam2(ModelConfig(name=name, encoder_weights="none", sam=sam)))
        return sum(each.numel() for each in state.values()) / 1e6

    # with memory they have 38.9, 46, 80.8 and 224.4 million, of which memory is 7.5
    found = [millions(f"sam2-{size}") for size in ("tiny", "small", "base-plus", "large")]
    assert np.allclose(found, [31.4, 38.5, 73.3, 216.9], atol=0.15)


def test_weights_of_another_kind_name_the_model_to_use(weights: Path, tmp_path: Path) -> None:
    small = {"size": SIDE, "vit": VitConfig(width=32, depth=2, heads=2, global_layers=(1,), window=3)}
    with pytest.raises(ModelError, match=r"these weights are SAM 2's, not those of sam-vit-b\. Use --model sam2-tiny"):
        build_model(ModelConfig(name="sam-vit-b", encoder_weights=str(weights), sam=SamConfig(**small)))
    with pytest.raises(ModelError, match="another image encoder than sam2-tiny's"):
        build_model(ModelConfig(name="sam2-tiny", encoder_weights=str(weights), sam=SamConfig(size=SIDE)))
    sam = tmp_path / "sam_vit.safetensors"
    first = build_model(ModelConfig(name="sam-vit-b", encoder_weights="none", sam=SamConfig(**small)))
    convert_from(first, sam)
    with pytest.raises(ModelError, match=r"of the first SAM's kind\. Use --model sam-vit-b"):
        built(sam)


def convert_from(model: torch.nn.Module, file: Path) -> None:
    names = {name.replace("image_encoder.vit.", "vision_encoder."): each for name, each in model.state_dict().items()}
    kept = ("vision_encoder.", "prompt_encoder.", "mask_decoder.")
    save_file({name: each.clone() for name, each in names.items() if name.startswith(kept)}, file)


@pytest.mark.parametrize("key", ["featup", "encode_at", "box_prior"])
def test_additions_that_are_for_sam_alone_are_refused(key: str) -> None:
    value = {"featup": "jbu", "encode_at": 32, "box_prior": True}[key]
    with pytest.raises(ModelError, match=f"model.sam.{key} is for SAM and MedSAM"):
        built(**{key: value})


def test_sizes_are_multiples_of_32() -> None:
    with pytest.raises(ModelError, match="multiple of 32, got 48"):
        built(size=48)


def test_embeddings_of_another_model_are_refused() -> None:
    model = built()
    with pytest.raises(ModelError, match="embeddings of 3 levels, got 1"):
        model.decode(Embedding((torch.zeros(1, 256, 4, 4),)), ObjectPrompts.of([Prompts(boxes=[BOX])]))


def test_its_masks_without_multimask_never_depend_on_the_three_others(weights: Path) -> None:
    model = built(weights, **{**PLAIN, "multimask": False})
    prompts = [Prompts(points=[(20.0, 24.0)]), Prompts(boxes=[BOX])]
    before = decoded(model, image(), *prompts)
    for number in (1, 2, 3):
        torch.nn.init.normal_(model.mask_decoder.output_hypernetworks_mlps[number].proj_out.weight)
    assert torch.equal(before.logits, decoded(model, image(), *prompts).logits)


def trained(model: PromptableSam2) -> set[str]:
    return {".".join(name.split(".")[:3]) for name, each in model.named_parameters() if each.requires_grad}


def backward(model: PromptableSam2) -> PromptableSam2:
    model.train()
    found = model.decode(model.embed(image(1)), ObjectPrompts.of([Prompts(boxes=[BOX])]))
    (found.logits.square().mean() + found.iou.sum()).backward()
    return model


@pytest.mark.parametrize("trains", ["decoder", "decoder+prompts", "last", "lora", "all"])
def test_what_is_said_to_be_trained_gets_a_gradient_and_nothing_else_does(trains: str) -> None:
    model = backward(built(trains=trains))
    unused = {
        name
        for name, each in model.named_parameters()
        if each.requires_grad and each.grad is None and not name.startswith(("promptless", "presence"))
    }
    assert {name.split(".")[0] for name in unused} <= {"prompt_encoder"}  # of prompts that were not given
    of_encoder = {name for name in trained(model) if name.startswith("image_encoder")}
    if trains in ("decoder", "decoder+prompts"):
        assert of_encoder == set()
    if trains == "last":
        assert of_encoder == {
            "image_encoder.vision.backbone", "image_encoder.vision.neck", "image_encoder.conv_s0.weight",
            "image_encoder.conv_s0.bias", "image_encoder.conv_s1.weight", "image_encoder.conv_s1.bias",
        }  # fmt: skip
    if trains == "lora":
        assert all(name.endswith(("lora_up", "lora_down")) for name, each in model.image_encoder.named_parameters()
                   if each.requires_grad)  # fmt: skip


def test_low_rank_updates_merge_into_the_encoder() -> None:
    model, plain = built(trains="lora"), built(trains="decoder")
    for name, each in model.named_parameters():
        if name.endswith("lora_up"):
            torch.nn.init.normal_(each, std=0.1)
    plain.load_state_dict(merged_state(model.state_dict()))
    with torch.inference_mode():
        for mine, other in zip(model.encode(image()).levels, plain.encode(image()).levels, strict=True):
            torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


def test_checkpointing_computes_the_same_gradients() -> None:
    plain, saving = backward(built(trains="all")), backward(built(trains="all", checkpointing=True))
    for (name, mine), (_, other) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        assert (mine.grad is None) == (other.grad is None), name
        if mine.grad is not None and other.grad is not None:
            torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_without_a_prompt_it_answers_by_its_tokens_and_no_pixel_is_more_probable_than_the_presence() -> None:
    model = built()
    with torch.inference_mode():
        logits, present = model(image()), model.presence_logits(model.encode(image()))
    assert logits.shape == (2, 1, SIDE, SIDE)
    assert present is not None
    assert bool((logits.amax((1, 2, 3)) <= present + 1e-6).all())


def test_medsam2_is_told_from_sam2_by_its_name_and_has_its_own_preprocessing(
    reference: Sam2Model, tmp_path: Path
) -> None:
    torch.save({"model": published_names(reference.state_dict())}, tmp_path / "MedSAM2_latest.pt")
    done = convert(tmp_path / "MedSAM2_latest.pt", tmp_path / "out.safetensors")
    assert (done.contract, done.why) == ("medsam2", "by the name")
    note = json.loads(done.note.read_text())
    assert note["preprocess"]["normalisation"] == "minmax-imagenet"
    model = build_model(replace(config(done.weights), name="medsam2"))
    assert isinstance(model, PromptableSam2)
    assert model.contract == "medsam2"


def test_medsam2s_file_is_fetched_from_the_hub_by_its_name(
    reference: Sam2Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"model": published_names(reference.state_dict())}, tmp_path / "MedSAM2_latest.pt")
    asked: list[tuple[str, tuple[str, ...]]] = []

    def fetched(name: str, *, files: Sequence[str]) -> Path:
        asked.append((name, tuple(files)))
        return tmp_path

    monkeypatch.setattr("segmed.models.sam.weights.fetched", fetched)
    model = build_model(replace(config("hub"), name="medsam2"))
    assert asked == [("wanglab/MedSAM2", ("MedSAM2_latest.pt",))]
    assert isinstance(model, PromptableSam2)
    assert model.contract == "medsam2"
