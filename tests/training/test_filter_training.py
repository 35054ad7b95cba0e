"""Training with a learned filter: its own optimiser group, command line, estimate, resume and prediction."""

import json
from pathlib import Path

import pytest
import torch
from runs import TINY, tiny_recipe, toy_and_split
from safetensors.torch import load_file

from commands import segmed
from filter_parts import filter_of
from segmed.cli.train import chosen_recipe
from segmed.core.errors import ConfigError
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.inference import load
from segmed.layers.gafl import GaflConfig, gain_parameters
from segmed.models.config import ModelConfig
from segmed.models.zoo import build_model
from segmed.training import Hardware, train
from segmed.training.build import fit_recipe
from segmed.training.epoch_row import EpochRow
from segmed.training.estimate import estimate
from segmed.training.parameter_groups import parameter_groups
from segmed.training.recipe import OptimConfig

SETTINGS = ("optim.filter_learning_rate=0.5", "epochs=2")
FILTERED = ("model.gafl.parametrisation=free", *SETTINGS)
CPU = Hardware(accelerator="cpu")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[DecodedDataset, Split]:
    return toy_and_split(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def run(toy: tuple[DecodedDataset, Split], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on the command line."""
    folder = tmp_path_factory.mktemp("run")
    toy[1].save(folder / "split.json")
    settings = [part for each in (*TINY, *SETTINGS) for part in ("--set", each)]
    where = ("--data", toy[0].dataset.root, "--split", folder / "split.json", "-o", folder / "run")
    segmed("train", "--gafl", "free", "--accelerator", "cpu", *settings, *where)
    return folder / "run"


def network(gafl: GaflConfig | None) -> torch.nn.Module:
    return build_model(ModelConfig(name="unet", encoder="tu-test_efficientnet", encoder_weights="none", gafl=gafl))


def test_gains_have_a_group_of_their_own_without_decay() -> None:
    config = OptimConfig(learning_rate=1e-3, filter_learning_rate=0.02, weight_decay=0.1)
    model = network(GaflConfig(mode="general", parametrisation="radial"))
    decayed, plain, filters = parameter_groups(model, config)
    assert {id(weight) for weight in filters["params"]} == {id(weight) for weight in gain_parameters(model)}
    assert (filters["lr"], filters["weight_decay"]) == (0.02, 0.0)
    assert decayed["weight_decay"] == 0.1
    assert sum(len(group["params"]) for group in (decayed, plain, filters)) == len(list(model.parameters()))


def test_free_gains_take_a_tenth_of_the_rate_which_is_the_references() -> None:
    model = network(GaflConfig(parametrisation="free", size=(8, 8)))
    *_, filters = parameter_groups(model, OptimConfig())
    assert {id(weight) for weight in filters["params"]} == {id(weight) for weight in gain_parameters(model)}
    assert filters["lr"] == pytest.approx(1e-3)


def test_a_model_without_a_filter_has_the_two_groups_it_always_had() -> None:
    assert [group["weight_decay"] for group in parameter_groups(network(None), OptimConfig())] == [0.01, 0.0]


def test_the_filter_and_its_size_are_saved_with_the_run_and_it_has_learnt(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    assert config["model"]["gafl"]["parametrisation"] == "free"
    assert config["model"]["gafl"]["size"] == [64, 64]  # images of 48 x 40, padded to the stride
    predictor = load(run, device="cpu")
    gain = filter_of(predictor.model).response(64, 64).real
    assert (gain - 1).abs().max() > 0.01
    assert predictor.predict(torch.zeros(48, 40, 3, dtype=torch.uint8).numpy()).array.shape == (48, 40)


class Stopped(Exception):
    pass


class StopsAt:
    """Raises at a step, as a kill would end the run there."""

    def __init__(self, step: int) -> None:
        self._step = step

    def started(self, steps: int, done: int) -> None: ...

    def epoch(self, row: EpochRow) -> None: ...

    def finished(self, message: str) -> None: ...

    def step(self, done: int, loss: float) -> None:
        if done == self._step:
            raise Stopped


def test_an_interrupted_run_ends_with_the_same_filter(
    toy: tuple[DecodedDataset, Split], run: Path, tmp_path: Path
) -> None:
    options = {"data": toy[0], "split": toy[1], "out": tmp_path / "run", "hardware": CPU}
    with pytest.raises(Stopped):
        train(tiny_recipe(*FILTERED), callbacks=StopsAt(5), **options)
    train(tiny_recipe(*FILTERED), resume=True, **options)
    one, two = (load_file(folder / "model.safetensors") for folder in (run, tmp_path / "run"))
    assert [name for name in one if not one[name].equal(two[name])] == []


def test_an_estimate_measures_the_filter_too(toy: tuple[DecodedDataset, Split]) -> None:
    recipe = tiny_recipe(*FILTERED)
    found = estimate(recipe, data=toy[0], split=toy[1], steps=1)
    network = build_model(fit_recipe(recipe, toy[0]).model)
    assert found.parameters == sum(weight.numel() for weight in network.parameters())
    assert sum(weight.numel() for weight in gain_parameters(network)) == 3 * 64 * 33


def test_sam_tiny_trains_with_a_filter_on_its_embedding(toy: tuple[DecodedDataset, Split], tmp_path: Path) -> None:
    recipe = tiny_recipe(
        "model.name=sam-tiny", "model.sam.size=64", "preprocess.size=[64,64]", "model.gafl.place=embedding", "epochs=1",
        "sampling.steps_per_epoch=1",
    )  # fmt: skip
    out = train(recipe, data=toy[0], split=toy[1], out=tmp_path / "run", hardware=CPU)
    weights = load_file(out / "model.safetensors")
    assert weights["filters.embedding.mode.log_gain.weight"].abs().max() > 0


def test_the_option_puts_a_filter_on_the_input_and_none_takes_a_recipes_away() -> None:
    assert chosen_recipe("unet-cpu", None, gafl="lowrank").model.gafl.parametrisation == "lowrank"
    assert chosen_recipe("unet-cpu", ["model.gafl.mode=general"], gafl=None).model.gafl.mode == "general"
    assert chosen_recipe("unet-cpu", None, gafl="none").model.gafl is None
    assert chosen_recipe("unet-cpu", None, gafl=None).model.gafl is None
    with pytest.raises(
        ConfigError, match=r"model\.gafl\.parametrisation: Input should be 'radial', 'free' or 'lowrank'"
    ):
        chosen_recipe("unet-cpu", None, gafl="ring")


def test_a_learning_rate_of_the_filter_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="filter_learning_rate must be above 0"):
        OptimConfig(filter_learning_rate=0)


def test_the_size_is_the_preprocessings_where_it_names_one(toy: tuple[DecodedDataset, Split]) -> None:
    recipe = fit_recipe(tiny_recipe("model.gafl.mode=spectrum", "preprocess.size=[96,128]"), toy[0])
    assert recipe.model.gafl.size == (96, 128)
