"""Comparison of evaluations: what may be compared, who leads, and what is told from chance."""

import csv
import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_samples import evaluation, floor, metrics, patient_row

from segmed.cli.compare import _plane_of
from segmed.cli.referee import MaskOptions, ReferenceOptions, score_systems
from segmed.core.errors import DataError
from segmed.core.files import write_json
from segmed.core.labels import LabelMap
from segmed.core.units import IMAGE, PATIENT
from segmed.evaluation.compare import Verdict, compare
from segmed.evaluation.find import find_evaluations, scored_otherwise
from segmed.evaluation.provenance import Provenance
from segmed.evaluation.report import write_report
from segmed.inference.ensemble import change_ensemble, save_ensemble
from segmed.inference.loading import hashes_of
from segmed.models.checkpoint import RunConfig
from segmed.models.config import ModelConfig
from segmed.models.joint_config import EnsembleConfig
from segmed.models.network_config import NetworkConfig
from segmed.models.prediction import PredictionConfig
from segmed.preprocess import PreprocessConfig
from segmed.prompts.kinds import PromptKind

GOOD = (0.9, 0.85, 0.88, 0.8, 0.91, 0.86, 0.84, 0.79)
POOR = tuple(value - 0.2 for value in GOOD)


def test_the_leader_is_the_system_with_the_highest_mean_patient_dice():
    comparison = compare([evaluation("poor", POOR), evaluation("good", GOOD)])
    assert [system.name for system in comparison.systems] == ["good", "poor"]


def test_a_constant_difference_is_the_effect_and_its_interval_and_is_separable():
    (test,) = compare([evaluation("good", GOOD), evaluation("poor", POOR)]).tests
    assert (test.first, test.second, test.patients) == ("good", "poor", 8)
    assert (test.difference, test.low, test.high) == pytest.approx((0.2, 0.2, 0.2))
    assert test.p_sign_flip == pytest.approx(2 / 2**8)
    assert test.separable


def test_equal_systems_are_not_separable():
    (test,) = compare([evaluation("a", GOOD), evaluation("b", GOOD)]).tests
    assert test.p_holm == 1
    assert not test.separable


@pytest.mark.parametrize(
    ("patients", "systems", "verdict"),
    [(5, 2, Verdict.TOO_FEW), (6, 2, Verdict.SEPARABLE), (6, 3, Verdict.TOO_FEW), (8, 3, Verdict.SEPARABLE)],
)
def test_patients_too_few_for_any_p_below_five_percent_get_a_verdict_of_their_own(patients, systems, verdict):
    members = [evaluation(str(i), [0.9 - 0.1 * i] * patients) for i in range(systems)]
    assert {test.verdict for test in compare(members).tests} == {verdict}


def test_a_label_of_few_patients_that_holm_still_lets_through_is_separable():
    """20 patients of one label, all better; 6 of the other, whose p of 2 / 64 is the second of two: times one."""

    def member(name: str, dice: float):
        many = [patient_row(f"P{i}", dice, label="a") for i in range(20)]
        few = [patient_row(f"P{i}", dice if i < 6 else math.nan, label="b") for i in range(20)]
        return evaluation(name, [dice] * 20, patients=(*many, *few))

    of_many, of_few = compare([member("good", 0.9), member("poor", 0.7)]).label_tests
    assert of_few.p_holm == pytest.approx(2 / 64)
    assert of_few.least_p == pytest.approx(4 / 64)
    assert [of_many.verdict, of_few.verdict] == [Verdict.SEPARABLE, Verdict.SEPARABLE]


def test_labels_that_nobody_has_are_no_tests_that_others_are_corrected_for():
    def member(name: str, dice: float):
        rows = [
            patient_row(f"P{i}", dice if label == "a" else math.nan, label=label) for label in "abc" for i in range(6)
        ]
        return evaluation(name, [dice] * 6, patients=tuple(rows))

    tests = compare([member("good", 0.9), member("poor", 0.7)]).label_tests
    assert (tests[0].least_p, tests[0].verdict) == (pytest.approx(2 / 64), Verdict.SEPARABLE)


def test_a_verdict_is_in_words_only_where_it_is_shown():
    assert [verdict.words(IMAGE) for verdict in Verdict] == ["separable", "not separable", "too few images to tell"]
    assert Verdict.TOO_FEW.words(PATIENT) == "too few patients to tell"


def test_holm_adjusts_over_all_pairs_of_systems_but_not_over_floors():
    systems = [evaluation("a", GOOD), evaluation("b", GOOD), evaluation("c", POOR)]
    comparison = compare([*systems, floor("nothing", [0.0] * 8)])
    assert len(comparison.tests) == 3
    assert min(test.p_holm for test in comparison.tests) == pytest.approx(3 * 2 / 2**8)
    (against_floor,) = comparison.floor_tests
    assert against_floor.p_holm == against_floor.p_sign_flip


def test_a_patient_without_a_value_is_left_out_of_the_test():
    holed = evaluation("holed", (math.nan, *GOOD[1:]))
    (test,) = compare([holed, evaluation("poor", POOR)]).tests
    assert test.patients == 7


def test_a_false_alarm_in_a_patient_without_tumour_takes_no_lead_from_the_better_system():
    careful = evaluation("careful", (*(0.80 + 0.001 * i for i in range(9)), math.nan))
    alarming = evaluation("alarming", (*(0.81 + 0.001 * i for i in range(9)), 0.0))
    comparison = compare([careful, alarming])
    assert [system.name for system in comparison.systems] == ["alarming", "careful"]
    assert comparison.tests[0].difference == pytest.approx(0.01)
    assert np.array_equal(comparison.rank_shares, np.eye(2))
    assert comparison.patients == tuple(f"P{i}" for i in range(9))
    assert comparison.left_out == {"P9": ("alarming",)}


def test_a_floor_that_is_silent_in_a_patient_without_tumour_leaves_it_out_for_the_systems_too():
    silent = floor("predict nothing", (*(0.0,) * 8, math.nan))
    comparison = compare([evaluation("a", (*GOOD, 0.0)), evaluation("b", (*POOR, 0.0)), silent])
    assert {test.patients for test in (*comparison.tests, *comparison.floor_tests)} == {8}
    assert comparison.left_out == {"P8": ("a", "b")}


def test_a_floor_is_never_ranked_even_when_it_leads():
    comparison = compare([floor("copy", GOOD), evaluation("poor", POOR)])
    assert [system.name for system in comparison.systems] == ["poor"]
    assert [each.name for each in comparison.floors] == ["copy"]


def test_the_shares_of_ranks_of_a_clear_order_are_certain():
    shares = compare([evaluation("good", GOOD), evaluation("poor", POOR)]).rank_shares
    assert np.array_equal(shares, np.eye(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": "validation"}, "scored on validation and on test"),
        ({"data_hash": "other"}, "different data"),
        ({"slices": evaluation("x", GOOD[:7]).slices}, "3 slices were scored for only one of them, such as P7_0"),
    ],
)
def test_evaluations_of_other_slices_parts_or_data_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        compare([evaluation("a", GOOD), evaluation("b", GOOD, **changes)])


def test_other_references_under_the_same_slice_ids_are_refused():
    other = evaluation("b", GOOD, data_hash=None)
    changed = dataclasses.replace(other.slices[0], reference_px=1)
    other = dataclasses.replace(other, slices=(changed, *other.slices[1:]))
    with pytest.raises(DataError, match="the reference of P0_0 has 1 and 16 pixels"):
        compare([evaluation("a", GOOD, data_hash=None), other])


def test_two_evaluations_with_one_name_are_refused():
    with pytest.raises(DataError, match="Two evaluations are called 'a'"):
        compare([evaluation("a", GOOD), evaluation("a", POOR)])


def test_nothing_to_compare_says_so():
    with pytest.raises(DataError, match="Nothing to compare"):
        compare([])


def test_a_leaking_member_makes_the_comparison_leaking():
    assert compare([evaluation("a", GOOD), evaluation("b", GOOD, leaking=True)]).leaking
    assert not compare([evaluation("a", GOOD)]).leaking


def saved_run(folder: Path, name: str, part: str = "test") -> Path:
    evaluation(name, GOOD, part=part).save(folder / f"evaluation-{part}")
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def test_runs_and_evaluation_folders_are_both_found_with_their_run_folders(tmp_path):
    first, second = saved_run(tmp_path / "one", "unet"), saved_run(tmp_path / "two", "pan")
    found = find_evaluations([first, second / "evaluation-test"])
    assert [each.name for each in found.evaluations] == ["unet", "pan"]
    assert found.runs == {"unet": first, "pan": second}


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    found = find_evaluations([saved_run(tmp_path / "one", "unet"), saved_run(tmp_path / "two", "unet")])
    assert [each.name for each in found.evaluations] == ["unet", "unet (two)"]
    assert set(found.runs) == {"unet", "unet (two)"}


def test_floors_of_one_name_are_told_apart_by_their_runs_unless_they_are_the_same(tmp_path):
    runs = [saved_run(tmp_path / name, name) for name in ("one", "two", "three")]
    for run, dice in zip(runs, (GOOD, GOOD, POOR), strict=True):
        sample = floor("copy", dice)
        first = dataclasses.replace(sample.slices[0], predicted_px=int(100 * dice[0]))
        dataclasses.replace(sample, slices=(first,)).save(run / "evaluation-test" / "floors" / "copy")
    names = [each.name for each in find_evaluations(runs).evaluations if each.kind == "floor"]
    assert names == ["copy", "copy (three)"]
    (tmp_path / "labels").mkdir()
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "labels" / "P0_0.png")
    references = ReferenceOptions(tmp_path / "labels", None, None, True)
    options = MaskOptions(references, None, (), "refuse", None, None, 0)
    scored = score_systems(list(zip("abc", runs, strict=True)), options, out=tmp_path, part=None)
    assert [each.name for each in scored.found.evaluations] == ["a", "b", "c", "copy", "copy (c)"]


def test_the_test_part_is_taken_unless_another_is_asked_for(tmp_path):
    run = saved_run(saved_run(tmp_path / "run", "unet"), "unet", part="validation")
    assert find_evaluations([run]).evaluations[0].part == "test"
    assert find_evaluations([run], part="validation").evaluations[0].part == "validation"


def test_a_run_that_was_tuned_after_it_was_scored_is_named(tmp_path: Path) -> None:
    model = ModelConfig(name="unet", encoder="resnet18", encoder_weights="none")
    config = RunConfig(model=model, preprocess=PreprocessConfig(), labels=LabelMap(), threshold=0.5)
    run = tmp_path / "unet"
    evaluation("unet", (0.5, 0.7), provenance=Provenance(prediction=config.prediction)).save(run / "evaluation-test")
    for now, told in (
        (config, 0),
        (dataclasses.replace(config, threshold=0.35), 1),
        (dataclasses.replace(config, prediction=PredictionConfig(smallest_in_volume=50)), 1),
        (dataclasses.replace(config, model=ModelConfig(name="sam-tiny"), threshold=0.35), 0),
    ):
        (run / "config.json").write_text(json.dumps(now.to_json()))
        said = scored_otherwise(find_evaluations([run]))
        assert [f"segmed evaluate {run}" in each for each in said] == [True] * told


def written_run(folder: Path, weights: str) -> Path:
    model = ModelConfig(name="unet", encoder="resnet18", encoder_weights="none")
    config = RunConfig(
        model=model, preprocess=PreprocessConfig(), labels=LabelMap(), threshold=0.5, weights_sha256=weights
    )
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_json()))
    (folder / "model.safetensors").write_text(weights)
    return folder


def test_a_run_that_was_trained_anew_after_it_was_scored_is_named(tmp_path: Path) -> None:
    run = written_run(tmp_path / "unet", "first")
    provenance = Provenance(prediction=PredictionConfig(), hashes=hashes_of(run))
    evaluation("unet", (0.5, 0.7), provenance=provenance).save(run / "evaluation-test")
    assert scored_otherwise(find_evaluations([run])) == ()
    written_run(run, "second")
    (said,) = scored_otherwise(find_evaluations([run]))
    assert said.startswith("unet: its scores are of other weights")
    assert f"segmed evaluate {run}" in said
    evaluation("unet", (0.5, 0.7)).save(run / "evaluation-test")  # which does not tell of what weights it is
    assert scored_otherwise(find_evaluations([run])) == ()


def test_a_cascade_asked_as_prompts_of_a_run_is_not_taken_for_other_weights_of_it(tmp_path: Path) -> None:
    run = written_run(tmp_path / "sam", "first")
    provenance = Provenance(prediction=PredictionConfig(), hashes=("dense", "first", "settings"))
    asked = dataclasses.replace(evaluation("sam", (0.5, 0.7), provenance=provenance), prompts=PromptKind("cascade"))
    asked.save(run / "evaluation-test" / "prompts" / "cascade")
    assert scored_otherwise(find_evaluations([run])) == ()


def test_a_cascade_whose_runs_are_gone_is_still_reported(tmp_path: Path) -> None:
    cascade = tmp_path / "cascade"
    gone = {"folder": "gone", "weights": "a"}
    write_json(cascade / "cascade.json", {"format": 1, "settings": {}, "dense": gone, "promptable": gone})
    evaluation("early", (0.5, 0.7)).save(cascade / "evaluation-test")
    found = find_evaluations([cascade])
    assert scored_otherwise(found) == ()
    assert _plane_of(found.runs) == "acquired"
    told = dataclasses.replace(found.evaluations[0], provenance=Provenance(hashes=("a", "b", "c")))
    (said,) = scored_otherwise(dataclasses.replace(found, evaluations=(told,)))
    assert "other weights" in said


def test_an_ensemble_that_was_made_anew_or_tuned_after_it_was_scored_is_named(tmp_path: Path) -> None:
    first, second, third = (written_run(tmp_path / name, name) for name in ("a", "b", "c"))
    network = NetworkConfig(ModelConfig(name="unet", encoder="resnet18", encoder_weights="none"), PreprocessConfig())
    config = EnsembleConfig(networks=(network, network), labels=LabelMap(), threshold=0.5)
    mean = tmp_path / "mean"
    save_ensemble(mean, [first, second], config)
    provenance = Provenance(prediction=config.prediction, hashes=hashes_of(mean))
    evaluation("mean", (0.5, 0.7), provenance=provenance).save(mean / "evaluation-test")
    found = find_evaluations([mean])
    assert found.runs == {"mean": mean}
    assert scored_otherwise(found) == ()
    change_ensemble(mean, dataclasses.replace(config, threshold=0.4))
    (said,) = scored_otherwise(found)
    assert "another threshold" in said
    save_ensemble(mean, [first, third], config)
    (said,) = scored_otherwise(found)
    assert said.startswith("mean: its scores are of other weights")


def test_a_folder_without_an_evaluation_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match=r"holds no evaluation of the test part. Run `segmed evaluate"):
        find_evaluations([tmp_path])


def test_a_damaged_evaluation_names_its_file(tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps({"format": 0}), encoding="utf-8")
    with pytest.raises(DataError, match=r"evaluation.json: format 0 is not 1, expected an evaluation made by"):
        find_evaluations([tmp_path])


def two_labels(name, core, oedema):
    """An evaluation whose patients have these Dice of two labels."""
    one = evaluation(name, core)
    rows = [
        dataclasses.replace(patient_row(f"P{index}", dice, missed=dice == 0), label=label)
        for label, several in (("core", core), ("oedema", oedema))
        for index, dice in enumerate(several)
    ]
    return dataclasses.replace(
        one,
        patients=tuple(rows),
        by_label={label: metrics(dice) for label, dice in (("core", core), ("oedema", oedema))},
    )


def test_tests_of_several_labels_name_the_label_and_are_corrected_together():
    comparison = compare([two_labels("a", GOOD, POOR), two_labels("b", GOOD, GOOD)])
    (whole,) = comparison.tests
    assert (whole.first, whole.label, whole.difference) == ("b", "", pytest.approx(0.1))
    assert [(test.label, test.difference) for test in comparison.label_tests] == [
        ("core", pytest.approx(0.0)),
        ("oedema", pytest.approx(0.2)),
    ]
    assert comparison.label_tests[1].p_holm == pytest.approx(2 * comparison.label_tests[1].p_sign_flip)


def test_a_label_is_tested_on_the_patients_that_have_it():
    without = (math.nan, *GOOD[1:])
    tests = compare([two_labels("a", GOOD, without), two_labels("b", POOR, without)]).label_tests
    assert [(test.label, test.patients) for test in tests] == [("core", 8), ("oedema", 7)]


def test_a_single_label_has_no_tests_of_its_own():
    assert compare([evaluation("a", GOOD), evaluation("b", POOR)]).label_tests == ()


def test_report_and_files_give_every_score_of_each_label_and_mark_one_that_is_never_found(tmp_path):
    members = [two_labels("lost", GOOD, (0.0,) * 8), two_labels("good", GOOD, POOR)]
    page = write_report(members, out=tmp_path).read_text(encoding="utf-8")
    body = " ".join(re.sub(r"<[^>]+>", " ", page.split("</style>", 1)[1]).split())
    assert "lost never found 0.000" in body
    assert "good never found" not in body
    assert "lost never found oedema: not one pixel in any of the 8 patients with it." in body
    assert "Dice ↑, mean of labels" in body
    assert "Dice ↑, oedema" in body
    rows = list(csv.DictReader((tmp_path / "comparison.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["name"], row["label"]) for row in rows[:3]] == [
        ("good", "mean of labels"),
        ("good", "core"),
        ("good", "oedema"),
    ]
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "## Scores of oedema" in text
    assert "| lost (never found) | 0.000" in text
    assert "| good − lost, oedema |" in text
