"""Nobody said which images are of one patient: then none is counted as one, from the folder to the evaluation."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from segmed.data.decoded import DecodedDataset, decode
from segmed.data.sources import open_dataset
from segmed.data.splits import patients_known, split_by_patient, split_by_slice, split_within
from segmed.evaluation.part import split_facts

NAMES = ("ann", "bob", "cem", "dot", "eva", "fay", "gus")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    return decode(open_dataset(pictures(tmp_path_factory.mktemp("pictures"), NAMES)))


def pictures(root: Path, names: tuple[str, ...]) -> Path:
    """An images/ + masks/ folder; every mask has a square."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in names:
        mask = np.zeros((20, 26), np.uint8)
        mask[4:12, 5:14] = 255
        Pillow.fromarray(mask).save(root / "masks" / f"{name}.png")
        Pillow.fromarray(mask // 2 + rng.integers(1, 60, mask.shape, np.uint8)).save(root / "images" / f"{name}.png")
    return root


def test_every_split_of_images_says_that_patients_are_unknown(data: DecodedDataset) -> None:
    split = split_by_patient(data)
    assert not split.patients_known
    assert not split_by_slice(data).patients_known
    assert not split_within(data, split, 0, folds=2).patients_known
    assert not patients_known(split, data)


def test_the_facts_of_a_split_count_images_and_claim_nothing_of_a_leak(data: DecodedDataset) -> None:
    facts = split_facts(data, split_by_patient(data), 0, "test")
    assert (facts["images"], facts["train_images"], facts["patients_known"]) == (1, 5, False)
    assert not [name for name in facts if "patients" in name.replace("patients_known", "") or "neighbour" in name]


def test_an_expression_makes_patients_known(tmp_path: Path) -> None:
    root = pictures(tmp_path, ("a_1", "a_2", "b_1", "c_1"))
    dataset = open_dataset(root, patient_regex="^(.)_")
    assert dataset.patients_known
    assert split_by_patient(decode(dataset)).patients_known
