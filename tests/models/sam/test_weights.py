"""Pre-trained weights: where they come from, and how they get to the model's size."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from raw_sam import raw_sam
from tiny_vit import ADDITIONS, NOTHING_ADDED, SHAPE, SIDE, added_config, tiny_vit, unmodified, vit_config

from segmed.core.errors import ModelError
from segmed.core.labels import LabelMap
from segmed.models.checkpoint import RunConfig, load_run, save_run
from segmed.models.config import ModelConfig
from segmed.models.convert import convert
from segmed.models.sam.checkpoint_formats import read_source
from segmed.models.sam.key_mapping import ADDED
from segmed.models.sam.network import PromptableSam
from segmed.models.sam.weights import fit_weights, resized_position, resized_relative
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig

PUBLISHED = {"image_encoder", "prompt_encoder", "mask_decoder"}


def test_weights_at_their_own_size_are_taken_as_they_are() -> None:
    source, model = unmodified().state_dict(), tiny_vit()
    del source["shared_image_embedding.positional_embedding"]
    fit_weights(source, model, "x")
    own = model.state_dict()
    for name, tensor in source.items():
        assert torch.equal(own[name.replace("vision_encoder.", "image_encoder.vit.")], tensor), name


@pytest.mark.parametrize("part", ADDITIONS)
def test_a_plain_checkpoint_fits_with_every_addition(part: str, tmp_path: Path) -> None:
    torch.save(raw_sam(SHAPE, SIDE // 16), tmp_path / "sam_vit.pth")
    model = build_model(replace(added_config(part), encoder_weights=str(tmp_path / "sam_vit.pth")))
    assert {name.partition(".")[0] for name in model.state_dict()} - PUBLISHED == {part}


@pytest.mark.parametrize("part", ADDITIONS)
def test_a_run_with_every_addition_converts_to_a_checkpoint_without_it(part: str, tmp_path: Path) -> None:
    config, plain = added_config(part), tiny_vit(**NOTHING_ADDED)
    run = RunConfig(config, PreprocessConfig(size=(SIDE, SIDE)), LabelMap(), threshold=0.5)
    save_run(tmp_path / "run", build_model(config), run)
    (tmp_path / "run" / "split.json").write_text("{}")
    done = convert(tmp_path / "run", tmp_path / "out.safetensors", contract="sam")
    assert done.left_out == (part,)
    fit_weights(read_source(done.weights).tensors, plain, "out")


def test_every_part_of_a_model_is_of_sam_or_named_as_added() -> None:
    parts = {f"{name}." for name, _ in build_model(added_config(*ADDITIONS)).named_children()}
    assert parts - {f"{name}." for name in PUBLISHED} == set(ADDED)


@pytest.mark.parametrize("size", [32, 48, 96])
def test_at_another_size_positions_move_and_the_rest_stays(size: int) -> None:
    source, model = unmodified().state_dict(), tiny_vit(size=size)
    del source["shared_image_embedding.positional_embedding"]
    fit_weights(source, model, "x")
    own = model.state_dict()
    moved = {
        name
        for name in source
        if own[name.replace("vision_encoder.", "image_encoder.vit.")].shape != source[name].shape
    }
    assert moved == {
        "vision_encoder.pos_embed",
        *(f"vision_encoder.layers.{layer}.attn.rel_pos_{axis}" for layer in (1, 3) for axis in "hw"),
    }
    with torch.inference_mode():
        assert torch.isfinite(model(torch.zeros(1, 3, size, size))).all()


def test_global_attention_at_another_size_is_what_the_unmodified_code_computes_there() -> None:
    theirs = unmodified().vision_encoder.layers[1].attn
    relative = theirs.rel_pos_h.detach()
    for cells in (2, 3, 7):
        expected = theirs.get_rel_pos(cells, cells, relative)
        ours = resized_relative(relative, 2 * cells - 1)
        assert torch.equal(theirs.get_rel_pos(cells, cells, ours), expected)


def test_a_smooth_field_of_positions_keeps_its_course_on_another_grid() -> None:
    def field(cells: int) -> torch.Tensor:
        centres = (torch.arange(cells) + 0.5) / cells
        return torch.stack(torch.meshgrid(centres, centres**2, indexing="ij"), dim=-1)[None]

    for cells in (16, 48):
        moved = resized_position(field(32), cells)
        assert moved.shape == (1, cells, cells, 2)
        assert (moved - field(cells))[:, 2:-2, 2:-2].abs().max() < 2e-3


@pytest.mark.parametrize("name", ["sam-vit-b", "medsam"])
def test_without_the_hub_the_error_says_how_to_get_the_weights_by_hand(name: str) -> None:
    with pytest.raises(ModelError, match=r"hf download \w+/\S+ --local-dir .*--encoder-weights FOLDER.*none"):
        build_model(ModelConfig(name=name))


@pytest.mark.parametrize("wanted", ["imagenet", "./nowhere", "medsam.pth", "some/where.safetensors"])
def test_unknown_weights_are_answered_with_what_there_is(wanted: str) -> None:
    with pytest.raises(ModelError, match=r"sam-vit-b has no weights .*hub \(facebook/sam-vit-base\).*or none"):
        build_model(ModelConfig(name="sam-vit-b", encoder_weights=wanted))


def test_what_is_not_said_is_each_models_own() -> None:
    def chosen(name: str) -> tuple[str, str]:
        config = ModelConfig(name=name)
        return config.encoder, config.encoder_weights

    assert chosen("unet") == ("efficientnet-b5", "imagenet")
    assert chosen("sam-tiny") == ("resnet18", "none")
    assert chosen("medsam") == ("vit-b", "hub")
    with pytest.raises(ModelError, match=r"sam-vit-b has an encoder of its own, vit-b, not resnet18"):
        build_model(ModelConfig(name="sam-vit-b", encoder="resnet18"))


def test_another_number_of_channels_is_refused_with_what_to_set(tmp_path: Path) -> None:
    torch.save(raw_sam(SHAPE, SIDE // 16), tmp_path / "sam_vit.pth")
    config = replace(vit_config(), channels=1, encoder_weights=str(tmp_path / "sam_vit.pth"))
    with pytest.raises(ModelError, match=r"reads 3 channels, the model 1.*preprocess.channels"):
        build_model(config)


def test_a_run_loads_without_the_weights_it_began_with(tmp_path: Path) -> None:
    weights = tmp_path / "sam_vit.pth"
    torch.save(raw_sam(SHAPE, SIDE // 16), weights)
    config = replace(vit_config(trains="lora"), encoder_weights=str(weights))
    model = build_model(config)
    assert isinstance(model, PromptableSam)
    save_run(tmp_path / "run", model, RunConfig(config, PreprocessConfig(size=(SIDE, SIDE)), LabelMap(), threshold=0.5))
    weights.unlink()
    again = load_run(tmp_path / "run").model
    image = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.equal(again(image), model.eval()(image))
