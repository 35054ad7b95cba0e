"""`preprocess.spacing`: volumes of different spacing reach the network at one, and what is predicted goes back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from bright_run import bright
from segmed.core.errors import ConfigError, DataError
from segmed.core.volume import Grid, Volume
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.input_size import fit_size
from segmed.data.loading import Collate, PreprocessedSlices
from segmed.data.sources import open_dataset
from segmed.inference.from_data import patient_slices
from segmed.io.volumes import write_volume
from segmed.preprocess import Preprocess, PreprocessConfig

CONFIG = PreprocessConfig(channels=(0,), spacing=(1.0, 1.0), divisor=8)


def axial(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = spacing[0], -spacing[1], -spacing[2], 1
    return Grid(shape, affine)


def disc(grid: Grid, radius: float = 9.0) -> np.ndarray:
    """A cylinder of `radius` mm in the middle of a grid."""
    assert grid.spacing is not None
    rows, columns = (
        (np.arange(side) - (side - 1) / 2) * step for side, step in zip(grid.shape[1:], grid.spacing[1:], strict=True)
    )
    inside = np.hypot(rows[:, None], columns[None]) <= radius
    return np.broadcast_to(inside, grid.shape).astype(np.uint8)


GRIDS = {"fine": axial((3, 61, 80), (4.0, 0.5, 0.4)), "coarse": axial((2, 23, 17), (4.0, 2.0, 2.5))}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    root = tmp_path_factory.mktemp("spacing")
    for name, grid in GRIDS.items():
        for kind, top in (("images", 100), ("masks", 1)):
            (root / kind).mkdir(exist_ok=True)
            write_volume(root / kind / f"{name}.nii.gz", Volume(disc(grid) * np.uint8(top) + (kind == "images"), grid))
    return decode(open_dataset(root), cache_dir=root / "cache")


def test_an_object_is_as_large_in_every_volume_and_all_slices_stack(data: DecodedDataset) -> None:
    config = fit_size(CONFIG, data)
    assert config.size == (48, 48)  # 46 x 42.5 mm and 30.5 x 32 mm, to multiples of 8
    slices = PreprocessedSlices(data, [record.slice_id for record in data.dataset.records], Preprocess(config))
    batch = Collate(1)([slices[index] for index in range(len(slices))])
    areas = batch.mask.sum((1, 2, 3)).tolist()
    assert areas == pytest.approx([np.pi * 81] * 5, rel=0.06)
    undo = {record.volume: slices[index].undo for index, record in enumerate(data.dataset.records)}
    assert (undo["fine"].original, undo["fine"].content) == ((61, 80), (31, 32))
    assert (undo["coarse"].original, undo["coarse"].content) == ((23, 17), (46, 43))


def test_size_is_the_least_input_and_larger_slices_get_a_larger_one(data: DecodedDataset) -> None:
    assert fit_size(replace(CONFIG, size=(64, 32)), data).size == (64, 48)
    assert Preprocess(replace(CONFIG, size=(16, 16))).network_size((61, 80), (0.5, 0.4)) == (32, 32)


def test_a_prediction_goes_back_to_the_grid_of_its_volume(data: DecodedDataset, tmp_path: Path) -> None:
    predictor = bright(tmp_path)
    preprocess = replace(predictor.config.preprocess, spacing=(1.0, 1.0), divisor=8)
    predictor.config = replace(predictor.config, preprocess=preprocess)
    predictor._preprocess = Preprocess(preprocess)
    for name, grid in GRIDS.items():
        volume = Volume(disc(grid) * np.uint8(100) + np.uint8(1), grid)
        found = predictor.predict_volume(volume)
        assert found.grid is grid
        overlap = 2 * (found.array * disc(grid)).sum() / (found.array.sum() + disc(grid).sum())
        assert overlap > 0.94, name
        records = [record for record in data.dataset.records if record.volume == name]
        as_data = [predictor.label(each).array for each in predictor.iterate(patient_slices(data, records))]
        np.testing.assert_array_equal(np.stack(as_data), found.array)
        told = predictor.predict_volume(volume.array, spacing=grid.spacing and grid.spacing[1:])
        np.testing.assert_array_equal(np.stack([mask.array for mask in told]), found.array)


def test_what_has_the_wanted_spacing_is_not_resampled() -> None:
    image = np.random.default_rng(0).integers(1, 900, (37, 51, 1), np.int16)
    there, plain = Preprocess(CONFIG), Preprocess(replace(CONFIG, spacing=None))
    statistics = plain.statistics([image])
    found, undo = there.apply(image, statistics, (1.0, 1.0 + 1e-6))
    assert torch.equal(found, plain.apply(image, statistics)[0])
    logits = torch.randn(2, *found.shape[1:])
    assert torch.equal(undo(logits), logits[:, :37, :51])


def test_data_without_spacing_are_refused_by_name(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        Pillow.fromarray(np.full((9, 9), 255, np.uint8)).save(tmp_path / kind / "a.png")
    plain = decode(open_dataset(tmp_path), cache_dir=tmp_path / "cache")
    with pytest.raises(DataError, match=r"a\.png: preprocess\.spacing is 1 x 1 mm, but the spacing .* not known"):
        fit_size(CONFIG, plain)
    with pytest.raises(DataError, match="spacing of these images is not known"):
        Preprocess(CONFIG).apply_mask(np.zeros((9, 9), np.uint8))


@pytest.mark.parametrize(
    ("spacing", "told"),
    [
        ((0.0, 1.0), "spacing is two positive numbers of mm"),
        ((1.0, -1.0), "spacing is two positive numbers of mm"),
        ((float("inf"), 1.0), r"spacing\.0: Input should be a finite number"),
    ],
)
def test_a_spacing_that_is_no_length_is_refused(spacing: tuple[float, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        PreprocessConfig(spacing=spacing)


def test_a_spacing_that_makes_absurd_images_is_refused() -> None:
    with pytest.raises(DataError, match=r"would be 20000 x 20000 at preprocess\.spacing 0\.01"):
        Preprocess(replace(CONFIG, spacing=(0.01, 0.01))).network_size((200, 200), (1.0, 1.0))
