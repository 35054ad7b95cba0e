"""What earlier versions wrote is read, or refused with the command that makes it again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from segmed.core.errors import DataError, ModelError
from segmed.core.files import sha256_of
from segmed.core.labels import LabelMap
from segmed.core.records import SliceDataset
from segmed.core.split import Split
from segmed.data.augment.config import PRESETS
from segmed.data.decoded import DecodedDataset
from segmed.data.embeddings import EmbeddingPlan
from segmed.inference.ensemble import read_ensemble
from segmed.models.checkpoint import CONFIG, WEIGHTS, RunConfig, load_config, load_run, save_run
from segmed.models.config import ModelConfig
from segmed.models.former_keys import present_keys
from segmed.models.joint_config import EnsembleConfig
from segmed.models.sam_config import SamConfig
from segmed.models.training_facts import TrainingFacts
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig
from segmed.training.recipe import load_recipe, recipe_from_mapping

SAMPLES = Path(__file__).parent / "samples" / "0.1"


def test_a_run_of_0_1_tells_how_it_was_trained() -> None:
    config, _ = load_config(SAMPLES / "run")
    assert (config.model.name, config.threshold, config.preprocess.plane) == ("unet", 0.15, "acquired")
    assert replace(config.training, others={}) == TrainingFacts(469.7, 274.1, mask_prompts=False)
    assert config.training.others["validation_dice"] == pytest.approx(0.768706920824488)
    stored = json.loads((SAMPLES / "run" / "config.json").read_text())["training"]
    assert TrainingFacts.from_json(stored) == TrainingFacts.from_json(config.training.to_json())


def test_a_recipe_of_0_1_has_the_defaults_of_what_came_later() -> None:
    recipe = load_recipe(SAMPLES / "run" / "recipe.yaml")
    assert (recipe.epochs, recipe.optim.learning_rate, recipe.train_on) == (1, 0.001, "train")


def test_a_recipe_of_0_1_trains_with_the_augmentation_and_loss_that_have_other_names_now() -> None:
    written = {"augment": "seed", "loss": {"name": "seed-double-sigmoid"}}
    now = ["augment=reproduction", "loss.name=double-sigmoid"]
    assert recipe_from_mapping(written, source="recipe.yaml") == recipe_from_mapping({}, now, source="test")
    begun = recipe_from_mapping({"augment": {"preset": "seed", "crop": 0.5}}, source="recipe.yaml")
    assert begun.augment == replace(PRESETS["reproduction"], crop=0.5)


def test_a_split_of_0_1_knows_its_patients() -> None:
    split = Split.load(SAMPLES / "split.json")
    assert split.patients_known
    assert split.fold(0).test == ("p2/p2_1",)


def test_a_split_of_a_run_of_0_1_whose_slices_were_numbered_as_cases_is_that_of_today(tmp_path: Path) -> None:
    split = Split.load(SAMPLES / "split.json")
    numbers = split.as_numbers(split.patient_of, set(split.patient_of.values()))
    numbers.save(tmp_path / "split.json")
    text = (tmp_path / "split.json").read_text()
    assert '"slice-0"' in text
    assert "case" not in text
    (tmp_path / "split.json").write_text(text.replace("slice-", "case-"))
    assert Split.load(tmp_path / "split.json") == numbers


def test_a_decoded_cache_of_0_1_gives_back_its_pixels() -> None:
    decoded = DecodedDataset(SliceDataset("old", SAMPLES, ()), SAMPLES / "decoded")
    image = np.arange(35, dtype=np.uint8).reshape(5, 7, 1)
    assert np.array_equal(decoded.image("p0/p0_1"), image)
    assert np.array_equal(decoded.mask("p0/p0_1"), image[..., 0] > 20)


def test_an_embedding_cache_of_0_1_which_has_one_level_is_refused_with_the_command() -> None:
    with pytest.raises(DataError, match=r"index\.json.*Make the cache again with `segmed embed`") as told:
        EmbeddingPlan.load(SAMPLES / "embeddings")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("version", [0, 3])
def test_an_embedding_cache_of_another_version_is_refused_with_the_command(version: int, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SAMPLES / "embeddings", tmp_path / "cache"))
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**index, "format": version}))
    with pytest.raises(DataError, match=r"index\.json.*segmed embed"):
        EmbeddingPlan.load(folder)


def test_a_promptable_run_of_0_1_which_called_upsamplers_raisers_gives_the_same_masks(tmp_path: Path) -> None:
    sam = SamConfig(size=64, encode_at=32, encode_upsampler="bilinear-control", featup="jbu")
    network = ModelConfig(name="sam-tiny", encoder="mobilenetv3_small_050", encoder_weights="none", sam=sam)
    model = build_model(network)
    run = RunConfig(model=network, preprocess=PreprocessConfig(size=(64, 64)), labels=LabelMap(), threshold=0.5)
    save_run(tmp_path, model, run)
    old = {name.replace("upsampler.", "raiser."): each for name, each in load_file(tmp_path / WEIGHTS).items()}
    assert sum("raiser" in name for name in old) > 10
    save_file(old, tmp_path / WEIGHTS)
    stored = json.loads((tmp_path / CONFIG).read_text())
    stored["model"]["sam"]["encode_raiser"] = stored["model"]["sam"].pop("encode_upsampler")
    stored["weights_sha256"] = sha256_of(tmp_path / WEIGHTS)
    (tmp_path / CONFIG).write_text(json.dumps(stored))
    read = load_run(tmp_path)
    assert read.config.model == network
    own = model.state_dict()
    assert all(torch.equal(each, own[name]) for name, each in read.model.state_dict().items())


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("model.raiser.stack.gain", "model.upsampler.stack.gain"),
        ("average.module.fine.raiser.mix", "average.module.fine.upsampler.mix"),
        ("decoder.raises.0.stage.range_temp", "decoder.upsamplers.0.stage.range_temp"),
        ("raiser.stack.raises.1.gain.0.bias", "upsampler.stack.upsamplers.1.gain.0.bias"),
        ("model.raisers", "model.raisers"),
        ("model.praises.0", "model.praises.0"),
    ],
)
def test_weights_of_0_1_are_read_by_the_names_of_this_version(former: str, present: str) -> None:
    tensor = torch.ones(1)
    assert present_keys({former: tensor}) == {present: tensor}


def test_the_config_of_an_ensemble_of_0_1_reads_with_the_one_network_that_it_kept(tmp_path: Path) -> None:
    stored = json.loads((SAMPLES / "run" / "config.json").read_text())
    (tmp_path / "ensemble.json").write_text(json.dumps({"format": 1, "members": [], "config": stored}))
    config, members = read_ensemble(tmp_path)
    run = RunConfig.from_json(stored, "config.json")
    assert (config.networks, config.seen, config.threshold) == (run.networks, run.seen, run.threshold)
    assert members == []
    assert EnsembleConfig.from_json(config.to_json(), "ensemble.json") == config


def test_networks_that_read_volumes_along_several_planes_make_no_ensemble() -> None:
    network = RunConfig.from_json(json.loads((SAMPLES / "run" / "config.json").read_text()), "config.json").networks[0]
    other = replace(network, preprocess=replace(network.preprocess, plane="axial"))
    with pytest.raises(ModelError, match="plane axial, network 1 along acquired"):
        EnsembleConfig(networks=(network, other), labels=LabelMap())
