"""The collector of ablations on small runs whose scores are known."""

import csv
from dataclasses import replace
from pathlib import Path

import collect
import numpy as np
import pytest
from ablation_spec import read_spec, run_folder
from report_samples import evaluation

from segmed.core.errors import DataError
from segmed.data.degrade import Degradation
from segmed.evaluation.provenance import Provenance

SPEC = """
title: known scores
seeds: [0, 1]
variants:
  plain: {recipe: unet-cpu}
  better: {recipe: unet-cpu, against: plain, set: {ema_decay: 0.9}}
"""
PLAIN = ((0.5, 0.6, 0.7, 0.4, 0.5, 0.6, 0.5, 0.3), (0.7, 0.6, 0.5, 0.6, 0.5, 0.4, 0.5, 0.5))
GAIN = 0.1


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(SPEC)
    for seed, dice in enumerate(PLAIN):
        for name, scores in (("plain", dice), ("better", tuple(each + GAIN for each in dice))):
            run = run_folder(tmp_path, name, seed)
            evaluation(name, scores).save(run / "evaluation-test")
            worse = replace(
                evaluation(name, [each / 2 for each in scores]),
                provenance=Provenance(degradation=Degradation("noise", 0.1)),
            )
            worse.save(run / "evaluation-test-noise-0.1")
            rows = [f"{epoch},{0.1 * (epoch + 1) + (0.2 if name == 'better' else 0)}" for epoch in range(5)]
            (run / "metrics.csv").write_text("\n".join(["epoch,validation/dice", *rows]) + "\n")
    return tmp_path


def run(study: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["collect.py", str(study)])
    return collect.main()


def test_scores_are_averaged_over_seeds_then_over_patients_and_tested_by_patient(study: Path) -> None:
    spec = read_spec(study / "spec.yaml")
    plain, better = collect.compare_variants(spec, collect.read_scores(spec, study, "test")["dice"])
    assert plain.mean == pytest.approx(np.mean(PLAIN))
    assert plain.by_seed == pytest.approx([np.mean(dice) for dice in PLAIN])
    assert plain.test is None
    assert better.test.difference == pytest.approx(GAIN)
    assert (better.test.low, better.test.high) == pytest.approx((GAIN, GAIN))
    assert better.test.p_value == better.p_holm == pytest.approx(2 / 2**8)
    assert better.test.n == 8


def test_the_interval_in_braces_is_wider_by_what_seeds_differ(study: Path) -> None:
    spec = read_spec(study / "spec.yaml")
    better = collect.compare_variants(spec, collect.read_scores(spec, study, "test")["dice"])[1]
    assert better.test.low == pytest.approx(GAIN)
    assert better.wide[0] < GAIN - 0.01 < GAIN + 0.01 < better.wide[1]


def test_tables_and_picture_are_written(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(study, monkeypatch) == 0
    text = (study / "study.md").read_text()
    assert "| better | 2 | 0.625" in text
    assert "| plain | +0.100 [+0.100, +0.100]" in text
    assert "## Images degraded: noise:0.1" in text
    assert "+0.050 [+0.050, +0.050]" in text
    assert "Not all seeds" not in text
    assert "## IoU of each patient's volume" in text
    assert "| HD95 |" in text
    rows = list(csv.DictReader((study / "study.csv").read_text().splitlines()))
    assert float(rows[1]["difference"]) == pytest.approx(GAIN)
    assert (study / "curves.png").stat().st_size > 5000
    assert (study / "degraded.png").stat().st_size > 5000


def test_learning_is_told_by_area_end_and_epochs_to_the_others_level(study: Path) -> None:
    spec = read_spec(study / "spec.yaml")
    text = collect.learning_table(spec, collect.read_histories(spec, study))
    assert "| plain | 2 | 0.300 ± 0.000 | 0.500 ± 0.000 | 5 |" in text
    assert "| better | 2 | 0.500 ± 0.000 | 0.700 ± 0.000 | 3 |" in text


def test_a_study_half_done_is_compared_on_the_seeds_that_both_have(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_folder(study, "better", 1) / "evaluation-test" / "evaluation.json").unlink()
    assert run(study, monkeypatch) == 0
    text = (study / "study.md").read_text()
    assert "Not all seeds are finished: better (1 of 2)" in text
    assert "+0.100 [+0.100, +0.100]" in text


def test_variants_that_are_not_trained_yet_are_left_out(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (study / "spec.yaml").open("a") as file:
        file.write("  later: {recipe: pan-cpu}\n  later-too: {recipe: pan-cpu, against: later}\n")
    assert run(study, monkeypatch) == 0
    assert "later" not in (study / "learning.md").read_text()
    assert (study / "curves.png").stat().st_size > 5000


def test_runs_on_other_cases_are_not_collected_together(study: Path) -> None:
    evaluation("better", PLAIN[0][:5]).save(run_folder(study, "better", 1) / "evaluation-test")
    with pytest.raises(DataError, match="better seed 1 and the study's first run cannot be compared"):
        collect.read_scores(read_spec(study / "spec.yaml"), study, "test")


def test_a_study_without_evaluations_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    with pytest.raises(DataError, match="holds no finished evaluation-test"):
        collect.read_scores(read_spec(tmp_path / "spec.yaml"), tmp_path, "test")
