"""Degraded evaluations: each in a folder of its own, never mixed with others, and side by side in the comparison."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import tiny_runs as tiny
from report_samples import evaluation

from segmed.core.errors import DataError
from segmed.data.degrade import Degradation, parse_degradations
from segmed.evaluation.compare import compare
from segmed.evaluation.provenance import Provenance
from segmed.evaluation.report import write_report
from segmed.evaluation.robustness import degraded_evaluations, degraded_results
from segmed.evaluation.run import evaluate_run, plan_evaluation
from segmed.evaluation.volume_metrics import Space

CLEAN = (0.9, 0.8, 0.7, 0.8, 0.9, 0.6)
BLURRED = (0.7, 0.7, 0.6, 0.5, 0.9, 0.2)


def degraded(name: str, dice: tuple[float, ...], how: str):
    return replace(evaluation(name, dice), provenance=Provenance(degradation=parse_degradations(how)[0]))


@pytest.fixture
def run(tmp_path):
    """A run folder with two degraded evaluations beside a clean one."""
    evaluation("net", CLEAN).save(tmp_path / "net" / "evaluation-test")
    degraded("net", BLURRED, "lowpass:0.5").save(tmp_path / "net" / "evaluation-test-lowpass-0.5")
    degraded("net", CLEAN, "lowpass:0.75").save(tmp_path / "net" / "evaluation-test-lowpass-0.75")
    return tmp_path / "net"


def test_the_images_are_degraded_and_the_evaluation_says_how(tmp_path):
    decoded = tiny.decoded_of(tiny.kaggle_folder(tmp_path / "kaggle_3m"))
    folder = tmp_path / "run"
    folder.mkdir()
    tiny.by_patient(decoded).save(folder / "split.json")
    config = tiny.config_of(decoded)
    plan, predictor = plan_evaluation(folder, config, decoded), tiny.predictor_of(folder, config)
    clean, noisy = (
        evaluate_run(predictor, decoded, plan, name="bright", resamples=20, degradation=each)
        for each in (None, Degradation("noise", 2.0))
    )
    assert clean.metrics["dice"].value == 1.0
    assert noisy.metrics["dice"].value < 0.9
    assert str(noisy.provenance.degradation) == "noise:2"
    assert clean.provenance.degradation is None
    assert noisy.slices[0].reference_px == clean.slices[0].reference_px


def test_results_on_other_images_are_not_compared():
    with pytest.raises(DataError, match=r"scored on images lowpass:0\.5 and as they are"):
        compare([evaluation("a", CLEAN), degraded("b", BLURRED, "lowpass:0.5")])


def test_degraded_evaluations_of_a_run_are_set_beside_its_own_mild_ones_first(run):
    results = degraded_results(compare([evaluation("net", CLEAN)]), {"net": run})
    assert [str(result.degradation) for result in results] == ["lowpass:0.75", "lowpass:0.5"]
    assert results[0].loss.value == 0
    assert results[1].dice.value == pytest.approx(np.mean(BLURRED))
    assert results[1].loss.value == pytest.approx(np.mean(CLEAN) - np.mean(BLURRED))
    assert results[1].loss.low <= results[1].loss.value <= results[1].loss.high


def test_degraded_evaluations_of_other_slices_are_refused(run):
    degraded("net", CLEAN[:4], "ghost:0.2").save(run / "evaluation-test-ghost-0.2")
    with pytest.raises(DataError, match=r"evaluation under ghost:0\.2 is of other slices or data"):
        degraded_results(compare([evaluation("net", CLEAN)]), {"net": run})


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0.3},
        {"flips": "flips"},
        {"smallest_component": {"pixels in slice": 0, "voxels": 9}},
        {"smallest_component": {"share of the largest": 1.0}},
    ],
)
def test_degraded_evaluations_of_another_threshold_or_post_processing_are_refused(run, changes):
    clean = evaluation("net", CLEAN)
    told = {"test_time_flips": changes.get("flips", False), **{k: v for k, v in changes.items() if "small" in k}}
    other = replace(clean, threshold=changes.get("threshold", clean.threshold), provenance=Provenance.from_json(told))
    with pytest.raises(DataError, match=r"another threshold, test-time augmentation or post-processing.*Repeat it"):
        degraded_results(compare([other]), {"net": run})


def test_degraded_evaluations_of_other_weights_are_refused_where_that_is_known(run):
    def told(dice, *, hashes, how=None):
        degradation = None if how is None else parse_degradations(how)[0]
        return replace(evaluation("net", dice), provenance=Provenance(degradation=degradation, hashes=hashes))

    told(BLURRED, hashes=("old",), how="lowpass:0.5").save(run / "evaluation-test-lowpass-0.5")
    assert len(degraded_results(compare([told(CLEAN, hashes=())]), {"net": run})) == 2
    assert len(degraded_results(compare([told(CLEAN, hashes=("old",))]), {"net": run})) == 2
    with pytest.raises(DataError, match=r"evaluation under lowpass:0\.5 is of other weights.*Repeat both"):
        degraded_results(compare([told(CLEAN, hashes=("new",))]), {"net": run})


def test_what_was_scored_in_whole_volumes_is_not_set_beside_degraded_slices(run):
    volumes = replace(evaluation("net", CLEAN), slices=(), space=Space("mm", (1.0,)))
    assert degraded_results(compare([volumes]), {"net": run}) == ()


def test_the_report_has_their_table_their_picture_and_every_digit_as_csv(run, tmp_path):
    write_report([evaluation("net", CLEAN), evaluation("other", BLURRED)], out=tmp_path / "report", runs={"net": run})
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Degraded images" in page
    assert "<b>lowpass</b> share of k-space kept along each axis" in page
    assert "lowpass 0.75" in page
    assert "0.600" in page  # the mean of BLURRED
    assert "−0.183" in page  # what it lost
    rows = list(csv.DictReader((tmp_path / "report" / "robustness.csv").read_text().splitlines()))
    assert [(row["name"], row["kind"], row["severity"]) for row in rows] == [
        ("net", "lowpass", s) for s in ("0.75", "0.5")
    ]
    assert float(rows[1]["dice"]) == pytest.approx(np.mean(BLURRED))


def test_a_report_without_degraded_evaluations_has_no_such_section(tmp_path):
    write_report([evaluation("net", CLEAN)], out=tmp_path / "report")
    assert "Degraded images" not in (tmp_path / "report" / "report.html").read_text()
    assert not (tmp_path / "report" / "robustness.csv").exists()


def test_a_folder_without_degraded_evaluations_has_none(tmp_path):
    evaluation("net", CLEAN).save(tmp_path / "evaluation-test")
    evaluation("net", CLEAN).save(tmp_path / "evaluation-test-again")
    assert degraded_evaluations(tmp_path, "test") == {}
