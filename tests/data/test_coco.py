"""COCO's annotations as a data set: polygons and run lengths by hand, parts as a split, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.data.check import check
from segmed.data.decoded import decode
from segmed.data.imported import import_split, split_columns
from segmed.data.layouts import coco
from segmed.data.layouts.manifest import write_manifest
from segmed.data.sources import layout_of, list_dataset, open_dataset
from segmed.inference.volume_inputs import find_volumes
from segmed.io.coco import polygons_mask, runs_mask

SIZE = (5, 7)
BOX = [1, 1, 4, 1, 4, 3, 1, 3]  # x and y of corners: rows 1 and 2, columns 1 to 3


def object_(image: int, category: int, region: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": category, "segmentation": region, "iscrowd": 0, **more}


def write_coco(root: Path, objects: list[dict[str, Any]], *, file: str = "annotations/instances.json") -> Path:
    (root / "images").mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        Pillow.fromarray(np.full(SIZE, 9, np.uint8)).save(root / "images" / f"{name}.png")
    images = [{"id": 7 + n, "file_name": f"{name}.png", "height": 5, "width": 7} for n, name in enumerate("ab")]
    categories = [{"id": 3, "name": "nucleus"}, {"id": 5, "name": "lesion", "supercategory": "x"}]
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": objects, "categories": categories}))
    return root


def masks_of(root: Path, labels: LabelMap | None = None) -> dict[str, np.ndarray]:
    data = decode(open_dataset(root, labels=labels), cache_dir=root.parent / "cache")
    return {record.slice_id: np.array(data.mask(record.slice_id)) for record in data.dataset.records}


def test_polygons_and_runs_become_the_masks_of_their_images(tmp_path: Path) -> None:
    runs = {"counts": [1, 2, 4, 1, 27], "size": [5, 7]}  # down the columns: (1, 0), (2, 0), (2, 1)
    objects = [object_(7, 5, [BOX]), object_(7, 3, [[5, 3, 7, 3, 7, 5, 5, 5]]), object_(8, 3, runs)]
    root = write_coco(tmp_path / "set", objects)
    assert layout_of(root) == "coco"
    dataset = open_dataset(root)
    assert dataset.labels.names == ("nucleus", "lesion")
    assert not dataset.patients_known
    a, b = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    a[1:3, 1:4], a[3:5, 5:7] = 2, 1
    b[[1, 2, 2], [0, 0, 1]] = 1
    found = masks_of(root)
    np.testing.assert_array_equal(found["a"], a)
    np.testing.assert_array_equal(found["b"], b)
    np.testing.assert_array_equal(masks_of(root, LabelMap(("lesion",), (0, 1)))["a"], (a == 2).astype(np.uint8))
    assert check(root).ok


def test_the_file_itself_is_the_data_set_too_and_its_images_may_be_unannotated(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "set", [object_(7, 3, [BOX])], file="any.json")
    assert layout_of(root / "any.json") == "coco"
    assert not masks_of(root / "any.json")["b"].any()


def test_a_crowd_counts_as_its_category_and_is_said(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "set", [object_(7, 5, [BOX], iscrowd=1), object_(8, 3, [BOX])])
    assert masks_of(root)["a"][1:3, 1:4].tolist() == [[2, 2, 2]] * 2
    (told,) = [finding for finding in check(root).findings if finding.code == "crowd"]
    assert told.severity == "warning"
    assert told.message.startswith("1 region with iscrowd: 1 taken as what the category says")
    chosen = list_dataset(root, labels=LabelMap(("nucleus",), (0, 1)))
    assert "crowd" not in [finding.code for finding in chosen.findings]


def test_changed_annotations_are_read_anew(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "set", [object_(7, 3, [BOX])])
    before = masks_of(root)["a"].sum()
    write_coco(root, [object_(7, 3, [BOX]), object_(7, 3, [[5, 3, 7, 3, 7, 5, 5, 5]])])
    assert masks_of(root)["a"].sum() == before + 4


@pytest.mark.parametrize(
    ("text", "runs"),
    [("1=1", [1, 13, 1]), ("52X2", None), ("PP1n0", None)],
)
def test_packed_runs_are_unpacked(text: str, runs: list[int] | None) -> None:
    if runs is None:
        with pytest.raises(DataError):
            runs_mask(text, (3, 5))
        return
    np.testing.assert_array_equal(runs_mask(text, (3, 5)), runs_mask(runs, (3, 5)))


def test_runs_that_pycocotools_packed_are_the_mask_that_it_packed() -> None:
    mask = np.zeros((37, 41), bool)
    mask[3:30, 5:20] = True
    mask[10:14, 8:30] = False
    mask[0, 0] = mask[36, 40] = True
    text = "01k5j0_J0000\\OJ96GJ96GJ96GJ96GJ96GJ96GJ96GJ96GJ96GJ96GJ96GJ9[h0A"  # by mask.encode of pycocotools 2
    np.testing.assert_array_equal(runs_mask(text, (37, 41)), mask)


def packed(runs: list[int]) -> str:
    """COCO's text of run lengths, as its description says."""
    text = ""
    for place, run in enumerate(runs):
        value, more = run - (runs[place - 2] if place > 2 else 0), True
        while more:
            letter, value = value & 31, value >> 5
            more = value != (-1 if letter & 16 else 0)
            text += chr(48 + letter + 32 * more)
    return text


def test_packed_runs_of_any_mask_come_back() -> None:
    rng = np.random.default_rng(0)
    for size in ((1, 1), (37, 53), (200, 7)):
        mask = rng.random(size) < rng.uniform(0.001, 0.5)
        flat = mask.ravel(order="F")
        ends = [0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]
        runs = [*([0] if flat[0] else []), *(int(run) for run in np.diff(ends))]
        np.testing.assert_array_equal(runs_mask(packed(runs), size), mask)
        np.testing.assert_array_equal(runs_mask(runs, size), mask)


def test_parts_of_one_object_are_joined_and_lie_at_centres() -> None:
    both = polygons_mask(np.array([BOX, [3, 2, 6, 2, 6, 4, 3, 4]], float).tolist(), SIZE)
    assert int(both.sum()) == 6 + 6 - 1
    thin = polygons_mask(np.array([[0, 0, 0.4, 0, 0.4, 5, 0, 5]]).tolist(), SIZE)
    assert not thin.any()


def test_the_parts_of_several_files_are_a_split_of_the_data(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for part, value in (("train", 1), ("valid", 2), ("test", 3)):
        folder = root / part
        folder.mkdir(parents=True)
        Pillow.fromarray(np.full(SIZE, value, np.uint8)).save(folder / f"{part}_x.png")
        image = {"id": 1, "file_name": f"{part}_x.png", "height": 5, "width": 7}
        content = {"images": [image], "annotations": [object_(1, 3, [BOX])], "categories": [{"id": 3, "name": "cell"}]}
        (folder / "_annotations.coco.json").write_text(json.dumps(content))
    dataset = open_dataset(root, patient_regex="^[a-z]+")
    assert split_columns(dataset) == ("split",)
    fold = import_split(decode(dataset, cache_dir=tmp_path / "cache"), "split").fold(0)
    assert (fold.train, fold.validation, fold.test) == (("train_x",), ("valid_x",), ("test_x",))


@pytest.mark.parametrize("places", ["{part}", "images/{part}", "{part}/images"])
def test_parts_may_have_images_of_equal_names_wherever_they_lie(tmp_path: Path, places: str) -> None:
    root = tmp_path / "set"
    for value, part in enumerate(("train", "val")):
        write_coco(root, [object_(7, 3, [BOX])], file=f"annotations/instances_{part}2017.json")
        for name in ("a", "b"):
            place = root / places.format(part=part) / f"{name}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(np.full(SIZE, value, np.uint8)).save(place)
    for name in ("a", "b"):
        (root / "images" / f"{name}.png").unlink()
    data = decode(open_dataset(root), cache_dir=tmp_path / "cache")
    assert [record.slice_id for record in data.dataset.records] == ["train/a", "train/b", "val/a", "val/b"]
    assert [int(data.image(record.slice_id).max()) for record in data.dataset.records] == [0, 0, 1, 1]
    assert data.dataset.columns["split"]["val/a"] == "val"
    assert open_dataset(root, patient_regex="^([ab])").patients == ("a", "b")  # in both parts, which a split refuses
    alone = open_dataset(root / "annotations" / "instances_val2017.json")
    assert [record.slice_id for record in alone.records] == ["a", "b"]


def test_an_image_that_two_parts_name_is_refused(tmp_path: Path) -> None:
    for part in ("train", "val"):
        write_coco(tmp_path, [object_(7, 3, [BOX])], file=f"annotations/instances_{part}.json")
    found = [each for each in list_dataset(tmp_path).findings if each.code == "doubled-image"]
    assert [Path(each.where).name for each in found] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ([object_(7, 3, [BOX]), object_(7, 5, [BOX])], "nucleus and lesion overlap in 6 pixels of a.png"),
        ([object_(7, 3, [[1, 1, 2, 2]])], "a polygon of 4 numbers, expected x and y of three points"),
        ([object_(7, 3, [])], "a.png: an object without an outline"),
        ([object_(7, 3, {"counts": [3], "size": [5, 7]})], "runs of 3 pixels for an image of 5 x 7"),
        ([object_(7, 3, {"counts": [35], "size": [7, 5]})], "runs of an image of another size"),
        ([object_(9, 3, [BOX])], "annotates image 9, which it does not list"),
        ([object_(7, 3, [BOX]), object_(7, 4, [BOX])], "has an object of category 4, which it does not list"),
        ([], "0 categories with objects, expected 1 to 255"),
    ],
)
def test_what_is_no_mask_is_refused_by_name(tmp_path: Path, objects: list[dict[str, Any]], said: str) -> None:
    root = write_coco(tmp_path / "set", objects)
    with pytest.raises(DataError, match=said):
        masks_of(root)


def test_a_missing_image_is_an_error_and_one_outside_is_refused(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "set", [object_(7, 3, [BOX])])
    (root / "images" / "b.png").unlink()
    (finding,) = list_dataset(root).findings
    assert "names the image b.png, which is not there" in finding.message
    path = root / "annotations" / "instances.json"
    path.write_text(path.read_text().replace("b.png", "../b.png"))
    with pytest.raises(DataError, match="lies outside of its folder"):
        open_dataset(root)


def test_a_manifest_cannot_list_annotations(tmp_path: Path) -> None:
    dataset = open_dataset(write_coco(tmp_path / "set", [object_(7, 3, [BOX])]))
    with pytest.raises(DataError, match="annotations of all images, which a manifest cannot list"):
        write_manifest(tmp_path / "m.csv", dataset)


@pytest.mark.parametrize(
    ("name", "part"),
    [("instances_val2017", "val"), ("latest_train", "train"), ("intestine_valid", "valid"), ("contest", "")],
)
def test_a_part_is_a_word_of_a_files_name(name: str, part: str) -> None:
    assert coco._part(Path("annotations", f"{name}.json")) == part


def test_annotations_are_listed_by_their_own_categories_where_the_one_label_has_no_name(tmp_path: Path) -> None:
    write_coco(tmp_path, [object_(7, 3, [BOX])])
    named = list_dataset(tmp_path).dataset.labels
    assert list_dataset(tmp_path, labels=LabelMap(("foreground",), (0, 1))).dataset.labels == named
    assert find_volumes(tmp_path) is None  # what `segmed predict` asks first
