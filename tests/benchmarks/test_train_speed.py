"""The comparison of training speed times what it says, and fails with what the process said."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from segmed.data.splits import split_by_patient
from toydata import toy


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "train.py"
    spec = importlib.util.spec_from_file_location("benchmarks_train", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_loader_is_timed_without_a_network(benchmark: ModuleType, tmp_path: Path) -> None:
    data = toy(tmp_path)
    split = split_by_patient(data, ratios=(0.5, 0.25, 0.25))
    assert benchmark.loader_speed(data, split, 0, batches=2) > 0


def test_a_process_that_fails_stops_the_comparison_with_its_words(benchmark: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no such thing"):
        benchmark.run("-c", "raise SystemExit('no such thing')")
    assert benchmark.run("-c", "print(7)") == "7\n"
