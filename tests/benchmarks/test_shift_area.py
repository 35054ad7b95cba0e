"""The area under Dice against severity, on small runs whose scores are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shift_area
from ablation_spec import run_folder
from report_samples import evaluation

from segmed.data.degrade import parse_degradations
from segmed.evaluation.provenance import Provenance

SPEC = """
title: known areas
seeds: [0, 1]
degrade: ["ringnoise:0.05", "ringnoise:0.2"]
variants:
  plain: {recipe: unet-cpu}
  adaptive: {recipe: unet-cpu, against: plain, set: {ema_decay: 0.9}}
"""
CLEAN = np.array([0.8, 0.9, 0.7, 0.85])
WORSE = {
    "plain": {"": 0.0, "ringnoise:0.05": 0.2, "ringnoise:0.2": 0.4},
    "adaptive": {"": 0.0, "ringnoise:0.05": 0.1, "ringnoise:0.2": 0.12},
}


def write_run(
    study: Path, variant: str, seed: int, shifts: tuple[str, ...] = ("", "ringnoise:0.05", "ringnoise:0.2")
) -> None:
    for shift in shifts:
        scores = evaluation(variant, (CLEAN - WORSE[variant][shift]).tolist())
        folder = run_folder(study, variant, seed) / f"evaluation-test{'-' if shift else ''}{shift.replace(':', '-')}"
        replace(scores, provenance=Provenance(degradation=parse_degradations(shift)[0] if shift else None)).save(folder)


def printed(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, str]:
    (study / "spec.yaml").write_text(SPEC)
    monkeypatch.setattr("sys.argv", ["shift_area.py", str(study), *options])
    code = shift_area.main()
    said = capsys.readouterr()
    return code, said.out + said.err


def test_the_area_is_the_trapezoids_mean_over_severities_from_none_to_the_worst() -> None:
    dice = np.array([1.0, 0.8, 0.4])[:, None, None]
    by_hand = (0.05 * 0.9 + 0.15 * 0.6) / 0.2
    assert shift_area.area(np.array([0.0, 0.05, 0.2]), dice) == pytest.approx(by_hand)


def test_a_variant_is_compared_in_area_and_at_the_worst_severity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variant in WORSE:
        write_run(tmp_path, variant, 0)
    code, text = printed(tmp_path, monkeypatch, capsys)
    lost = {"plain": (0.05 * 0.1 + 0.15 * 0.3) / 0.2, "adaptive": (0.05 * 0.05 + 0.15 * 0.11) / 0.2}
    gain = lost["plain"] - lost["adaptive"]
    assert code == 0
    assert f"| ringnoise | adaptive | 1 | {CLEAN.mean() - lost['adaptive']:.3f} [" in text
    assert f"| plain (1) | {gain:+.3f} [{gain:+.3f}, {gain:+.3f}] | +0.280 [+0.280, +0.280] | go on |" in text


def test_a_gain_that_cannot_reach_the_stated_size_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(WORSE, "adaptive", WORSE["plain"])
    for variant in WORSE:
        write_run(tmp_path, variant, 0)
    assert "| +0.000 [+0.000, +0.000] | stop |" in printed(tmp_path, monkeypatch, capsys)[1]


def test_a_seed_without_all_severities_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variant in WORSE:
        write_run(tmp_path, variant, 0)
    write_run(tmp_path, "plain", 1)
    write_run(tmp_path, "adaptive", 1, ("", "ringnoise:0.05"))
    text = printed(tmp_path, monkeypatch, capsys)[1]
    assert "| ringnoise | plain | 2 |" in text
    assert "| ringnoise | adaptive | 1 |" in text


def test_a_kind_that_the_study_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, "plain", 0)
    code, text = printed(tmp_path, monkeypatch, capsys, "--kinds", "bandgain")
    assert code == 1
    assert "no shift 'bandgain'. Choose from: ringnoise." in text
