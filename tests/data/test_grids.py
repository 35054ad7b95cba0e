"""The check, and all that decodes, refuse the same mixtures of images with the same words."""

from pathlib import Path

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.data.check import check
from segmed.data.decoded import decode
from segmed.data.sources import open_dataset

PATIENT = "^([^_]+)_"


def data(root: Path, images: dict[str, np.ndarray]) -> Path:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for slice_id, image in images.items():
        np.save(root / "images" / f"{slice_id}.npy", image)
        np.save(root / "masks" / f"{slice_id}.npy", np.zeros(image.shape[:2], np.uint8))
    return root


def ones(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (ones((9, 14, 1)), "channels 1, expected 3 as in most images"),
        (ones((9, 14, 3), "uint16"), "dtype uint16, expected uint8 as in most images"),
        (ones((9, 15, 3)), r"p: slices of different sizes \(9x14, 9x15\)"),
    ],
)
def test_what_the_check_refuses_cannot_be_decoded(tmp_path: Path, odd: np.ndarray, message: str) -> None:
    root = data(tmp_path / "data", {"p_1": ones((9, 14, 3)), "p_2": ones((9, 14, 3)), "p_3": odd})
    report = check(root, patient_regex=PATIENT)
    for _ in range(2):  # from the cache too
        with pytest.raises(DataError, match=message) as raised:
            decode(open_dataset(root, patient_regex=PATIENT), cache_dir=tmp_path / "cache")
    assert str(raised.value) in {f"{finding.where}: {finding.message}" for finding in report.errors}


def test_sizes_may_differ_between_patients(tmp_path: Path) -> None:
    root = data(tmp_path / "data", {"p_1": ones((9, 14, 3)), "q_1": ones((8, 31, 3))})
    assert check(root, patient_regex=PATIENT).ok
    assert decode(open_dataset(root, patient_regex=PATIENT), cache_dir=tmp_path / "cache").shape("q_1") == (8, 31, 3)
