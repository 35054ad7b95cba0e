import time

import numpy as np
import pytest
import tiny_runs as tiny

from segmed.core.errors import DataError, SplitError
from segmed.core.labels import LabelMap
from segmed.core.split import Partition, Split
from segmed.evaluation.floors import floor_evaluations, save_with_floors
from segmed.evaluation.result import Evaluation
from segmed.evaluation.run import evaluate_run, plan_evaluation
from segmed.models.seen import seen_patients


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    return tiny.decoded_of(tiny.kaggle_folder(tmp_path_factory.mktemp("data") / "kaggle_3m"))


@pytest.fixture
def run(tmp_path, decoded):
    """A run folder with its own split: trained on a and b, chosen on c, d left for the test."""
    tiny.by_patient(decoded).save(tmp_path / "split.json")
    return tmp_path


def scored(run, decoded, **options) -> Evaluation:
    config = tiny.config_of(decoded)
    plan = plan_evaluation(run, config, decoded, **options)
    return evaluate_run(tiny.predictor_of(run, config), decoded, plan, name="bright", resamples=20)


def test_a_run_is_scored_on_the_test_patients_of_its_own_split(run, decoded):
    result = scored(run, decoded)
    assert [row.patient for row in result.patients] == ["d"]
    assert result.metrics["dice"].value == 1.0
    assert result.metrics["ece"].value == pytest.approx(0.0, abs=1e-3)
    np.testing.assert_array_equal(result.predictions["d_2"], decoded.mask("d_2"))


def test_an_evaluation_knows_its_split_data_threshold_and_model(run, decoded):
    result = scored(run, decoded)
    assert (result.part, result.leaking, result.threshold) == ("test", False, 0.5)
    assert result.data_hash == decoded.data_hash
    assert result.split.units == 1
    assert result.split.train_units == 2
    assert result.provenance.training.others["seed"] == 3
    assert "torch" in result.provenance.others["versions"]


def test_costs_are_counted_and_measured(run, decoded):
    cost = scored(run, decoded).cost
    assert cost.parameters == 1
    assert cost.ms_per_image > 0
    assert cost.peak_memory_mib > 10
    assert (cost.training_seconds, cost.training_cpu_seconds) == (12.5, 20.5)


def test_the_time_of_reading_is_not_that_of_predicting(run, decoded, monkeypatch):
    read = decoded.image
    monkeypatch.setattr(decoded, "image", lambda slice_id: (time.sleep(0.3), read(slice_id))[1])
    assert scored(run, decoded).cost.ms_per_image < 300


def test_progress_counts_patients(run, decoded):
    told = []
    config = tiny.config_of(decoded)
    plan = plan_evaluation(run, config, decoded)
    evaluate_run(
        tiny.predictor_of(run, config),
        decoded,
        plan,
        name="x",
        resamples=20,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 1)]


def test_the_validation_part_of_its_own_split_may_be_scored(run, decoded):
    assert [row.patient for row in scored(run, decoded, part="validation").patients] == ["c"]


def test_the_training_part_is_refused(run, decoded):
    with pytest.raises(SplitError, match=r"on patient a and 1 more of the train part\. Evaluate it on the test"):
        scored(run, decoded, part="train")


def test_another_split_that_tests_a_training_patient_is_refused(run, decoded):
    with pytest.raises(SplitError, match="was trained on patient b of the test part"):
        scored(run, decoded, split=tiny.by_patient(decoded, train="cd", validation="a", test="b"))


def test_another_split_that_tests_the_patients_it_was_chosen_on_is_refused(run, decoded):
    with pytest.raises(SplitError, match="was chosen on patient c of the test part"):
        scored(run, decoded, split=tiny.by_patient(decoded, train="ab", validation="d", test="c"))


def test_another_split_of_unseen_patients_is_taken(run, decoded):
    result = scored(run, decoded, split=tiny.by_patient(decoded, train="a", validation="bc", test="d"))
    assert result.split.train_units == 1


def test_the_plan_knows_whether_split_fold_and_data_are_the_runs_own(run, decoded):
    config, own = tiny.config_of(decoded), tiny.by_patient(decoded)
    assert plan_evaluation(run, config, decoded).own
    assert plan_evaluation(run, config, decoded, split=own, fold=0).own
    other = tiny.by_patient(decoded, train="a", validation="bc", test="d")
    assert not plan_evaluation(run, config, decoded, split=other).own
    assert not plan_evaluation(run, tiny.config_of(decoded, data_hash="0" * 64), decoded, split=own).own


def test_another_fold_of_the_split_is_refused_where_it_was_trained_on(tmp_path, decoded):
    folds = [
        Partition(tiny.slice_ids(a), tiny.slice_ids(b), tiny.slice_ids(c))
        for a, b, c in (("ab", "c", "d"), ("cd", "a", "b"))
    ]
    tiny.split_of(decoded, *folds).save(tmp_path / "split.json")
    with pytest.raises(SplitError, match="was trained on patient b"):
        scored(tmp_path, decoded, fold=1)


def test_the_fold_is_the_one_it_was_trained_for(tmp_path, decoded):
    folds = [
        Partition(tiny.slice_ids(a), tiny.slice_ids(b), tiny.slice_ids(c))
        for a, b, c in (("ab", "c", "d"), ("cd", "a", "b"))
    ]
    tiny.split_of(decoded, *folds).save(tmp_path / "split.json")
    plan = plan_evaluation(tmp_path, tiny.config_of(decoded, fold=1), decoded)
    assert plan.fold == 1


def test_a_leaking_split_is_scored_and_marked(tmp_path, decoded):
    tiny.by_slice(decoded).save(tmp_path / "split.json")
    result = scored(tmp_path, decoded)
    assert result.leaking
    assert result.split.patients_also_in_train == 4


def test_a_run_trained_on_a_leaking_split_is_refused_on_an_honest_one(tmp_path, decoded):
    tiny.by_slice(decoded).save(tmp_path / "split.json")
    with pytest.raises(SplitError, match="was trained on patient d"):
        scored(tmp_path, decoded, split=tiny.by_patient(decoded))


def test_a_run_without_a_split_is_refused_on_the_data_it_was_trained_on(tmp_path, decoded):
    with pytest.raises(SplitError, match="Copy the split that it was trained with there"):
        scored(tmp_path, decoded)
    with pytest.raises(SplitError, match="which patients it was trained on is unknown"):
        scored(tmp_path, decoded, split=tiny.by_patient(decoded))


def test_a_run_without_a_split_may_be_tested_on_other_data(tmp_path, decoded):
    config = tiny.config_of(decoded, data_hash="0" * 64)
    plan = plan_evaluation(tmp_path, config, decoded, split=tiny.by_patient(decoded))
    assert not plan.training_known
    result = evaluate_run(tiny.predictor_of(tmp_path, config), decoded, plan, name="x", resamples=20)
    assert result.provenance.others["training_patients"] == "unknown"


def test_a_run_that_lost_its_split_is_still_refused_on_some_of_its_patients(tmp_path, decoded):
    seen = seen_patients(tiny.by_patient(decoded), 0)
    fewer = tiny.decoded_of(tiny.kaggle_folder(tmp_path / "kaggle_3m", patients="abc"))
    config = tiny.config_of(decoded, seen=seen)
    assert config.data_hash != fewer.data_hash
    other = tiny.by_patient(fewer, train="c", validation="b", test="a")
    with pytest.raises(SplitError, match="was trained on patient a of the test part"):
        plan_evaluation(tmp_path, config, fewer, split=other)
    with pytest.raises(SplitError, match="was chosen on patient c of the test part"):
        plan_evaluation(tmp_path, config, fewer, split=tiny.by_patient(fewer, train="a", validation="b", test="c"))


def test_a_split_put_in_place_of_the_runs_own_does_not_hide_what_it_was_trained_on(tmp_path, decoded):
    tiny.by_patient(decoded, train="cd", validation="b", test="a").save(tmp_path / "split.json")
    config = tiny.config_of(decoded, seen=seen_patients(tiny.by_patient(decoded), 0))
    with pytest.raises(SplitError, match="was trained on patient a of the test part"):
        plan_evaluation(tmp_path, config, decoded)


def test_a_leaking_run_that_knows_its_patients_is_scored_on_its_own_split(tmp_path, decoded):
    tiny.by_slice(decoded).save(tmp_path / "split.json")
    config = tiny.config_of(decoded, leaking=True, seen=seen_patients(tiny.by_slice(decoded), 0))
    plan = plan_evaluation(tmp_path, config, decoded)
    assert plan.leaking
    assert plan.training_known


def test_changed_data_is_refused(tmp_path, decoded):
    split = tiny.by_patient(decoded)
    Split("patient", 0, "f" * 64, False, split.patient_of, split.folds).save(tmp_path / "split.json")
    with pytest.raises(SplitError, match="made for data ffff"):
        scored(tmp_path, decoded)


def test_an_empty_part_is_refused(tmp_path, decoded):
    tiny.by_patient(decoded, train="abc", validation="").save(tmp_path / "split.json")
    with pytest.raises(SplitError, match="no validation part"):
        scored(tmp_path, decoded, part="validation")


def test_a_run_for_other_labels_is_refused(run, decoded):
    config = tiny.config_of(decoded, labels=LabelMap(("liver", "spleen"), (0, 1, 2)))
    with pytest.raises(DataError, match="predicts liver, spleen but the data has foreground"):
        plan_evaluation(run, config, decoded)


def test_floors_are_saved_below_the_evaluation_and_replace_earlier_ones(run, decoded, tmp_path):
    result = scored(run, decoded)
    folder = tmp_path / "evaluation-test"
    save_with_floors(folder, result, floor_evaluations(decoded, tiny.by_patient(decoded), resamples=20))
    assert len(list(folder.glob("floors/*/evaluation.json"))) == 3
    save_with_floors(folder, result, [])
    assert not (folder / "floors").exists()
    assert Evaluation.load(folder).name == "bright"
