"""Images of a slice at test time are compared on the patients that chose epoch and threshold, and on no others."""

from pathlib import Path

import numpy as np
import pytest
import screen_test_time
from typer.testing import CliRunner

from bright_run import MODEL, PLAIN, Bright
from segmed.core.labels import LabelMap
from segmed.data.splits import split_by_patient
from segmed.models.checkpoint import RunConfig, TrainedModel
from toydata import toy


def maps(*values: float) -> list[np.ndarray]:
    return [np.full((1, 2, 2), value, np.float32) for value in values]


def test_a_row_is_the_mean_over_its_sizes_or_over_the_neighbours_of_each_slice() -> None:
    by_size = {"4 none": maps(0, 1, 0), "4 mirror": maps(0, 1, 1), "8 none": maps(1, 1, 0), "8 mirror": maps(1, 1, 1)}
    found = {name: [float(each[0, 0, 0]) for each in rows] for name, rows in rows_of(by_size).items()}
    assert found == {
        "4, none": [0, 1, 0], "8, none": [1, 1, 0], "4 + 8, none": [0.5, 1, 0],
        "4, mirror": [0, 1, 1], "8, mirror": [1, 1, 1], "4 + 8, mirror": [0.5, 1, 1],
        "4, smoothed 0.25": [0.25, 0.5, 0.25],
    }  # fmt: skip


def rows_of(by_size: dict[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    return screen_test_time.rows_of(by_size, [0.25], "4")


def test_each_run_is_asked_about_the_validation_patients_of_its_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy(tmp_path)
    split = split_by_patient(data, folds=2)
    split.save(tmp_path / "split.json")
    config = RunConfig(MODEL, PLAIN, LabelMap(), threshold=0.5)
    monkeypatch.setattr(screen_test_time, "load_run", lambda run: TrainedModel(Bright(), config, run))
    asked: list[str] = []
    was = screen_test_time.records_of
    monkeypatch.setattr(screen_test_time, "records_of", lambda data, ids: [asked.extend(ids), was(data, ids)][1])
    command = [str(tmp_path), str(tmp_path / "split.json"), "a", "b", "--size", "64", "--size", "32", "--smooth", "0.1"]
    said = CliRunner().invoke(screen_test_time.app, command, catch_exceptions=False).stdout.splitlines()
    assert asked == [*split.fold(0).validation, *split.fold(1).validation]
    assert [line[:28].strip() for line in said] == [
        "64, none", "32, none", "64 + 32, none", "64, mirror", "32, mirror", "64 + 32, mirror", "64, smoothed 0.1",
    ]  # fmt: skip
    assert all("+0.0000 +- 0.0000" in said[place] for place in (0, 3))  # a network that looks at pixels one by one
