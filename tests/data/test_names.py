"""Names that mean one thing are found, and files that are not read are told from those that say nothing."""

import os
import unicodedata
from pathlib import Path

import pytest

from segmed.core.errors import DataError
from segmed.data.loose import loose_images
from segmed.data.names import alike_names, composed, made_of, shown, undecodable, unread

E_ACUTE = "\N{LATIN SMALL LETTER E WITH ACUTE}"


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["P01", "p01", "p02"], [("P01", "p01")]),
        (["1", "01", "001", "10"], [("1", "01", "001")]),
        (["a_0", "a_00", "a_"], [("a_0", "a_00")]),
        (["p10", "p1", "p100"], []),
        (["p1_1", "p11"], []),
        (["a", "a"], []),
        ([E_ACUTE, unicodedata.normalize("NFD", E_ACUTE)], [(E_ACUTE, "e\N{COMBINING ACUTE ACCENT}")]),
    ],
)
def test_names_that_differ_by_case_zeros_or_accents_are_grouped(
    names: list[str], groups: list[tuple[str, ...]]
) -> None:
    assert alike_names(names) == groups


def test_what_is_made_of_an_image_lies_beside_it_whatever_its_format() -> None:
    files = [Path(name) for name in ("a.jpg", "a_mask.png", "a_overlay.png", "b_mask.png", "s/c.tif", "c_mask.tif")]
    assert made_of(files) == {Path("a_mask.png"): Path("a.jpg"), Path("a_overlay.png"): Path("a.jpg")}


@pytest.mark.parametrize("name", ["a.nii.gz", "A.NII", "a.nrrd", "a.dcm", "a.bmp", "a.webp"])
def test_a_file_of_images_that_is_not_read_says_what_to_do(name: str) -> None:
    assert "not read" in (unread(Path(name)) or "")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "notes.txt", "Thumbs.db", "a.csv"])
def test_other_files_are_not_said_to_be_unread(name: str) -> None:
    assert unread(Path(name)) is None


def test_a_name_that_is_no_text_is_shown_by_its_bytes() -> None:
    path = Path(os.fsdecode(b"scan_\xe9.png"))
    assert shown(path) == "scan_\\udce9.png"
    assert undecodable(path) == "its name is not UTF-8 text. Rename it."
    assert undecodable(Path(f"{E_ACUTE}.png")) is None
    assert composed(unicodedata.normalize("NFD", E_ACUTE)) == E_ACUTE


def touched(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_of_loose_images_only_what_is_made_of_one_is_left_out(tmp_path: Path) -> None:
    touched(tmp_path, "a_10.png", "a_2.png", "a_2_mask.png", "lesion_mask.png", "s/b.tif", ".h/c.png", "notes.txt")
    found = loose_images(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in found.images]
    assert names == ["a_2.png", "a_10.png", "lesion_mask.png", "s/b.tif"]
    assert [path.name for path in found.made] == ["a_2_mask.png"]
    assert found.faults == ()


def test_loose_files_that_are_not_read_are_faults(tmp_path: Path) -> None:
    touched(tmp_path, "a.png", "b.nii.gz", os.fsdecode(b"\xff.png"))
    found = loose_images(tmp_path)
    assert [path.name for path in found.images] == ["a.png"]
    texts = sorted(text for _, text in found.faults)
    assert "\\udcff.png: its name is not UTF-8 text" in texts[0]
    assert "b.nii.gz: .nii.gz files are not read beside images of slices" in texts[1]


def test_beside_a_folder_images_nothing_is_an_image(tmp_path: Path) -> None:
    touched(tmp_path, "images/a.png", "labels/a.png")
    assert [path.name for path in loose_images(tmp_path).images] == ["a.png"]


def test_a_folder_of_volumes_alone_says_why_it_holds_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no image.*a\.nrrd: \.nrrd files are not read"):
        loose_images(touched(tmp_path, "a.nrrd"))
