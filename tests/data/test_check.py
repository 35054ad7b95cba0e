"""The check finds what is wrong, goes on after it, and counts right."""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.split import Partition, Split
from segmed.data.check import CheckReport, check
from segmed.data.check.hashes import write_hashes
from segmed.data.facts import FULL_LGG
from segmed.data.layouts.manifest import write_manifest
from segmed.data.sources import open_dataset

A, B = "TCGA_DU_0001_19990101", "TCGA_HT_0002_20010203"
SIZE = (20, 31)
NONE = np.zeros(SIZE, np.uint8)
BLOCK = NONE.copy()
BLOCK[4:10, 5:12] = 255
GOOD = [NONE, BLOCK, BLOCK, NONE]


def make(root: Path, studies: Mapping[str, Sequence[np.ndarray]]) -> Path:
    """A tree in the Kaggle layout: random images, and the given masks for slices 1, 2, …"""
    generator = np.random.default_rng(0)
    for study, masks in studies.items():
        (root / study).mkdir(parents=True)
        for number, mask in enumerate(masks, start=1):
            image = generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            tifffile.imwrite(image_path(root, study, number), image)
            tifffile.imwrite(mask_path(root, study, number), mask)
    return root


def image_path(root: Path, study: str, number: int) -> Path:
    return root / study / f"{study}_{number}.tif"


def mask_path(root: Path, study: str, number: int) -> Path:
    return root / study / f"{study}_{number}_mask.tif"


def change_images(root: Path, study: str, numbers: Sequence[int], channel: int, value: int | None) -> None:
    """Set a channel to a value, or to the second channel where `value` is None."""
    for number in numbers:
        image = tifffile.imread(image_path(root, study, number))
        image[..., channel] = image[..., 1] if value is None else value
        tifffile.imwrite(image_path(root, study, number), image)


def found(report: CheckReport) -> set[tuple[str, str]]:
    """Severity and code of the findings, but for the remark that these are not all LGG patients."""
    return {(str(finding.severity), finding.code) for finding in report.findings} - {("note", "lgg-part")}


def message(report: CheckReport, code: str) -> str:
    return next(f"{finding.where}: {finding.message}" for finding in report.findings if finding.code == code)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make(tmp_path / "data", {A: GOOD, B: GOOD})


def test_good_data_has_no_findings_and_is_counted(tree: Path) -> None:
    report = check(tree)
    assert found(report) == set()
    assert report.ok
    assert (report.facts.patients, report.facts.slices, report.facts.positive_slices) == (2, 8, 4)
    assert report.facts.foreground_pixels == 4 * 6 * 7
    assert report.facts.sizes == {"20x31x3": 8}
    assert report.facts.institutions == {"DU": 1, "HT": 1}


def test_progress_ends_with_all_slices(tree: Path) -> None:
    steps: list[tuple[int, int]] = []
    check(tree, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 8) for done in range(1, 9)]


def test_every_unreadable_file_is_listed_and_the_rest_is_still_counted(tree: Path) -> None:
    image_path(tree, A, 1).write_bytes(b"")
    image_path(tree, B, 4).write_text("text")
    mask_path(tree, B, 1).write_bytes(mask_path(tree, B, 1).read_bytes()[:300])
    report = check(tree)
    bad = {(finding.code, Path(finding.where).name) for finding in report.errors}
    assert bad == {("bad-image", f"{A}_1.tif"), ("bad-image", f"{B}_4.tif"), ("bad-mask", f"{B}_1_mask.tif")}
    assert report.facts.foreground_pixels == 4 * 6 * 7


def test_the_message_of_an_unreadable_file_does_not_repeat_its_name(tree: Path) -> None:
    image_path(tree, A, 1).write_bytes(b"")
    assert check(tree).errors[0].message.startswith("the file has zero bytes")


def test_a_missing_mask_is_an_error(tree: Path) -> None:
    mask_path(tree, A, 3).unlink()
    assert ("error", "missing-mask") in found(check(tree))


def test_mask_values_outside_the_labels_are_an_error(tree: Path) -> None:
    tifffile.imwrite(mask_path(tree, A, 2), BLOCK // 2)
    assert "mask value 127 is not a label; expected 0, 255" in message(check(tree), "bad-mask")


def test_a_mask_on_another_grid_is_an_error(tree: Path) -> None:
    tifffile.imwrite(mask_path(tree, A, 2), BLOCK[:, :-1])
    assert "the mask is 20x30 but its image is 20x31" in message(check(tree), "grid")


def test_slices_of_another_size_in_a_volume_are_an_error(tree: Path) -> None:
    tifffile.imwrite(image_path(tree, A, 1), np.ones((21, 31, 3), np.uint8))
    tifffile.imwrite(mask_path(tree, A, 1), np.zeros((21, 31), np.uint8))
    assert "20x31, 21x31" in message(check(tree), "slice-size")


@pytest.mark.parametrize(
    ("image", "code", "text"),
    [
        (np.arange(20 * 31 * 3).reshape(20, 31, 3).astype(np.uint16), "dtype", "dtype uint16, expected uint8"),
        (np.arange(20 * 31).reshape(20, 31).astype(np.uint8), "channels", "channels 1, expected 3"),
    ],
)
def test_an_image_of_another_type_or_channels_is_an_error(tree: Path, image: np.ndarray, code: str, text: str) -> None:
    tifffile.imwrite(image_path(tree, A, 1), image)
    assert text in message(check(tree), code)


@pytest.mark.parametrize(("gone", "text"), [((1,), "slice 1 is missing"), ((2, 3), "slice 2-3 is missing")])
def test_slices_that_are_missing_in_a_volume_are_found(tmp_path: Path, gone: tuple[int, ...], text: str) -> None:
    tree = make(tmp_path, {A: [NONE, NONE, NONE, BLOCK, NONE]})
    for number in gone:
        image_path(tree, A, number).unlink()
        mask_path(tree, A, number).unlink()
    assert text in message(check(tree), "slice-gap")


def test_two_studies_of_one_patient_are_an_error(tmp_path: Path) -> None:
    tree = make(tmp_path, {A: GOOD, "TCGA_DU_0001_20050505": GOOD})
    assert message(check(tree), "slice-twice").startswith("TCGA_DU_0001: slice 1, 2, 3, 4 more than once")


def test_slices_that_a_manifest_lists_as_text_are_an_error(tmp_path: Path) -> None:
    make(tmp_path, {A: [NONE] * 9 + [BLOCK, NONE]})
    rows = ["slice_id,patient,image,mask"]
    for number in sorted(range(1, 12), key=str):
        rows.append(f"c{number},p,{A}/{A}_{number}.tif,{A}/{A}_{number}_mask.tif")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    assert "ordered as text (10 before 2)" in message(check(tmp_path), "slice-order")


def test_missing_sequences_are_derived_from_pixels(tree: Path) -> None:
    change_images(tree, A, (1, 2, 3, 4), channel=2, value=None)
    change_images(tree, B, (1, 2, 3, 4), channel=2, value=None)
    change_images(tree, B, (1, 2, 3, 4), channel=0, value=None)
    report = check(tree)
    assert report.facts.post_is_flair == ("TCGA_DU_0001", "TCGA_HT_0002")
    assert report.facts.pre_and_post_are_flair == ("TCGA_HT_0002",)
    assert message(report, "missing-sequence").startswith(
        "TCGA_DU_0001: FLAIR is copied into post-contrast on every slice"
    )
    assert report.ok


def test_a_sequence_that_differs_on_one_slice_is_not_missing(tree: Path) -> None:
    change_images(tree, A, (1, 2, 3), channel=2, value=None)
    assert check(tree).facts.post_is_flair == ()


def test_equal_channels_of_other_data_are_grey_images_and_no_missing_sequence(tree: Path, tmp_path: Path) -> None:
    for channel in (0, 2):
        change_images(tree, A, (1, 2, 3, 4), channel=channel, value=None)
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    shutil.copy(image_path(tree, A, 2), tmp_path / "set" / "images" / "a.tif")
    shutil.copy(mask_path(tree, A, 2), tmp_path / "set" / "masks" / "a.tif")
    report = check(tmp_path / "set")
    assert found(report) == {("note", "equal-channels")}
    assert report.facts.post_is_flair == ()
    write_manifest(tmp_path / "manifest.csv", open_dataset(tree))
    assert check(tmp_path / "manifest.csv").facts.post_is_flair == ("TCGA_DU_0001",)


def test_constant_planes_are_counted_and_a_warning_only_on_foreground(tree: Path) -> None:
    change_images(tree, A, (1,), channel=1, value=0)
    change_images(tree, A, (1,), channel=2, value=1)
    assert found(check(tree)) == {("note", "constant-plane")}
    change_images(tree, B, (2,), channel=2, value=7)
    report = check(tree)
    assert ("warning", "constant-plane") in found(report)
    assert (report.facts.constant_planes, report.facts.slices_with_constant_plane) == (3, 2)


def test_a_patient_without_any_foreground_is_an_error_in_the_lgg_layout(tmp_path: Path) -> None:
    report = check(make(tmp_path, {A: GOOD, B: [NONE, NONE]}))
    assert message(report, "no-foreground").startswith("TCGA_HT_0002: all masks are empty")


def test_an_empty_mask_between_positive_ones_is_found(tmp_path: Path) -> None:
    report = check(make(tmp_path, {A: [NONE, BLOCK, NONE, BLOCK, NONE]}))
    assert "empty mask on slice 3" in message(report, "foreground-gap")


def test_an_unreadable_mask_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    tree = make(tmp_path, {A: [NONE, BLOCK, BLOCK, BLOCK, NONE]})
    mask_path(tree, A, 3).write_bytes(b"")
    assert found(check(tree)) == {("error", "bad-mask")}


@pytest.mark.parametrize(("masks", "number"), [([BLOCK, NONE], 1), ([NONE, BLOCK], 2)])
def test_foreground_at_an_end_of_the_stack_is_found(tmp_path: Path, masks: list[np.ndarray], number: int) -> None:
    text = message(check(make(tmp_path, {A: masks})), "foreground-at-end")
    assert f"first or last slice ({number})" in text


def test_small_fragments_and_holes_are_found(tmp_path: Path) -> None:
    speck, ring = BLOCK.copy(), BLOCK.copy()
    speck[15:18, 20:23] = 255
    ring[6, 8] = 0
    report = check(make(tmp_path, {A: [NONE, speck, ring, NONE]}))
    assert "fewer than 10 pixels on slice 2." in message(report, "small-fragment")
    assert "hole in the foreground on slice 3." in message(report, "hole")


def test_a_fragment_of_ten_pixels_joined_by_a_corner_is_no_small_one(tmp_path: Path) -> None:
    mask = NONE.copy()
    mask[2:4, 2:4] = 255
    mask[4:7, 4:6] = 255
    assert found(check(make(tmp_path, {A: [NONE, mask, NONE]}))) == set()


def test_the_same_image_in_two_patients_is_an_error(tree: Path) -> None:
    shutil.copy(image_path(tree, A, 2), image_path(tree, B, 3))
    report = check(tree)
    assert ("error", "same-image") in found(report)
    assert f"{A}_2.tif" in message(report, "same-image")


def test_the_same_image_twice_in_a_patient_is_a_warning(tree: Path) -> None:
    shutil.copy(image_path(tree, A, 2), image_path(tree, A, 3))
    assert found(check(tree)) == {("warning", "same-image")}


def test_blank_images_are_no_copies_of_each_other(tree: Path) -> None:
    for study in (A, B):
        tifffile.imwrite(image_path(tree, study, 1), np.zeros((*SIZE, 3), np.uint8))
    assert found(check(tree)) == {("note", "constant-plane")}


def test_a_doubled_tree_is_noted_and_a_copy_that_differs_is_an_error(tree: Path) -> None:
    shutil.copytree(tree, tree / "again")
    assert found(check(tree)) == {("note", "doubled-tree")}
    copy = mask_path(tree / "again", A, 3)
    content = bytearray(copy.read_bytes())
    content[-1] ^= 255
    copy.write_bytes(content)
    report = check(tree)
    assert [finding.code for finding in report.errors] == ["copy-differs"]
    assert report.errors[0].where == str(copy)


def test_a_label_that_no_mask_holds_is_found(tree: Path) -> None:
    labels = LabelMap(("tumour", "necrosis"), (0, 255, 100))
    assert message(check(tree, labels=labels), "unused-label").startswith("necrosis")


def test_images_without_masks_are_noted(tree: Path) -> None:
    for path in tree.rglob("*_mask.tif"):
        path.unlink()
    assert found(check(tree)) == {("note", "no-mask")}


def test_a_torn_clinical_table_is_an_error_in_the_report(tree: Path) -> None:
    (tree / "data.csv").write_text("Patient,age\nTCGA_DU_0001\n")
    assert "line 2: has 1 value" in message(check(tree), "clinical-table")


def test_images_of_unknown_patients_are_warned_of_until_a_regex_names_them(tree: Path, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for number in (1, 2, 3, 4):
        shutil.copy(image_path(tree, A, number), tmp_path / "set" / "images" / f"a_{number}.tif")
        shutil.copy(mask_path(tree, A, number), tmp_path / "set" / "masks" / f"a_{number}.tif")
    assert found(check(tmp_path / "set")) == {("warning", "patients-unknown")}
    assert found(check(tmp_path / "set", patient_regex="^a")) == set()


def test_a_complete_set_with_other_numbers_is_not_the_published_one(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FULL_LGG, "patients", 2)
    assert "slices 8 (not 3929)" in message(check(tree), "lgg-differs")


def test_the_report_is_plain_json_with_errors_first(tree: Path) -> None:
    mask_path(tree, A, 3).unlink()
    change_images(tree, B, (1,), channel=1, value=0)
    value = json.loads(json.dumps(check(tree).to_json()))
    assert value["ok"] is False
    assert value["facts"]["patients"] == 2
    assert [finding["severity"] for finding in value["findings"]] == ["error", "note", "note", "note"]


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set found"):
        check(tmp_path)


def _split(tree: Path, train: Sequence[str], test: Sequence[str], *, leaking: bool = False) -> Split:
    patient_of = {record.slice_id: record.patient for record in open_dataset(tree).records}
    validation = tuple(sorted(patient_of.keys() - {*train, *test}))
    return Split("patient", 0, "0" * 64, leaking, patient_of, (Partition(tuple(train), validation, tuple(test)),))


def _cases(study: str, *numbers: int) -> list[str]:
    return [f"{study}_{number}" for number in numbers]


C = "TCGA_CS_0003_19990101"


def test_a_split_by_patient_has_no_findings(tmp_path: Path) -> None:
    tree = make(tmp_path, {A: GOOD, B: GOOD, C: GOOD})
    split = _split(tree, _cases(A, 1, 2, 3, 4), _cases(B, 1, 2, 3, 4))
    assert found(check(tree, split=split)) == set()


def test_a_patient_in_two_parts_is_an_error_with_the_share_of_known_neighbours(tree: Path) -> None:
    split = _split(tree, _cases(A, 1, 2), _cases(A, 3, 4))
    report = check(tree, split=split)
    assert found(report) == {("error", "split-overlap"), ("error", "split-neighbours")}
    assert "50.0% of 2 test slices have a neighbour in training; 1 of 1 test patients" in message(
        report, "split-neighbours"
    )


def test_the_marked_slice_split_is_a_warning_and_says_leaking(tree: Path) -> None:
    split = _split(tree, _cases(A, 1, 2), _cases(A, 3, 4), leaking=True)
    report = check(tree, split=split)
    assert found(report) == {("warning", "split-leaking"), ("warning", "split-neighbours")}
    assert "LEAKING" in message(report, "split-leaking")


def test_a_split_of_other_data_is_an_error(tree: Path) -> None:
    split = _split(tree, _cases(A, 1, 2, 3, 4), _cases(B, 1, 2, 3, 4))
    split = dataclasses.replace(
        split,
        patient_of={**split.patient_of, "elsewhere_1": "elsewhere"},
        folds=(dataclasses.replace(split.folds[0], validation=("elsewhere_1",)),),
    )
    assert "1 slice is not in the data, such as elsewhere_1" in message(check(tree, split=split), "split-unknown-slice")


def test_a_slice_that_changed_its_patient_since_the_split_is_an_error(tree: Path) -> None:
    split = _split(tree, _cases(A, 1, 2, 3, 4), _cases(B, 1, 2, 3, 4))
    split = dataclasses.replace(split, patient_of={**split.patient_of, f"{B}_4": "someone else"})
    assert f"slice {B}_4 belongs to TCGA_HT_0002" in message(check(tree, split=split), "split-other-patient")


def test_written_hashes_agree_until_a_file_changes_goes_or_comes(tree: Path, tmp_path: Path) -> None:
    hashes = tmp_path / "hashes.csv"
    write_hashes(hashes, open_dataset(tree))
    assert found(check(tree, hashes=hashes)) == set()
    change_images(tree, A, (1,), channel=0, value=3)
    for path in (image_path(tree, B, 4), mask_path(tree, B, 4)):
        path.rename(path.with_name(path.name.replace("_4", "_5")))
    errors = {(finding.code, finding.where) for finding in check(tree, hashes=hashes).errors}
    assert ("hash-changed", f"{A}/{A}_1.tif") in errors
    assert ("hash-missing", f"{B}/{B}_4_mask.tif") in errors
    assert ("hash-new", f"{B}/{B}_5.tif") in errors


def test_a_list_of_hashes_of_another_form_is_refused(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "hashes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="expected a list of files with columns file, sha256"):
        check(tree, hashes=tmp_path / "hashes.csv")


def test_pixels_are_counted_for_each_label(tmp_path: Path) -> None:
    tree = make(tmp_path / "data", {A: [NONE, BLOCK, BLOCK, NONE]})
    rim = np.where(BLOCK > 0, 1, 0).astype(np.uint8)
    rim[5:7, 6:9] = 2
    tifffile.imwrite(mask_path(tree, A, 2), rim)
    tifffile.imwrite(mask_path(tree, A, 3), rim // 2)
    report = check(tree, labels=LabelMap(("rim", "cup", "other"), (0, 1, 2, 3)))
    assert report.facts.label_pixels == {"rim": 6 * 7 - 6 + 6, "cup": 6, "other": 0}
    assert sum(report.facts.label_pixels.values()) == report.facts.foreground_pixels
    assert message(report, "unused-label") == "other: no mask holds this label. Check --labels."
