"""images/ beside masks/."""

import os
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
    assert [(r.slice_id, r.slice_index) for r in dataset.records[:3]] == [("a_1", 1), ("a_2", 2), ("a_10", 3)]


def test_a_regex_may_give_the_slice_too(tmp_path: Path) -> None:
    names = ("z7_a.png", "z3_a.png")
    make_folder(tmp_path, names, names)
    records = open_dataset(tmp_path, patient_regex=r"z(?P<slice>\d+)_(?P<patient>\w+)").records
    assert [(record.slice_id, record.slice_index) for record in records] == [("z3_a", 3), ("z7_a", 7)]


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
    with pytest.raises(DataError, match=r"a_mask\.png: a second mask of slice a, besides a\.png"):
        open_dataset(tmp_path)


def test_a_doubled_slice_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png", "a.tif"), ("a.png",))
    with pytest.raises(DataError, match=r"a\.tif: a second image of slice a"):
        open_dataset(tmp_path)


def test_images_without_masks_are_listed_to_predict_on(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png", "b.png"), ())
    assert [record.mask for record in open_dataset(tmp_path).records] == [None, None]


def test_hidden_files_are_ignored_and_others_are_told(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png", ".DS_Store", "notes.txt"), ("a.png", "Thumbs.db"))
    listing = list_dataset(tmp_path)
    assert len(listing.dataset.records) == 1
    assert {Path(finding.where).name for finding in listing.findings} == {"notes.txt", "Thumbs.db"}


def errors(root: Path) -> dict[str, str]:
    return {finding.code: finding.message for finding in list_dataset(root).findings if finding.severity == "error"}


def test_names_in_composed_and_decomposed_unicode_are_one_slice(tmp_path: Path) -> None:
    make_folder(tmp_path, ("caf\u00e9.png",), ("cafe\u0301_mask.png",))
    records = open_dataset(tmp_path).records
    assert [(record.slice_id, record.mask and record.mask.name) for record in records] == [
        ("caf\u00e9", "cafe\u0301_mask.png")
    ]


def test_a_mask_that_differs_by_case_or_zeros_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path, ("P01.png",), ("p1.png",))
    with pytest.raises(DataError, match=r"P01\.png: has no mask; p1\.png differs by case or leading zeros"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_images_or_masks_in_sub_folders_are_an_error(tmp_path: Path, folder: str) -> None:
    make_folder(tmp_path, ("a.png",), ("a.png",))
    (tmp_path / folder / "p2" / "deep").mkdir(parents=True)
    (tmp_path / folder / "p2" / "deep" / "b.png").touch()
    (tmp_path / folder / "notes").mkdir()
    (tmp_path / folder / "notes" / "a.txt").touch()
    assert list(errors(tmp_path)) == [f"nested-{folder}"]
    assert f"{folder} in a sub-folder (1) are not read" in errors(tmp_path)[f"nested-{folder}"]


def test_masks_in_jpeg_are_an_error_with_the_reason(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png", "b.png"), ("a.jpg", "b.JPEG"))
    assert "JPEG changes the values of labels" in errors(tmp_path)["unread-mask"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.nii.gz", "mask"), *((name, kind) for name in ("a.nhdr", "a.bmp") for kind in ("image", "mask"))],
)
def test_images_and_masks_in_formats_that_are_not_read_are_an_error(tmp_path: Path, name: str, kind: str) -> None:
    make_folder(tmp_path, ("b.png",), ("b.png",))
    (tmp_path / f"{kind}s" / name).touch()
    assert "files are not read" in errors(tmp_path)[f"unread-{kind}"]


@pytest.mark.parametrize(
    "name", ["labels/a.txt", "annotations/a.xml", "instances_train.json", "_annotations.coco.json"]
)
def test_labels_beside_images_in_another_form_are_an_error_where_there_are_no_masks(tmp_path: Path, name: str) -> None:
    make_folder(tmp_path, ("a.png",), ())
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert "masks" in errors(tmp_path)["unread-labels"]
    (tmp_path / "masks" / "a.png").touch()
    assert errors(tmp_path) == {}


def test_a_name_that_is_no_text_is_an_error_and_the_others_are_listed(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a.png", os.fsdecode(b"\xe9.png")), ("a.png",))
    listing = list_dataset(tmp_path)
    assert [record.slice_id for record in listing.dataset.records] == ["a"]
    assert [(finding.code, finding.where[-11:]) for finding in listing.findings] == [("name", "/\\udce9.png")]


def test_patients_whose_ids_differ_by_case_or_zeros_are_a_warning(tmp_path: Path) -> None:
    names = ("p1_1.png", "P01_2.png", "p2_1.png")
    make_folder(tmp_path, names, names)
    found = list_dataset(tmp_path, patient_regex="^([^_]+)_").findings
    assert [(finding.severity, finding.code) for finding in found] == [("warning", "alike-patients")]
    assert found[0].message.startswith("P01 and p1 differ by case or leading zeros only")
    assert list_dataset(tmp_path).findings == ()  # nobody said that these are patients
