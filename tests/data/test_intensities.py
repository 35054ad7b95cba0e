"""Black and white are measured over a data set once, kept with the recipe, and said where they are not of 8 bits."""

from pathlib import Path

import numpy as np
import pytest

from segmed.core.records import Record, SliceDataset
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.intensities import fit_intensities, range_note
from segmed.preprocess import PreprocessConfig

SAM = PreprocessConfig(normalisation="imagenet")


def data(root: Path, peaks: list[float], dtype: str) -> DecodedDataset:
    records = []
    for number, peak in enumerate(peaks):
        image = np.linspace(0, peak, 12 * 17 * 3).reshape(12, 17, 3).astype(dtype)
        np.save(root / f"{number}.npy", image)
        records.append(Record(str(number), str(number), 1, root / f"{number}.npy", None))
    return decode(SliceDataset("data", root, tuple(records)), cache_dir=root / "cache")


@pytest.mark.parametrize(
    ("peaks", "dtype", "expected"),
    [([90, 200], "uint8", (0, 255)), ([300, 3500, 20], "uint16", (0, 4095)), ([0.2, 0.9], "float32", (0, 1))],
)
def test_the_range_is_that_of_all_images_together(
    tmp_path: Path, peaks: list[float], dtype: str, expected: tuple[float, float]
) -> None:
    assert fit_intensities(SAM, data(tmp_path, peaks, dtype)).intensity_range == expected


def test_a_range_that_was_chosen_and_normalisations_without_one_are_left_alone(tmp_path: Path) -> None:
    chosen = PreprocessConfig(normalisation="imagenet", intensity_range=(0, 900))
    assert fit_intensities(chosen, data(tmp_path, [3500], "uint16")) is chosen
    assert fit_intensities(PreprocessConfig(), data(tmp_path, [3500], "uint16")) == PreprocessConfig()


def test_only_a_scale_that_is_not_of_8_bits_is_worth_a_line() -> None:
    assert range_note(SAM) is None
    assert range_note(PreprocessConfig(normalisation="imagenet", intensity_range=(0, 255))) is None
    note = range_note(PreprocessConfig(normalisation="imagenet", intensity_range=(-1024, 1023)))
    assert note is not None
    assert "-1024 counts as black and 1023 as white" in note
