"""Folders of parts are one data set with a split, and a patient of two parts is found."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from segmed.core.errors import SplitError
from segmed.data.decoded import decode
from segmed.data.imported import import_split, own_splits, split_columns
from segmed.data.layouts.manifest import write_manifest
from segmed.data.sources import layout_of, list_dataset, open_dataset
from segmed.inference.inputs import find_inputs


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Two patients with two images each in every part; stems are the same in all of them."""
    root = tmp_path / "set"
    for value, part in enumerate(("Test", "train", "val")):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
            for name in ("p1_1", "p1_2", "p2_1", "p2_2"):
                fill = 255 if kind == "masks" else 10 * value
                Pillow.fromarray(np.full((5, 7), fill, np.uint8)).save(root / part / kind / f"{name}.png")
    return root


def test_parts_are_one_data_set_whose_split_is_taken(parts: Path) -> None:
    assert layout_of(parts) == "parts"
    data = decode(open_dataset(parts, patient_regex=None), cache_dir=parts.parent / "cache")
    slice_ids = [record.slice_id for record in data.dataset.records]
    assert slice_ids == [f"{part}/p{p}_{n}" for part in ("train", "val", "Test") for p in (1, 2) for n in (1, 2)]
    assert [int(data.image(slice_id).max()) for slice_id in slice_ids] == [10] * 4 + [20] * 4 + [0] * 4
    assert split_columns(data.dataset) == ("split",)
    assert [record.image.stem for record in find_inputs(parts).records] == [
        Path(slice_id).name for slice_id in slice_ids
    ]


def test_a_manifest_of_parts_keeps_their_split(parts: Path) -> None:
    dataset = open_dataset(parts)
    write_manifest(parts.parent / "parts.csv", dataset)
    again = open_dataset(parts.parent / "parts.csv")
    assert own_splits(again) == {"split": "its column 'split'"}
    assert again.columns["split"] == dataset.columns["split"]


def test_a_patient_of_two_parts_is_one_and_its_split_leaks(parts: Path) -> None:
    dataset = open_dataset(parts, patient_regex="^(p[0-9])_")
    assert dataset.patients == ("p1", "p2")
    with pytest.raises(SplitError, match="is in both train and"):
        import_split(decode(dataset, cache_dir=parts.parent / "cache"), "split")
    for folder, old, new in (("val", "p", "q"), ("Test", "p", "r")):
        for path in [*(parts / folder).rglob("*.png")]:
            path.rename(path.with_name(path.name.replace(old, new, 1)))
    apart = open_dataset(parts, patient_regex="^([a-z][0-9])_")
    fold = import_split(decode(apart, cache_dir=parts.parent / "cache"), "split").fold(0)
    assert fold.validation == ("val/q1_1", "val/q1_2", "val/q2_1", "val/q2_2")
    assert len(fold.train) == len(fold.test) == 4


def test_a_mask_that_is_missing_in_a_part_is_named(parts: Path) -> None:
    (parts / "val" / "masks" / "p1_2.png").unlink()
    (parts / "val" / "notes").mkdir()
    found = [(each.code, Path(each.where).relative_to(parts).as_posix()) for each in list_dataset(parts).findings]
    assert found == [("missing-mask", "val/images/p1_2.png")]
