"""What files of earlier versions call by another name is read in one way."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from segmed.core.former_names import formerly, present_names, present_place
from segmed.core.reading import read_json


@pytest.mark.parametrize(
    ("names", "wanted", "expected"),
    [
        (["case", "patient"], ["slice_id", "patient"], ["slice_id", "patient"]),
        (["patient", "case"], ["case"], ["patient", "case"]),  # a table of volumes has cases
        (["slice_id", "case"], ["slice_id"], ["slice_id", "case"]),  # a slice, and the volume it is of
        (["patient"], ["slice_id"], ["patient"]),
    ],
)
def test_case_is_a_slice_only_where_slices_are_wanted_and_not_named(
    names: list[str], wanted: list[str], expected: list[str]
) -> None:
    assert present_names(names, wanted) == expected


@dataclass(frozen=True)
class _Stored:
    slices: Annotated[dict[str, int], formerly("slices")]


@pytest.mark.parametrize("key", ["cases", "slices"])
def test_a_stored_value_is_read_under_its_former_key(tmp_path: Path, key: str) -> None:
    (tmp_path / "index.json").write_text(f'{{"{key}": {{"a_1": 3}}}}')
    assert read_json(tmp_path / "index.json", _Stored, what="an index").slices == {"a_1": 3}


def test_what_a_study_of_0_1_has_trained_is_found_and_what_is_new_has_the_new_name(tmp_path: Path) -> None:
    kept = tmp_path / "runs" / "report" / "sam-report--logits"
    kept.mkdir(parents=True)
    runs = tmp_path / "runs"
    assert present_place(runs, "reproduction", "sam-reproduction--logits") == kept
    assert present_place(runs, "reproduction", "unet--logits") == runs / "reproduction" / "unet--logits"
    assert present_place(runs, "patient", "unet") == runs / "patient" / "unet"
