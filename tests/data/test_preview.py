"""The contact sheet: a picture, of slices with foreground, one per patient, the same for the same seed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmed.core.errors import ConfigError, DataError
from segmed.core.labels import LabelMap
from segmed.data.augment import PRESETS
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.layouts.lgg import SEQUENCES
from segmed.data.phantom import write_phantom
from segmed.data.preview import VIEWS, _choose, _figure, _row, contact_sheet
from segmed.data.sources import open_dataset


@pytest.fixture(scope="module")
def decoded(tmp_path_factory) -> DecodedDataset:
    folder = tmp_path_factory.mktemp("preview")
    write_phantom(folder, patients=4, seed=1, size=65, slices=9)
    return decode(open_dataset(folder), cache_dir=folder / "cache")


def png_dataset(folder: Path, stored: list[int], labels: LabelMap) -> DecodedDataset:
    """One grey image of 40 by 56 whose mask holds a square of each stored value."""
    mask = np.zeros((40, 56), np.uint8)
    for number, value in enumerate(stored):
        mask[10:24, 4 + 18 * number : 18 + 18 * number] = value
    for name, pixels in (("images", np.arange(40 * 56).reshape(40, 56) % 251), ("masks", mask)):
        (folder / name).mkdir()
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name / "a.png")
    return decode(open_dataset(folder, labels=labels), cache_dir=folder / "cache")


@pytest.mark.parametrize("preset", ["none", "reproduction", "mri", "auto"])
def test_a_sheet_is_a_readable_picture(decoded, tmp_path, preset):
    contact_sheet(decoded, preset=preset, seed=0, path=tmp_path / "sheet.png", rows=2)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width > picture.height > 300
        assert np.asarray(picture.convert("L")).std() > 20


def test_a_sheet_is_of_the_format_that_its_name_says(decoded, tmp_path):
    contact_sheet(decoded, preset="none", seed=0, path=tmp_path / "sheet.pdf", rows=1)
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")


def test_the_same_seed_draws_the_same_sheet_and_another_does_not(decoded, tmp_path):
    pixels = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        contact_sheet(decoded, preset="mri", seed=seed, path=tmp_path / f"{name}.png", rows=1)
        pixels.append(np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")))
    assert np.array_equal(pixels[0], pixels[1])
    assert not np.array_equal(pixels[0], pixels[2])


def test_rows_are_slices_with_tumour_of_different_patients(decoded):
    chosen = _choose(decoded, 3, np.random.default_rng(0))
    assert len({record.patient for record in chosen}) == 3
    assert all(decoded.mask(record.slice_id).any() for record in chosen)


def test_there_are_never_more_rows_than_patients(decoded):
    assert len(_choose(decoded, 50, np.random.default_rng(0))) == 4


def test_titles_name_the_sequences_and_the_views(decoded):
    import torch

    row = _row(decoded, _choose(decoded, 1, np.random.default_rng(0))[0], PRESETS["mri"], torch.Generator())
    titles = [axis.get_title() for axis in _figure([row], "x", SEQUENCES, decoded.dataset.labels).axes]
    assert titles[:4] == ["pre-contrast", "FLAIR", "post-contrast", "FLAIR, mask"]
    assert len(titles) == 4 + VIEWS


def test_two_labels_get_two_colours_on_a_grey_image(tmp_path):
    labels = LabelMap(names=("rim", "cup"), stored=(0, 100, 200))
    contact_sheet(png_dataset(tmp_path, [100, 200], labels), preset="none", seed=0, path=tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    red, green = np.all(np.abs(pixels - [255, 59, 48]) < 40, -1), np.all(np.abs(pixels - [52, 199, 89]) < 40, -1)
    assert red.sum() > 50
    assert green.sum() > 50


def test_masks_without_foreground_are_refused_by_folder_name(tmp_path):
    empty = png_dataset(tmp_path, [], LabelMap())
    with pytest.raises(DataError, match=f"{tmp_path.name}: no mask has any foreground"):
        contact_sheet(empty, preset="mri", seed=0, path=tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "mir"}, "Did you mean 'mri'"),
        ({"rows": 0}, "at least one row, got 0"),
        ({"path": Path("sheet.xyz")}, "sheet.xyz: not the name of a picture"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_drawn(decoded, tmp_path, wrong, message):
    settings = {"preset": "mri", "seed": 0, "path": tmp_path / "sheet.png", **wrong}
    with pytest.raises(ConfigError, match=message):
        contact_sheet(decoded, **settings)
