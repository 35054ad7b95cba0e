"""An images/ + masks/ folder is split, trained on and evaluated by patient in place, the pattern named each time."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from commands import TINY, segmed
from segmed.core.errors import SplitError
from segmed.core.split import Split
from segmed.evaluation.result import Evaluation

REGEX = ("--patient-regex", r"^(?P<patient>p\d+)_(?P<slice>\d+)$")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five patients of two slices each."""
    root = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for patient in range(5):
        for position in (1, 2):
            mask = np.zeros((40, 44), np.uint8)
            mask[8:30, 8 : 30 + patient] = 255
            picture = np.repeat((mask // 2 + rng.integers(1, 60, mask.shape).astype(np.uint8))[..., None], 3, axis=2)
            Pillow.fromarray(picture).save(root / "images" / f"p{patient}_{position}.png")
            Pillow.fromarray(mask).save(root / "masks" / f"p{patient}_{position}.png")
    return root


@pytest.fixture(scope="module")
def split(scans: Path) -> Path:
    segmed("data", "split", scans, "-o", scans / "split.json", *REGEX, "--ratios", "0.5,0.25,0.25")
    return scans / "split.json"


def test_a_split_puts_slices_of_a_patient_together(split: Path) -> None:
    assert set(Split.load(split).patient_of.values()) == {"p0", "p1", "p2", "p3", "p4"}


def test_a_preview_takes_the_pattern_too(scans: Path, tmp_path: Path) -> None:
    segmed("data", "preview", scans, *REGEX, "-o", tmp_path / "sheet.png", "--rows", "1")
    assert (tmp_path / "sheet.png").is_file()


def test_a_run_is_estimated_trained_and_evaluated_by_patient(scans: Path, split: Path) -> None:
    data = ("--data", scans, *REGEX)
    assert "epoch" in segmed("estimate", *TINY, *data, "--split", split)
    segmed("train", *TINY, *data, "--split", split, "-o", scans / "run")
    segmed("evaluate", scans / "run", *data, "--resamples", 100, "--no-floors")
    result = Evaluation.load(scans / "run" / "evaluation-test")
    assert {row.patient for row in result.patients} <= {"p0", "p1", "p2", "p3", "p4"}
    assert {row.slices for row in result.patients} == {2}


def test_masks_are_scored_by_patient_on_the_split(scans: Path, split: Path, tmp_path: Path) -> None:
    masks = ("--predictions", scans / "masks", "--data", scans, "--split", split, "-o", tmp_path / "out")
    segmed("evaluate", *masks, *REGEX, "--resamples", 100, "--no-floors")
    assert {row.slices for row in Evaluation.load(tmp_path / "out").patients} == {2}


def test_without_the_pattern_the_data_is_not_that_of_the_split(scans: Path, split: Path) -> None:
    with pytest.raises(SplitError, match="The split was made for data"):
        segmed("train", *TINY, "--data", scans, "--split", split, "-o", scans / "other")
