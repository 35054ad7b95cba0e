"""Checkpoints of SAM in all their formats: recognised from the file, converted once, checked name by name."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from raw_sam import raw_sam
from safetensors.torch import load_file, save_file
from tiny_vit import SHAPE, SIDE, unmodified, vit_config
from torch import Tensor
from transformers import SamModel

from segmed.core.errors import ModelError
from segmed.models.config import ModelConfig
from segmed.models.convert import convert
from segmed.models.families import vit_of
from segmed.models.sam.checkpoint_formats import architecture_of, read_source
from segmed.models.sam.network import PromptableSam
from segmed.models.sam_config import SamConfig, VitConfig
from segmed.models.zoo import build_model

CELLS = SIDE // 16


def raw() -> dict[str, Tensor]:
    return raw_sam(SHAPE, CELLS)


def loaded(path: Path, **changes: object) -> PromptableSam:
    model = build_model(ModelConfig(name="sam-vit-b", encoder_weights=str(path), sam=vit_config(**changes).sam))
    assert isinstance(model, PromptableSam)
    return model.eval()


FORMS: dict[str, tuple[Any, str]] = {
    "sam_vit_b.pth": (lambda state: state, "flat checkpoint, segment-anything's names"),
    "medsam_model_best.pth": (
        lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3},
        "training output, segment-anything's names",
    ),
    "medsam_model_latest.pth": (
        lambda state: {"model": {f"module.{name}": each for name, each in state.items()}, "optimizer": {}, "epoch": 3},
        "training output, segment-anything's names, written by several processes",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_pickled_form_gives_the_same_model(name: str, tmp_path: Path) -> None:
    form, words = FORMS[name]
    torch.save(form(raw()), tmp_path / name)
    done = convert(tmp_path / name, tmp_path / "out.safetensors")
    assert done.format == words
    assert (done.architecture.vit, done.architecture.size) == (SHAPE, SIDE)
    assert done.contract == ("medsam" if name.startswith("medsam") else "sam")
    model = loaded(done.weights)
    assert model.contract == done.contract
    state, source = model.state_dict(), raw()
    for ours, theirs in {
        "image_encoder.vit.layers.2.layer_norm2.bias": "image_encoder.blocks.2.norm2.bias",
        "image_encoder.vit.layers.3.attn.rel_pos_w": "image_encoder.blocks.3.attn.rel_pos_w",
        "image_encoder.vit.neck.conv2.weight": "image_encoder.neck.2.weight",
        "prompt_encoder.mask_embed.layer_norm2.weight": "prompt_encoder.mask_downscaling.4.weight",
        "prompt_encoder.shared_embedding.positional_embedding":
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "mask_decoder.output_hypernetworks_mlps.0.layers.0.bias":
            "mask_decoder.output_hypernetworks_mlps.0.layers.1.bias",
        "mask_decoder.iou_prediction_head.proj_out.weight": "mask_decoder.iou_prediction_head.layers.2.weight",
        "mask_decoder.upscale_layer_norm.bias": "mask_decoder.output_upscaling.1.bias",
    }.items():  # fmt: skip
        assert torch.equal(state[ours], source[theirs]), ours


def test_what_is_converted_opens_in_transformers_and_comes_back_under_the_original_names(tmp_path: Path) -> None:
    torch.save(raw(), tmp_path / "sam_vit.pth")
    there = convert(tmp_path / "sam_vit.pth", tmp_path / "there.safetensors")
    missing, unexpected = unmodified().load_state_dict(load_file(there.weights), strict=True)
    assert not missing
    assert not unexpected
    back = load_file(convert(there.weights, tmp_path / "back.safetensors", layout="segment-anything").weights)
    original = raw()
    assert back.keys() == original.keys()
    assert all(torch.equal(back[name], original[name]) for name in original)


def test_a_folder_of_transformers_is_read_with_its_processor(tmp_path: Path) -> None:
    folder = tmp_path / "some-sam"
    unmodified().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    model = loaded(folder)
    assert model.contract == "medsam"
    expected = SamModel.from_pretrained(folder).vision_encoder.pos_embed
    assert torch.equal(model.state_dict()["image_encoder.vit.pos_embed"], expected)


def test_medsam_with_sams_processor_gets_medsams_preprocessing_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "models--wanglab--medsam-vit-base" / "snapshots" / "0123"
    unmodified().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true, "image_mean": [0.485, 0.456, 0.406]}')
    with caplog.at_level(logging.WARNING):
        assert loaded(folder).contract == "medsam"
    assert "MedSAM with SAM's preprocessing beside it" in caplog.text
    done = convert(folder, tmp_path / "medsam.safetensors")
    note = json.loads(done.note.read_text())
    assert note["contract"] == "medsam"
    assert note["preprocess"]["normalisation"] == "minmax"
    assert note["size"] == SIDE


def test_a_file_that_does_not_tell_its_preprocessing_is_asked_about(tmp_path: Path) -> None:
    save_file(raw(), tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match=r"does not say which preprocessing.*--contract sam"):
        convert(tmp_path / "weights.safetensors", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    assert convert(tmp_path / "weights.safetensors", tmp_path / "out.safetensors", contract="sam").why == "as asked"


def test_weights_that_are_not_finite_are_not_converted(tmp_path: Path) -> None:
    state = raw()
    state["mask_decoder.iou_token.weight"][0, 5] = float("inf")
    torch.save(state, tmp_path / "sam_vit.pth")
    with pytest.raises(ModelError, match=r"sam_vit\.pth: weights mask_decoder\.iou_token\.weight are not finite"):
        convert(tmp_path / "sam_vit.pth", tmp_path / "out.safetensors", contract="sam")
    assert not (tmp_path / "out.safetensors").exists()


def test_all_that_is_missing_unexpected_or_misshapen_is_listed(tmp_path: Path) -> None:
    state = raw()
    del state["mask_decoder.iou_token.weight"], state["prompt_encoder.no_mask_embed.weight"]
    state["image_encoder.extra"] = torch.zeros(1)
    state["mask_decoder.mask_tokens.weight"] = torch.zeros(3, 256)
    torch.save(state, tmp_path / "sam_vit.pth")
    with pytest.raises(ModelError) as error:
        convert(tmp_path / "sam_vit.pth", tmp_path / "out.safetensors")
    for part in (
        "missing: mask_decoder.iou_token.weight, prompt_encoder.no_mask_embed.weight",
        "unexpected: image_encoder.extra",
        "of another shape: mask_decoder.mask_tokens.weight (3, 256) for (4, 256)",
    ):  # fmt: skip
        assert part in str(error.value)


class Trap:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return print, ("code ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"image_encoder.patch_embed.seq.0.c.weight": torch.zeros(1)}, "LiteMedSAM's or MobileSAM's"),
        ({"model": {"image_encoder.layers.0.blocks.0.weight": torch.zeros(1)}, "epoch": 1}, "LiteMedSAM's"),
        ({"image_encoder.trunk.blocks.0.weight": torch.zeros(1)}, "image encoder is not whole"),
        ({"detector_model.vision_encoder.weight": torch.zeros(1)}, "SAM 3's"),
        ({"image_encoder.blocks.0.Adapter.weight": torch.zeros(1)}, "with adapters"),
        ({"encoder.conv1.weight": torch.zeros(1)}, r"holds no SAM \(its first name is encoder.conv1.weight\)"),
        ({"image_encoder.blocks.0.norm1.weight": torch.zeros(1)}, "image encoder is not whole"),
        ({"image_encoder.blocks.0.norm1.weight": 3}, "is no tensor"),
        ([1, 2], "holds a list"),
        ({"model": Trap()}, "holds objects that would run code"),
    ],
)
def test_what_is_no_sam_is_refused_in_one_line(
    content: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ModelError, match=message):
        convert(tmp_path / "x.pth", tmp_path / "out.safetensors")
    assert "code ran" not in capsys.readouterr().out


def test_files_that_are_damaged_or_not_there_are_refused(tmp_path: Path) -> None:
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(b"not weights at all")
        with pytest.raises(ModelError, match=r"a\.(pth|safetensors): .*(cannot be read|damaged)"):
            read_source(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"neither model.safetensors nor pytorch_model.bin"):
        read_source(tmp_path / "empty")
    with pytest.raises(ModelError, match="no such file"):
        convert(tmp_path / "b.pth", tmp_path / "out.safetensors")
    with pytest.raises(ModelError, match=r"Name the file .*out\.safetensors"):
        convert(tmp_path / "a.pth", tmp_path / "out.pth")


@pytest.mark.parametrize("name", ["sam-vit-b", "sam-vit-l", "sam-vit-h"])
def test_the_published_architectures_are_told_from_shapes(name: str) -> None:
    shape = vit_of(name)
    with torch.device("meta"):
        state = {
            name.replace("image_encoder.blocks", "vision_encoder.layers")
            .replace("image_encoder.patch_embed.proj", "vision_encoder.patch_embed.projection")
            .replace("image_encoder.", "vision_encoder."): each
            for name, each in raw_sam(shape, 64).items()
        }
    found = architecture_of(state, "x")
    assert (found.model, found.size, found.channels) == (name, 1024, 3)


def test_weights_of_another_architecture_name_the_right_one(tmp_path: Path) -> None:
    torch.save(raw(), tmp_path / "sam_vit.pth")
    other = VitConfig(width=32, depth=5, heads=2, global_layers=(1, 3), window=3)
    with pytest.raises(ModelError, match=r"not those of sam-vit-b. Use model.sam.vit=\{width: 32, depth: 4"):
        build_model(
            ModelConfig(
                name="sam-vit-b", encoder_weights=str(tmp_path / "sam_vit.pth"), sam=SamConfig(size=SIDE, vit=other)
            )
        )
