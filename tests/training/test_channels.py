"""A recipe reads what the data have, where nobody says which channels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from runs import tiny_recipe

from segmed.core.errors import ConfigError, DataError
from segmed.core.labels import LabelMap
from segmed.core.volume import Grid, Volume
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.sources import open_dataset
from segmed.io.volumes import write_volume
from segmed.models.checkpoint import RunConfig
from segmed.models.config import ModelConfig
from segmed.preprocess import Preprocess, PreprocessConfig
from segmed.training.build import fit_recipe
from segmed.training.channels import channels_note, repeated_note
from segmed.training.recipe import load_recipe


def data_of(root: Path, sequences: int) -> DecodedDataset:
    """One volume as nnU-Net has it, with as many sequences."""
    grid, rng = Grid((2, 9, 7), spacing=(4.0, 1.0, 1.0)), np.random.default_rng(0)
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for number in range(sequences):
        image = Volume(rng.integers(1, 900, grid.shape, np.int16), grid)
        write_volume(root / "imagesTr" / f"a_{number:04d}.nii.gz", image)
    write_volume(root / "labelsTr" / "a.nii.gz", Volume(np.ones(grid.shape, np.uint8), grid))
    (root / "dataset.json").write_text('{"labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}')
    return decode(open_dataset(root), cache_dir=root.parent / "cache")


@pytest.mark.parametrize("sequences", [1, 2, 4])
def test_all_sequences_are_read_and_the_network_is_built_for_them(tmp_path: Path, sequences: int) -> None:
    recipe = fit_recipe(load_recipe("unet-lite-cpu"), data_of(tmp_path / "set", sequences))
    assert recipe.preprocess.channels == tuple(range(sequences))
    assert recipe.model.channels == sequences
    assert channels_note(recipe) == f"reads channels {list(range(sequences))} of the data, model.channels {sequences}"
    assert repeated_note(recipe) is None


def test_volumes_opened_along_another_plane_than_the_recipes_are_refused(tmp_path: Path) -> None:
    recipe = tiny_recipe("preprocess.plane=coronal")
    with pytest.raises(DataError, match="the recipe: reads volumes along plane coronal, but set was opened along acq"):
        fit_recipe(recipe, data_of(tmp_path / "set", 1))


def test_neighbours_are_channels_too(tmp_path: Path) -> None:
    recipe = fit_recipe(load_recipe("unet-25d-cpu"), data_of(tmp_path / "set", 2))
    assert (recipe.preprocess.channels, recipe.model.channels) == ((0, 1), 6)


@pytest.mark.parametrize("written", ["none", "None", "NONE"])
def test_random_weights_read_all_channels_however_they_are_written(tmp_path: Path, written: str) -> None:
    settings = (f"model.encoder_weights={written}", "preprocess.normalisation=minmax")
    recipe = fit_recipe(load_recipe("medsam", settings), data_of(tmp_path / "set", 4))
    assert (recipe.preprocess.channels, recipe.model.channels) == ((0, 1, 2, 3), 4)


def test_published_weights_read_three_channels_of_fewer_and_ask_of_more(tmp_path: Path) -> None:
    for sequences, read in ((1, (0, 0, 0)), (2, (0, 1, 0)), (3, (0, 1, 2))):
        recipe = fit_recipe(load_recipe("medsam"), data_of(tmp_path / f"set{sequences}", sequences))
        assert (recipe.preprocess.channels, recipe.model.channels) == (read, 3)
        assert (repeated_note(recipe) is None) == (sequences == 3)
    four = data_of(tmp_path / "set4", 4)
    with pytest.raises(ConfigError, match=r"medsam reads three channels here, and the data have 4\. Choose three"):
        fit_recipe(load_recipe("medsam"), four)
    chosen = fit_recipe(load_recipe("medsam", ["preprocess.channels=[3,1,1]"]), four)
    assert chosen.preprocess.channels == (3, 1, 1)
    assert fit_recipe(load_recipe("sam-tiny-cpu"), four).model.channels == 4


def test_channels_that_are_named_are_not_changed(tmp_path: Path) -> None:
    data = data_of(tmp_path / "set", 2)
    assert fit_recipe(tiny_recipe("preprocess.channels=[1]", "model.channels=1"), data).preprocess.channels == (1,)
    with pytest.raises(DataError, match=r"has 2 channels, but the recipe reads \(0, 1, 2\)"):
        fit_recipe(tiny_recipe("preprocess.channels=[0,1,2]"), data)
    with pytest.raises(ConfigError, match=r"model\.channels is 5, but the data have 2 channels"):
        fit_recipe(tiny_recipe("model.channels=5"), data)


@pytest.mark.parametrize(("mode", "read"), [("RGBA", (0, 1, 2)), ("LA", (0,)), ("L", (0,))])
def test_the_transparency_of_png_is_not_read(tmp_path: Path, mode: str, read: tuple[int, ...]) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        pixels = Pillow.new("RGB", (8, 8), (200, 9, 100) if kind == "images" else (255, 255, 255))
        pixels.convert(mode if kind == "images" else "L").save(tmp_path / kind / "a.png")
    data = decode(open_dataset(tmp_path), cache_dir=tmp_path / "cache")
    assert fit_recipe(tiny_recipe(), data).preprocess.channels == read


def test_a_run_says_which_channels_it_reads() -> None:
    config = RunConfig(ModelConfig(channels=6), PreprocessConfig(neighbours=1), LabelMap(), threshold=0.5)
    assert config.preprocess.channels == (0, 1)


def test_imagenet_normalisation_without_three_channels_is_refused() -> None:
    with pytest.raises(DataError, match="imagenet normalisation is of three channels, and the image has 2"):
        Preprocess(PreprocessConfig(normalisation="imagenet")).statistics([np.ones((4, 4, 2), np.uint8)])
