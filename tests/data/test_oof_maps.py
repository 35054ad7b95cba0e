"""Maps of a folder are read as they were written, and never from a model that saw their patient."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segmed.core.errors import DataError, SplitError
from segmed.core.files import sha256_of
from segmed.core.split import Partition, Split
from segmed.data.oof_maps import INDEX, MapFile, ProposalMaps, made_by, to_bytes, write_index, write_maps

MAPS = {f"{patient}_{z}": np.full((5, 7), 10 * z, np.uint8) for patient in "abv" for z in (1, 2)}
SLICES = {patient: tuple(f"{patient}_{z}" for z in (1, 2)) for patient in "abcvt"}
PATIENT_OF = {slice_id: patient for patient, slice_ids in SLICES.items() for slice_id in slice_ids}


def split_of(train: str, validation: str, test: str) -> Split:
    parts = [tuple(slice_id for patient in some for slice_id in SLICES[patient]) for some in (train, validation, test)]
    return Split("patient", 0, "data", False, PATIENT_OF, (Partition(*parts),))


def some_file(folder: Path, **changes: object) -> MapFile:
    write_maps(folder / "fold-0.safetensors", MAPS, ["w1", "w2"])
    digest = sha256_of(folder / "fold-0.safetensors")
    made = MapFile("fold-0.safetensors", digest, ("w1", "w2"), trained_on=("c",), chosen_on=(), predicted=tuple("abv"))
    return replace(made, **changes)


@pytest.fixture
def maps(tmp_path: Path) -> ProposalMaps:
    write_index(tmp_path, [some_file(tmp_path)], data_hash="data")
    return ProposalMaps(tmp_path)


def test_maps_are_read_as_they_were_written_also_in_another_process(maps: ProposalMaps) -> None:
    for one in (maps, pickle.loads(pickle.dumps(maps))):
        assert sorted(one.slice_ids) == sorted(MAPS)
        assert np.array_equal(one.map("b_2"), MAPS["b_2"])
    assert made_by(maps.folder / "fold-0.safetensors") == ("w1", "w2")
    assert made_by(maps.folder / "fold-1.safetensors") is None


def test_a_probability_is_kept_to_half_a_step_of_eight_bits() -> None:
    probability = np.linspace(0, 1, 1001, dtype=np.float32)[None]
    assert np.abs(to_bytes(probability) / 255 - probability).max() <= 0.5 / 255 + 1e-6


def test_a_model_that_saw_whom_it_predicts_is_refused_when_written_and_when_read(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"maps of patient b .* from a model that saw this patient"):
        write_index(tmp_path, [some_file(tmp_path, trained_on=("b", "c"))], data_hash="data")
    assert not (tmp_path / INDEX).exists()
    write_index(tmp_path, [some_file(tmp_path)], data_hash="data")
    text = json.loads((tmp_path / INDEX).read_text())
    text["files"][0]["chosen_on"] = ["v"]
    (tmp_path / INDEX).write_text(json.dumps(text))
    with pytest.raises(SplitError, match="maps of patient v"):
        ProposalMaps(tmp_path)


def test_files_that_changed_are_refused(maps: ProposalMaps) -> None:
    write_maps(maps.folder / "fold-0.safetensors", {}, ["w1"])
    with pytest.raises(DataError, match="not what was written"):
        ProposalMaps(maps.folder)


def test_maps_fit_one_fold_of_one_data_set(maps: ProposalMaps) -> None:
    maps.require("data", split_of("ab", "v", "t"), 0)
    with pytest.raises(DataError, match="of other data"):
        maps.require("others", split_of("ab", "v", "t"), 0)
    with pytest.raises(DataError, match="no map of t_1"):
        maps.require("data", split_of("abt", "v", "c"), 0)
    with pytest.raises(SplitError, match="trained on patient c"):
        maps.require("data", split_of("ab", "v", "ct"), 0)
    with pytest.raises(DataError, match="t_1: has no map"):
        maps.map("t_1")
