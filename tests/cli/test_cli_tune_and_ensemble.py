"""Runs are tuned and joined on the command line, on validation patients only."""

import hashlib
import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from commands import TINY, segmed
from segmed.core.errors import ConfigError, DataError, ModelError, SplitError
from segmed.core.split import Partition, Split
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.sources import open_dataset
from segmed.evaluation.ensemble import plan_ensemble, write_ensemble
from segmed.evaluation.run import plan_evaluation
from segmed.inference import EnsemblePredictor, load
from segmed.inference.ensemble import ensemble_config
from segmed.models.prediction import PredictionConfig
from toydata import write_toy


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy data set, its split, and two runs with different seeds."""
    place = tmp_path_factory.mktemp("ensemble")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGMED_CACHE", str(place / "cache"))
        write_toy(place / "data", patients=10)
        segmed("data", "split", place / "data", "--out", place / "split.json")
        for seed in (1, 2):
            segmed(
                "train", "--data", place / "data", "--split", place / "split.json", "--out", place / f"run{seed}",
                *TINY, "--seed", seed, "--accelerator", "cpu",
            )  # fmt: skip
    return place


@pytest.fixture(autouse=True)
def cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMED_CACHE", str(place / "cache"))


def opened(place: Path) -> DecodedDataset:
    return decode(open_dataset(place / "data"))


def made_ensemble(
    members: Sequence[Path],
    data: DecodedDataset,
    out: Path,
    *,
    split: Split | None = None,
    copy: bool = False,
    tuned: bool = True,
) -> None:
    """The ensemble as it is planned, with nothing chosen for it."""
    config, _ = plan_ensemble(members, data, out, split=split, tuned=tuned)
    write_ensemble(out, members, config, copy=copy)


def test_tuning_changes_the_run_it_is_asked_to_change(place: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(place / "run1", tmp_path / "run"))
    before = (run / "config.json").read_text()
    text = segmed("tune", run, "--data", place / "data", "--dry-run", "--device", "cpu")
    assert "mean Dice of" in text
    assert (run / "config.json").read_text() == before
    segmed("tune", run, "--data", place / "data", "--device", "cpu")
    tuned = load(run, device="cpu").config
    facts = tuned.training.others["tuned"]
    assert facts["best"]["threshold"] == tuned.threshold
    assert facts["best"]["dice"] >= facts["before"]["dice"]


def test_an_ensemble_is_the_mean_of_its_runs_and_is_evaluated_like_a_run(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "both"
    segmed("ensemble", place / "run1", place / "run2", "--data", place / "data", "-o", out, "--copy", "--device", "cpu")
    joined = load(out, device="cpu")
    assert isinstance(joined, EnsemblePredictor)
    data = opened(place)
    image = np.array(data.image(data.dataset.records[0].slice_id))
    alone = [load(place / f"run{seed}", device="cpu").probabilities([image])[0] for seed in (1, 2)]
    assert np.allclose(joined.probabilities([image])[0], (alone[0] + alone[1]) / 2, atol=1e-6)
    segmed("evaluate", out, "--data", place / "data", "--no-floors", "--resamples", 100, "--device", "cpu")
    facts = json.loads((out / "evaluation-test" / "evaluation.json").read_text())
    assert facts["cost"]["parameters"] == 2 * sum(p.numel() for p in load(place / "run1").networks()[0].parameters())
    segmed("predict", out, place / "data", "-o", tmp_path / "masks", "--tta", "flips", "--device", "cpu")


def test_an_ensemble_whose_tuning_is_stopped_is_not_there(place: Path, tmp_path: Path, monkeypatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise DataError("stopped")

    monkeypatch.setattr("segmed.evaluation.tune.tune", stopped)
    arguments = (place / "run1", place / "run2", "--data", place / "data", "-o", tmp_path / "both", "--device", "cpu")
    with pytest.raises(DataError, match="stopped"):
        segmed("ensemble", *arguments)
    assert not (tmp_path / "both").exists()


def test_a_member_that_was_changed_since_is_refused(place: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(place / "run1", tmp_path / "run"))
    made_ensemble([run, place / "run2"], opened(place), tmp_path / "both")
    (run / "config.json").write_text((run / "config.json").read_text() + "\n")
    with pytest.raises(ModelError, match="was changed since the ensemble was made"):
        load(tmp_path / "both")


def test_other_weights_of_a_member_are_found_though_its_config_keeps_no_hash(place: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(place / "run1", tmp_path / "run"))
    value = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**value, "weights_sha256": ""}))
    made_ensemble([run, place / "run2"], opened(place), tmp_path / "both")
    load(tmp_path / "both")
    (run / "model.safetensors").write_bytes((place / "run2" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="weights are not those that were saved"):
        load(tmp_path / "both")


def copies_with(place: Path, folder: Path, *thresholds: float) -> list[Path]:
    """Copies of run1 with other thresholds, which say that their validation patients were trained on."""
    copies = [Path(shutil.copytree(place / "run1", folder / f"copy{number}")) for number in range(len(thresholds))]
    for copy, threshold in zip(copies, thresholds, strict=True):
        value = json.loads((copy / "config.json").read_text())
        seen = {"train": value["seen"]["train"] + value["seen"]["validation"], "validation": []}
        changed = {**value, "threshold": threshold, "prediction": {"smallest_share": 0.1}, "seen": seen}
        (copy / "config.json").write_text(json.dumps(changed))
    return copies


def test_an_untuned_ensemble_keeps_what_its_members_share_and_chooses_nothing(place: Path, tmp_path: Path) -> None:
    members = copies_with(place, tmp_path, 0.25, 0.25)
    with pytest.raises(SplitError, match="validation part"):
        made_ensemble(members, opened(place), tmp_path / "tuned")
    segmed("ensemble", *members, "--data", place / "data", "-o", tmp_path / "both", "--untuned", "--device", "cpu")
    both = load(tmp_path / "both").config
    assert (both.threshold, both.prediction.smallest_share) == (0.25, 0.1)
    assert both.seen["validation"] == []
    assert not plan_evaluation(tmp_path / "both", both, opened(place)).leaking


def test_an_ensemble_is_not_written_among_other_files(place: Path, tmp_path: Path) -> None:
    shutil.copy(place / "split.json", tmp_path / "split.json")
    with pytest.raises(ConfigError, match=r"already holds files, and not an ensemble\. Choose another folder"):
        segmed("ensemble", place / "run1", place / "run2", "--data", place / "data", "-o", tmp_path)
    assert (tmp_path / "split.json").read_bytes() == (place / "split.json").read_bytes()


def test_an_ensemble_begins_with_the_augmentation_and_removal_that_its_members_share(
    place: Path, tmp_path: Path
) -> None:
    members = copies_with(place, tmp_path, 0.25, 0.25)
    assert ensemble_config(members).prediction == PredictionConfig(smallest_share=0.1)
    value = json.loads((members[1] / "config.json").read_text())
    (members[1] / "config.json").write_text(json.dumps({**value, "prediction": {"tta": "mirror"}}))
    assert ensemble_config(members).prediction == PredictionConfig()


def test_an_untuned_ensemble_of_members_with_different_thresholds_is_refused(place: Path, tmp_path: Path) -> None:
    members = copies_with(place, tmp_path, 0.25, 0.5)
    with pytest.raises(ModelError, match=r"copy1: has another threshold than .*copy0. Give one with --threshold"):
        made_ensemble(members, opened(place), tmp_path / "both", tuned=False)
    value = json.loads((members[1] / "config.json").read_text())
    (members[1] / "config.json").write_text(json.dumps({**value, "prediction": {}}))
    with pytest.raises(ModelError, match=r"copy1: has other post-processing than .*copy0"):
        made_ensemble(members, opened(place), tmp_path / "both", tuned=False)
    assert not (tmp_path / "both").exists()


def test_an_untuned_ensemble_takes_the_threshold_that_it_is_given(place: Path, tmp_path: Path) -> None:
    members, of = copies_with(place, tmp_path, 0.25, 0.5), ("--data", place / "data", "-o", tmp_path / "both")
    with pytest.raises(ConfigError, match="Say --untuned too"):
        segmed("ensemble", *members, *of, "--threshold", 0.3)
    segmed("ensemble", *members, *of, "--threshold", 0.3, "--untuned", "--device", "cpu")
    both = load(tmp_path / "both").config
    assert (both.threshold, both.prediction.smallest_share) == (0.3, 0.1)


def test_an_untuned_ensemble_takes_the_augmentation_that_it_is_given(place: Path, tmp_path: Path) -> None:
    members, of = copies_with(place, tmp_path, 0.25, 0.25), ("--data", place / "data", "-o", tmp_path / "both")
    value = json.loads((members[1] / "config.json").read_text())
    theirs = {**value, "prediction": {**value["prediction"], "tta": "mirror"}}
    (members[1] / "config.json").write_text(json.dumps(theirs))
    with pytest.raises(ConfigError, match="Say --untuned too"):
        segmed("ensemble", *members, *of, "--tta", "mirror")
    with pytest.raises(ModelError, match=r"copy1: has another test-time augmentation than .*copy0"):
        segmed("ensemble", *members, *of, "--untuned")
    segmed("ensemble", *members, *of, "--untuned", "--tta", "scales", "--device", "cpu")
    both = load(tmp_path / "both").config
    assert (both.prediction.tta, both.prediction.smallest_share) == ("scales", 0.1)


def test_an_ensemble_over_folds_says_a_next_command_that_works(place: Path, tmp_path: Path) -> None:
    first, other = copies_with(place, tmp_path, 0.25, 0.25)
    value, own = json.loads((other / "config.json").read_text()), other / "split.json"
    own.write_text(own.read_text() + "\n")  # the same split, as another file
    hashed = {**value, "split_hash": hashlib.sha256(own.read_bytes()).hexdigest()}
    (other / "config.json").write_text(json.dumps(hashed))
    both, of = tmp_path / "both", ("--data", place / "data", "--split", place / "split.json", "--fold", 0)
    said = segmed("ensemble", first, other, "-o", both, "--untuned", *of)
    (line,) = [line for line in said.splitlines() if line.startswith("Next: segmed evaluate")]
    assert "--fold 0" in line
    segmed(*shlex.split(line)[2:], "--no-floors")
    assert (both / "evaluation-test" / "evaluation.json").is_file()


def test_members_that_read_volumes_along_other_planes_are_named(place: Path, tmp_path: Path) -> None:
    turned = Path(shutil.copytree(place / "run1", tmp_path / "turned"))
    stored = json.loads((turned / "config.json").read_text())
    stored["preprocess"]["plane"] = "coronal"
    (turned / "config.json").write_text(json.dumps(stored))
    with pytest.raises(ModelError, match=r"turned: reads volumes along preprocess.plane coronal, .*run1 along acq"):
        ensemble_config([place / "run1", turned])


def test_an_ensemble_of_before_hashes_loads(place: Path, tmp_path: Path) -> None:
    made_ensemble([place / "run1", place / "run2"], opened(place), tmp_path / "both")
    file = tmp_path / "both" / "ensemble.json"
    value = json.loads(file.read_text())
    for member in value["members"]:
        assert len(member.pop("weights_sha256")) == 64
    file.write_text(json.dumps(value))
    assert len(load(tmp_path / "both").networks()) == 2


def test_an_ensemble_is_not_written_through_a_link(place: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "members").symlink_to(tmp_path / "precious")
    with pytest.raises(DataError, match="members: is a symbolic link"):
        made_ensemble([place / "run1", place / "run2"], opened(place), tmp_path / "both", copy=True)
    assert list((tmp_path / "precious").iterdir()) == []


def test_members_trained_on_test_patients_are_refused(place: Path, tmp_path: Path) -> None:
    data, split = opened(place), Split.load(place / "split.json")
    fold = split.fold(0)
    swapped = Split(
        split.strategy, 0, split.data_hash, False, split.patient_of,
        (Partition(fold.test, fold.validation, fold.train),),
    )  # fmt: skip
    with pytest.raises(SplitError, match=r"run1: was trained on patient .* of the test part"):
        made_ensemble([place / "run1", place / "run2"], data, tmp_path / "both", split=swapped)
    assert not (tmp_path / "both").exists()


def test_an_ensemble_is_not_tested_on_the_patients_that_chose_its_threshold(place: Path, tmp_path: Path) -> None:
    data, split = opened(place), Split.load(place / "split.json")
    fold = split.fold(0)
    first = split.patient_of[fold.test[0]]
    chosen_on, kept = (
        tuple(slice_id for slice_id in fold.test if (split.patient_of[slice_id] == first) == wanted)
        for wanted in (True, False)
    )
    other = Split(
        split.strategy, 0, split.data_hash, False, split.patient_of, (Partition(fold.train, chosen_on, kept),)
    )
    made_ensemble([place / "run1", place / "run2"], data, tmp_path / "both", split=other)
    both = load(tmp_path / "both").config
    with pytest.raises(SplitError, match=rf"patient {first}"):
        plan_evaluation(tmp_path / "both", both, data)
