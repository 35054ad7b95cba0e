"""From the split to the report, images of unknown patients are never called patients."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from commands import TINY, segmed
from segmed.core.errors import ConfigError, DataError
from segmed.core.split import Split
from segmed.evaluation.result import Evaluation
from segmed.models.checkpoint import load_config

NAMES = ("ann", "bob", "cem", "dot", "eva", "fay")
MARK = "PATIENTS UNKNOWN"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for name in NAMES:
        mask = np.zeros((40, 44), np.uint8)
        mask[8:30, 8:30] = 255
        picture = np.repeat((mask // 2 + rng.integers(1, 60, mask.shape, np.uint8))[..., None], 3, axis=2)
        Pillow.fromarray(picture).save(root / "images" / f"{name}.png")
        Pillow.fromarray(mask).save(root / "masks" / f"{name}.png")
    return root


def test_the_mark_travels_from_split_to_report(pictures: Path, tmp_path: Path) -> None:
    said = segmed("data", "split", pictures, "-o", tmp_path / "split.json", "--ratios", "0.5,0.25,0.25")
    assert MARK in said
    assert "patients are in training too" not in said
    assert not Split.load(tmp_path / "split.json").patients_known
    assert MARK in segmed(
        "train", *TINY, "--data", pictures, "--split", tmp_path / "split.json", "-o", tmp_path / "run"
    )
    assert not load_config(tmp_path / "run")[0].patients_known
    said = segmed("evaluate", tmp_path / "run", "--data", pictures, "--resamples", 100)
    assert said.count(MARK) == 2  # on stderr, and above the table
    assert re.search(r"test part, \d images?\s*$", said, flags=re.MULTILINE)
    assert "0 of" not in said
    folder = tmp_path / "run" / "evaluation-test"
    assert not Evaluation.load(folder).patients_known
    assert MARK in segmed("compare", folder, "--data", pictures, "--out", tmp_path / "report")
    assert "no leak" not in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert MARK in segmed("predict", tmp_path / "run", pictures / "images", "-o", tmp_path / "masks")


def test_a_manifest_says_that_it_names_no_patients(pictures: Path, tmp_path: Path) -> None:
    said = segmed("data", "manifest", pictures, "-o", tmp_path / "a.csv")
    assert MARK in said
    assert "has no column patient and reads as patients unknown" in " ".join(said.split())
    said = segmed("data", "manifest", pictures, "-o", tmp_path / "b.csv", "--each-image-is-a-patient")
    assert MARK not in said
    assert "6 patients, 6 slices" in said


def test_masks_of_another_tool_are_images_until_the_user_says_that_each_is_a_patient(pictures: Path, tmp_path: Path):
    options = ("--predictions", pictures / "masks", "--references", pictures / "masks", "--resamples", 100)
    assert MARK in segmed("evaluate", *options, "-o", tmp_path / "a")
    assert MARK not in segmed("evaluate", *options, "-o", tmp_path / "b", "--each-image-is-a-patient")
    assert Evaluation.load(tmp_path / "b").patients_known


def test_masks_whose_names_look_like_slices_ask_who_the_patient_is(tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("eye_1", "eye_2", "fig_1"):
        Pillow.fromarray(np.full((9, 14), 255, np.uint8)).save(masks / f"{name}.png")
    options = ("evaluate", "--predictions", masks, "--references", masks, "--resamples", 100)
    with pytest.raises(DataError, match=r"eye_1 and eye_2 look like slices.*--patient-regex.*--each-image-is"):
        segmed(*options, "-o", tmp_path / "a")
    assert not (tmp_path / "a").exists()
    segmed(*options, "-o", tmp_path / "b", "--patient-regex", "^(.+)_")
    assert {row.patient for row in Evaluation.load(tmp_path / "b").patients} == {"eye", "fig"}
    segmed(*options, "-o", tmp_path / "c", "--each-image-is-a-patient")
    assert len(Evaluation.load(tmp_path / "c").patients) == 3
    with pytest.raises(ConfigError, match="patients are known already"):
        segmed(*options, "-o", tmp_path / "d", "--patient-regex", "^(.+)_", "--each-image-is-a-patient")


def test_intervals_of_unknown_masks_are_over_images(pictures: Path, tmp_path: Path) -> None:
    options = ("--predictions", pictures / "masks", "--references", pictures / "masks", "--resamples", 100)
    said = " ".join(segmed("evaluate", *options, "-o", tmp_path / "a").split())
    assert "bootstrap resamples of images" in said
    result = Evaluation.load(tmp_path / "a")
    assert result.provenance.bootstrap.unit == "image"
    assert (tmp_path / "a" / "patients.csv").read_text().count(MARK) == len(NAMES)
