"""Any known layout is found and listed; what is none is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.data.listing import natural_key
from segmed.data.sources import holds_pairs, layout_of, open_dataset, parse_labels


def test_an_empty_folder_is_refused_with_the_layouts_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set found in this folder; expected a folder with images/ and masks/"):
        open_dataset(tmp_path)


def test_a_data_set_one_folder_further_down_is_named(tmp_path: Path) -> None:
    (tmp_path / "a" / "images").mkdir(parents=True)  # images alone are none
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "manifest.csv").write_text("slice_id,patient,image\n")
    with pytest.raises(DataError, match=r"no data set found in this folder, but one in .*volumes\. Name that folder"):
        open_dataset(tmp_path)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: does not exist"):
        open_dataset(tmp_path / "gone")


def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"a\.txt: not a data set; expected"):
        open_dataset(tmp_path / "a.txt")


def test_an_empty_images_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="images: holds no image"):
        open_dataset(tmp_path)


def test_a_manifest_in_a_folder_goes_before_other_layouts(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Pillow.fromarray(np.zeros((3, 5), np.uint8)).save(tmp_path / "images" / "a.png")
    (tmp_path / "manifest.csv").write_text("slice_id,patient,image\nx,p,images/a.png\n")
    assert [record.slice_id for record in open_dataset(tmp_path).records] == ["x"]


@pytest.mark.parametrize(
    ("files", "layout", "pairs"),
    [
        ((), None, False),
        (("a.png", "b.npz"), None, False),
        (("manifest.json", "images/a.png", "data_1.npz"), "manifest", True),
        (("images/a.png",), "folder", False),
        (("images/a.png", "masks/a.png", "a_1.tif"), "folder", True),
        (("data_1.npz", "a_1.tif"), "fairseg", False),
        (("p/a_1.tif", "p/a_2.TIFF"), "lgg", False),
        (("p/a_1_mask.tif",), "lgg", False),
        (("p/a_1.tif", "p/a_1_mask.tif"), "lgg", True),
    ],
)
def test_a_folder_has_the_first_layout_that_its_names_say(
    tmp_path: Path, files: tuple[str, ...], layout: str | None, pairs: bool
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = layout_of(tmp_path)
    assert (found, holds_pairs(tmp_path, found)) == (layout, pairs)


def test_a_file_is_a_manifest_by_its_ending_or_nothing(tmp_path: Path) -> None:
    for name, layout in (("a.csv", "manifest"), ("a.JSON", "manifest"), ("a.txt", None)):
        (tmp_path / name).touch()
        assert layout_of(tmp_path / name) == layout
    assert layout_of(tmp_path / "gone") is None


@pytest.mark.parametrize("named", ["", "manifest.csv"])
def test_a_pattern_for_patients_is_refused_where_a_manifest_names_them(tmp_path: Path, named: str) -> None:
    (tmp_path / "images").mkdir()
    Pillow.fromarray(np.zeros((3, 5), np.uint8)).save(tmp_path / "images" / "a_1.png")
    assert open_dataset(tmp_path, patient_regex="^([^_]+)_").patients == ("a",)
    (tmp_path / "manifest.csv").write_text("slice_id,patient,image\nx,p,images/a_1.png\n")
    with pytest.raises(DataError, match="its manifest says who the patients are, so --patient-regex says nothing"):
        open_dataset(tmp_path / named, patient_regex="^([^_]+)_")


def test_the_given_labels_go_into_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    labels = LabelMap(("rim", "cup"), (0, 1, 2))
    assert open_dataset(tmp_path, labels=labels).labels == labels


def test_numbers_sort_by_value_and_not_by_digits() -> None:
    assert sorted(["a_10", "a_2", "b_1", "a_1"], key=natural_key) == ["a_1", "a_2", "a_10", "b_1"]


def test_grey_labels_are_parsed_with_background_first() -> None:
    assert parse_labels("rim=1, cup=2,background=0") == LabelMap(("rim", "cup"), (0, 1, 2))


def test_colour_labels_are_parsed() -> None:
    expected = LabelMap(("rim",), ((0, 0, 0), (255, 136, 1)))
    assert parse_labels("background=#000000,rim=#FF8801") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rim", "'rim' is not NAME=VALUE"),
        ("", "'' is not NAME=VALUE"),
        ("rim=1", "background is missing"),
        ("background=0", "only background is given"),
        ("background=0,rim=300", "rim=300 is neither"),
        ("background=0,rim=-1", "rim=-1 is neither"),
        (f"background=0,rim={'9' * 5000}", "rim=9+…9+ is neither"),
        ("background=0,rim=#12345", "rim=#12345 is neither"),
        ("background=0,rim=#ff0000", "grey values and colours are mixed"),
        ("background=0,rim=1,rim=2", "'rim' is given twice"),
        ("background=0,rim=0", "must differ"),
    ],
)
def test_labels_that_make_no_map_are_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_labels(text)
