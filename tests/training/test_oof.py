"""Training patients are predicted by models that have not seen them, and a promptable model learns on that."""

from pathlib import Path

import numpy as np
import pytest
from runs import tiny_recipe

from segmed.core.errors import ConfigError, DataError
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.data.keys import pseudonyms_of
from segmed.data.oof_maps import ProposalMaps, to_bytes
from segmed.data.splits import split_by_patient
from segmed.inference import load
from segmed.models.seen import patient_digest
from segmed.training import Hardware, Recipe, train
from segmed.training.oof import out_of_fold
from toydata import toy

CPU = Hardware("cpu")
DENSE = tiny_recipe("epochs=1", "sampling.steps_per_epoch=2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    return toy(tmp_path_factory.mktemp("toy"), patients=8, size=(64, 64))


@pytest.fixture(scope="module")
def split(data: DecodedDataset) -> Split:
    return split_by_patient(data, ratios=(0.5, 0.25, 0.25))


@pytest.fixture(scope="module")
def folder(data: DecodedDataset, split: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("oof") / "oof"
    return out_of_fold(DENSE, data=data, split=split, out=out, folds=2, hardware=CPU)


def patients(data: DecodedDataset, slice_ids: tuple[str, ...]) -> set[str]:
    return {data.dataset.by_slice_id()[slice_id].patient for slice_id in slice_ids}


def promptable(folder: Path, *overrides: str) -> Recipe:
    settings = (
        "model.name=sam-tiny", "model.encoder=test_efficientnet", "model.sam.size=64", "preprocess.size=[64, 64]",
        "prompting.mix={proposals: 3, gt: 1}", "prompting.validation=proposals", "epochs=1",
        "prompting.proposals.probability=[0.3, 0.6]", f"prompting.proposals.folder={folder}",
    )  # fmt: skip
    return tiny_recipe(*settings, *overrides)


def test_no_slice_has_a_map_from_a_model_that_saw_its_patient(folder: Path, data: DecodedDataset, split: Split) -> None:
    maps = ProposalMaps(folder)
    outer = split.fold(0)
    assert sorted(maps.slice_ids) == sorted((*outer.train, *outer.validation))
    for made in maps.files:
        runs = [folder / made.file.removesuffix(".safetensors")] if made.file.startswith("fold") else []
        for run in runs or [folder / "fold-0", folder / "fold-1"]:
            seen = load(run, device="cpu").config.seen  # what the run itself says
            own = {patient_digest(each, pseudonyms_of(data.dataset)) for each in made.predicted}
            assert not own & {*seen["train"], *seen["validation"]}
    maps.require(data.data_hash, split, 0)


def test_maps_are_the_models_own_probabilities(folder: Path, data: DecodedDataset, split: Split) -> None:
    maps = ProposalMaps(folder)
    made = next(each for each in maps.files if each.file == "fold-1.safetensors")
    volume = [record.slice_id for record in data.dataset.records if record.patient == made.predicted[0]]
    expected = load(folder / "fold-1", device="cpu").probabilities(
        [np.array(data.image(slice_id)) for slice_id in volume]
    )
    for slice_id, probability in zip(volume, expected, strict=True):
        assert np.array_equal(maps.map(slice_id), to_bytes(probability[0]))


def test_what_is_finished_is_skipped_and_what_is_missing_made_again(
    folder: Path, data: DecodedDataset, split: Split
) -> None:
    kept = [folder / "fold-0" / "model.safetensors", folder / "fold-0.safetensors", folder / "validation.safetensors"]
    before = [path.stat().st_mtime_ns for path in kept]
    index = (folder / "maps.json").read_bytes()
    (folder / "fold-1.safetensors").unlink()
    (folder / "maps.json").unlink()
    out_of_fold(DENSE, data=data, split=split, out=folder, folds=2, hardware=CPU)
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert (folder / "maps.json").read_bytes() == index


def test_a_folder_of_other_folds_and_recipes_that_propose_nothing_are_refused(
    folder: Path, data: DecodedDataset, split: Split, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="begun with another split"):
        out_of_fold(DENSE, data=data, split=split, out=folder, folds=3, hardware=CPU)
    with pytest.raises(ConfigError, match="Proposals come from dense models"):
        out_of_fold(promptable(folder), data=data, split=split, out=tmp_path, folds=2, hardware=CPU)


def test_a_promptable_model_trains_and_is_chosen_on_proposals(
    folder: Path, data: DecodedDataset, split: Split, tmp_path: Path
) -> None:
    run = train(promptable(folder), data=data, split=split, out=tmp_path / "run", hardware=CPU)
    assert load(run, device="cpu").config.training.others["epochs"] == 1


def test_proposals_without_a_folder_or_of_another_split_stop_the_training(
    folder: Path, data: DecodedDataset, split: Split, tmp_path: Path
) -> None:
    missing = promptable(folder, "prompting.proposals.folder=''")
    with pytest.raises(ConfigError, match=r"proposals\.folder is not set"):
        train(missing, data=data, split=split, out=tmp_path / "a", hardware=CPU)
    other = split_by_patient(data, ratios=(0.5, 0.25, 0.25), seed=3)
    assert patients(data, other.fold(0).train) != patients(data, split.fold(0).train)
    with pytest.raises(DataError, match="has no map of"):
        train(promptable(folder), data=data, split=other, out=tmp_path / "b", hardware=CPU)
