"""images/ beside masks/."""

from pathlib import Path

import pytest

from segmed.core.errors import DataError
from segmed.data.sources import list_dataset, open_dataset


def make_folder(root: Path, images: tuple[str, ...], masks: tuple[str, ...]) -> Path:
    for folder, names in (("images", images), ("masks", masks)):
        (root / folder).mkdir()
        for name in names:
            (root / folder / name).write_bytes(b"pixels")
    return root


def test_images_and_masks_are_paired_by_stem_whatever_their_formats(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.jpg", "b.npy", "c.TIF"), ("a.png", "b_mask.npz", "c.tif"))
    pairs = [(record.image.name, record.mask and record.mask.name) for record in open_dataset(tmp_path).records]
    assert pairs == [("a.jpg", "a.png"), ("b.npy", "b_mask.npz"), ("c.TIF", "c.tif")]


def test_every_image_is_its_own_patient_unless_told_otherwise(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a_1.png", "a_2.png"), ("a_1.png", "a_2.png"))
    assert open_dataset(tmp_path).patients == ("a_1", "a_2")


@pytest.mark.parametrize("regex", [r"^([a-z]+)_", r"(?P<patient>^[a-z]+)", r"^[a-z]+"])
def test_a_regex_groups_images_by_patient_with_slices_in_numeric_order(tmp_path: Path, regex: str) -> None:
    names = ("a_1.png", "a_10.png", "a_2.png", "b_1.png")
    make_folder(tmp_path, names, names)
    dataset = open_dataset(tmp_path, patient_regex=regex)
    assert dataset.patients == ("a", "b")
    assert [(r.case, r.slice_index) for r in dataset.records[:3]] == [("a_1", 1), ("a_2", 2), ("a_10", 3)]


def test_a_regex_may_give_the_slice_too(tmp_path: Path) -> None:
    names = ("z7_a.png", "z3_a.png")
    make_folder(tmp_path, names, names)
    records = open_dataset(tmp_path, patient_regex=r"z(?P<slice>\d+)_(?P<patient>\w+)").records
    assert [(record.case, record.slice_index) for record in records] == [("z3_a", 3), ("z7_a", 7)]


def test_a_stem_that_the_regex_does_not_fit_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a_1.png", "odd.png"), ("a_1.png", "odd.png"))
    with pytest.raises(DataError, match=r"odd\.png: --patient-regex .* finds no patient or slice in 'odd'"):
        open_dataset(tmp_path, patient_regex=r"^([a-z]+)_")


def test_a_broken_regex_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png",), ("a.png",))
    with pytest.raises(DataError, match=r"--patient-regex.*Try for example"):
        open_dataset(tmp_path, patient_regex="(")


def test_a_missing_mask_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png", "b.png"), ("a.png",))
    with pytest.raises(DataError, match=r"b\.png: has no mask, expected masks/b\.png"):
        open_dataset(tmp_path)


def test_a_mask_without_image_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png",), ("a.png", "b.png"))
    with pytest.raises(DataError, match=r"masks/b\.png: a mask without its image"):
        open_dataset(tmp_path)


def test_a_doubled_mask_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png",), ("a.png", "a_mask.png"))
    with pytest.raises(DataError, match=r"a_mask\.png: a second mask of case a, besides a\.png"):
        open_dataset(tmp_path)


def test_a_doubled_case_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png", "a.tif"), ("a.png",))
    with pytest.raises(DataError, match=r"a\.tif: a second image of case a"):
        open_dataset(tmp_path)


def test_images_without_masks_are_listed_to_predict_on(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png", "b.png"), ())
    assert [record.mask for record in open_dataset(tmp_path).records] == [None, None]


def test_hidden_files_are_ignored_and_others_are_told(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png", ".DS_Store", "notes.txt"), ("a.png", "Thumbs.db"))
    listing = list_dataset(tmp_path)
    assert len(listing.dataset.records) == 1
    assert {Path(finding.where).name for finding in listing.findings} == {"notes.txt", "Thumbs.db"}
