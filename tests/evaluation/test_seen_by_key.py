"""A run knows its patients again by a key beside the data; with another key nobody says that nothing leaks."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny_runs as tiny
from report_samples import evaluation

from segmed.core.errors import SplitError
from segmed.core.pseudonyms import KEY_FILE
from segmed.core.split import Partition, Split
from segmed.data.decoded import decode
from segmed.data.keys import known_pseudonyms, pseudonyms_of
from segmed.data.splits import numbered
from segmed.evaluation.compare import compare
from segmed.evaluation.report import write_report
from segmed.evaluation.result import Evaluation
from segmed.evaluation.run import evaluate_run, plan_evaluation
from segmed.models.seen import overlap, seen_patients


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    return tiny.decoded_of(tiny.kaggle_folder(tmp_path_factory.mktemp("tiny") / "kaggle_3m"))


@pytest.fixture
def config(decoded):
    split = tiny.by_patient(decoded)
    return tiny.config_of(decoded, seen=seen_patients(split, 0, pseudonyms_of(decoded.dataset)))


def fewer_of(folder, decoded, *, with_key):
    """Other data, with the patients a, b and c of the run's."""
    fewer = tiny.decoded_of(tiny.kaggle_folder(folder / "kaggle_3m", patients="abc"))
    if with_key:
        shutil.copy(decoded.dataset.root / KEY_FILE, fewer.dataset.root / KEY_FILE)
    return fewer


def test_a_numbered_split_names_nobody_and_is_the_split_again_with_its_data(decoded, tmp_path):
    split = tiny.by_patient(decoded, train="bd", validation="a", test="c")
    numbered(split, decoded).save(tmp_path / "split.json")
    text = (tmp_path / "split.json").read_text()
    assert not [slice_id for slice_id in split.patient_of if slice_id in text]
    assert Split.load(tmp_path / "split.json").fold(0).test == tuple(f"slice-{number}" for number in range(8, 12))
    plan = plan_evaluation(tmp_path, tiny.config_of(decoded), decoded)
    assert plan.split == split
    assert plan.own


def test_a_split_of_slices_that_the_data_has_not_cannot_be_numbered(decoded):
    with pytest.raises(SplitError, match="The split has a_1, which the data has not"):
        tiny.by_patient(decoded).as_numbers(["b_1"], ["b"])


def test_the_same_key_beside_other_data_finds_the_patients_that_a_run_has_seen(decoded, config, tmp_path):
    fewer = fewer_of(tmp_path, decoded, with_key=True)
    with pytest.raises(SplitError, match="was trained on patient a of the test part"):
        plan_evaluation(tmp_path, config, fewer, split=tiny.by_patient(fewer, train="c", validation="b", test="a"))
    with pytest.raises(SplitError, match="was chosen on patient c of the test part"):
        plan_evaluation(tmp_path, config, fewer, split=tiny.by_patient(fewer, train="a", validation="b", test="c"))


def test_with_the_same_key_and_other_names_of_patients_no_leak_is_never_said(decoded, config, tmp_path):
    named = fewer_of(tmp_path, decoded, with_key=True)
    assert plan_evaluation(
        tmp_path, replace(config, seen={"train": config.seen["train"][:1]}), named,
        split=tiny.by_patient(named, train="ab", validation="", test="c"),
    ).training_known  # fmt: skip
    records = tuple(replace(each, patient=f"scan {each.patient}") for each in named.dataset.records)
    renamed = decode(replace(named.dataset, records=records), cache_dir=tmp_path / "renamed")
    parts = [tuple(each.slice_id for each in records if each.slice_id[0] == letter) for letter in "cba"]
    plan = plan_evaluation(tmp_path, config, renamed, split=tiny.split_of(renamed, Partition(*parts)))
    assert not plan.training_known


@pytest.mark.parametrize("key", ["another", "none"])
def test_with_another_key_no_leak_is_never_said(decoded, config, key, tmp_path):
    fewer = fewer_of(tmp_path, decoded, with_key=False)
    if key == "another":
        pseudonyms_of(fewer.dataset)
    plan = plan_evaluation(tmp_path, config, fewer, split=tiny.by_patient(fewer, train="c", validation="b", test="a"))
    assert not plan.training_known
    result = evaluate_run(tiny.predictor_of(tmp_path, config), fewer, plan, name="mine", resamples=20)
    result.save(tmp_path / "evaluation")
    again = Evaluation.load(tmp_path / "evaluation")
    assert not again.training_known
    assert "TRAINING UNKNOWN" in (tmp_path / "evaluation" / "patients.csv").read_text()
    assert again.provenance.others["training_patients"] == "unknown"
    page = write_report([again], out=tmp_path / "report").read_text()
    assert "whether mine was trained on these patients is not known" in page
    assert "no leak" not in page
    for file in ("comparison.csv", "comparison.md"):
        assert "TRAINING UNKNOWN" in (tmp_path / "report" / file).read_text()


def test_the_runs_own_split_tells_without_the_key_what_it_was_trained_on(decoded, config, tmp_path):
    copy = tiny.decoded_of(shutil.copytree(decoded.dataset.root, tmp_path / "copy" / "kaggle_3m"))
    (copy.dataset.root / KEY_FILE).unlink()
    assert known_pseudonyms(copy.dataset) is None
    numbered(tiny.by_patient(decoded), decoded).save(tmp_path / "split.json")
    assert plan_evaluation(tmp_path, config, copy).training_known
    with pytest.raises(SplitError, match="was trained on patient b of the test part"):
        plan_evaluation(tmp_path, config, copy, split=tiny.by_patient(copy, train="cd", validation="a", test="b"))
    more = tiny.config_of(decoded, seen={**config.seen, "train": [*config.seen["train"], "0123456789ab:cdef"]})
    assert not plan_evaluation(tmp_path, more, copy).training_known  # it began from a run that has seen further ones


def test_without_key_and_split_a_run_is_refused_on_the_data_it_was_trained_on(decoded, config, tmp_path):
    copy = tiny.decoded_of(shutil.copytree(decoded.dataset.root, tmp_path / "copy" / "kaggle_3m"))
    (copy.dataset.root / KEY_FILE).unlink()
    with pytest.raises(SplitError, match=r"with another key than the data has now\. Copy the key file"):
        plan_evaluation(tmp_path, config, copy, split=tiny.by_patient(copy))


def test_plain_digests_of_earlier_runs_are_found_with_and_without_a_key(decoded):
    plain = seen_patients(tiny.by_patient(decoded), 0)["train"]
    for key in (None, pseudonyms_of(decoded.dataset)):
        assert overlap(plain, "abcd", key).patients == ("a", "b")
        assert overlap(plain, "abcd", key).complete


def test_a_config_holds_no_hash_that_can_be_made_without_the_key(decoded, config):
    plain = seen_patients(tiny.by_patient(decoded), 0)
    assert not {*plain["train"], *plain["validation"]} & {*config.seen["train"], *config.seen["validation"]}
    fingerprints = {digest.partition(":")[0] for digest in config.seen["train"]}
    assert fingerprints == {pseudonyms_of(decoded.dataset).fingerprint}


def test_a_comparison_says_whose_training_is_not_known():
    first, second = evaluation("a", (0.5, 0.6)), evaluation("b", (0.4, 0.5), training_known=False)
    from segmed.evaluation.report.notes import notes

    said = notes(compare([first, second]))
    assert any(note.startswith("TRAINING UNKNOWN: whether b was trained") for note in said)
    assert not any("TRAINING UNKNOWN" in note for note in notes(compare([first])))
    assert np.isfinite(first.metrics["dice"].value)
