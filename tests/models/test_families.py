"""A family that is added in one place has a recipe, is built, converted, loaded, licensed and warned about."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segmed.cli.train import chosen_recipe
from segmed.core.errors import ModelError
from segmed.core.labels import LabelMap
from segmed.models.checkpoint import RunConfig, load_run, save_run
from segmed.models.config import ModelConfig
from segmed.models.convert import convert
from segmed.models.families import FAMILIES, Contract, Family, weights_notes
from segmed.models.sam.contract import contract_of, contract_warning
from segmed.models.sam.network import PromptableSam
from segmed.models.sam_config import SamConfig, VitConfig
from segmed.models.zoo import NETWORKS, build_model
from segmed.preprocess import PreprocessConfig
from segmed.training.cached import require_frozen
from segmed.training.recipe import recipe_names

TOY = Family(
    network="vit",
    encoder="vit-toy",
    recipe="sam-vit-b",
    weights="hub",
    vit=VitConfig(width=24, depth=2, heads=2, global_layers=(1,), window=3),
    contract=Contract(
        "toy", "Toy", PreprocessConfig(normalisation="tissue-zscore", fit="squash"), ("toy_vit", "toy-vit")
    ),
    licence="CC BY 4.0",
    contamination="Toy was trained on nobody.",
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(FAMILIES, "toy-vit", TOY)
    return "toy-vit"


def test_a_family_added_in_one_place_has_recipe_network_contract_and_licence(toy: str, tmp_path: Path) -> None:
    recipe = chosen_recipe("default", ["model.sam.size=64", "preprocess.size=[64,64]"], model=toy)
    assert (recipe.model.name, recipe.model.encoder, recipe.model.encoder_weights) == (toy, "vit-toy", "hub")
    require_frozen(recipe)
    with pytest.raises(ModelError, match="toy-vit has no weights on the hub"):
        build_model(recipe.model)
    bare = ModelConfig(name=toy, encoder_weights="none", sam=SamConfig(size=64))
    first = build_model(bare)
    assert isinstance(first, PromptableSam)
    folder = tmp_path / "run"
    save_run(folder, first, RunConfig(bare, contract_of("toy", 64), LabelMap(), 0.5))
    assert load_run(folder).model.state_dict().keys() == first.state_dict().keys()
    (folder / "split.json").write_text("{}")
    done = convert(folder, tmp_path / "toy_vit.safetensors")
    assert (done.architecture.model, done.contract, done.why) == (toy, "toy", "says the run")
    assert '"model": "toy-vit"' in done.note.read_text()
    done.note.unlink()  # the name tells the contract too
    again = build_model(ModelConfig(name=toy, encoder_weights=str(done.weights), sam=SamConfig(size=64)))
    assert isinstance(again, PromptableSam)
    assert again.contract == "toy"
    stored = load_file(done.weights)
    position = "vision_encoder.pos_embed"
    assert torch.equal(again.state_dict()["image_encoder.vit.pos_embed"], stored[position])
    told = contract_warning(again.contract, PreprocessConfig(normalisation="minmax"))
    assert told is not None
    assert told.startswith("The weights are Toy's")
    assert weights_notes(toy, "hub") == (
        "The published weights of toy-vit are under CC BY 4.0.", "Toy was trained on nobody.",
    )  # fmt: skip


def test_every_row_names_a_network_and_a_recipe_that_come_along() -> None:
    for name, row in FAMILIES.items():
        assert row.network in NETWORKS
        assert row.recipe in recipe_names()
        assert (row.hub is None) == (row.contract is None) == (row.licence is None) == (row.weights == "none"), name
        assert (row.vit is None) == (row.network != "vit")


def test_random_weights_and_dense_models_come_with_no_note() -> None:
    assert weights_notes("medsam", "none") == ()
    assert weights_notes("unet", "imagenet") == ()
    assert len(weights_notes("medsam", "hub")) == 2
    assert all(each.startswith("If the given weights descend") for each in weights_notes("medsam", "own.safetensors"))
