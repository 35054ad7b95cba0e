"""The probe of frozen features: what it learns from maps that show the tumour, what is kept, and the table."""

from dataclasses import asdict, replace
from pathlib import Path

import featup_probe
import numpy as np
import pytest
import torch
from featup_probe import ARMS, Scores, Unit, share_of_peak, table, unit
from probe_maps import CHANNELS, Maps, Part

from segmed.core.files import write_json


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("STEPS", 3), ("PROBE_STEPS", 60), ("PROBE_CELLS", 256)):
        monkeypatch.setattr(featup_probe, name, value)


def made_up() -> Maps:
    """Six slices of two patients, maps of 16 cells a side for a grid of 64, whose first channel is 4 in the tumour."""
    generator = torch.Generator().manual_seed(0)
    features = 0.1 * torch.randn(6, CHANNELS, 16, 16, generator=generator)
    masks = torch.zeros(6, 64, 64, dtype=torch.bool)
    for index in range(6):
        masks[index, 16:48, 16 * (index % 3) : 16 * (index % 3) + 16] = True
        features[index, 0, 4:12, 4 * (index % 3) : 4 * (index % 3) + 4] += 4
    share = torch.nn.functional.adaptive_avg_pool2d(masks[:, None].float(), 64)[:, 0]
    part = Part(
        features.half(), torch.rand(6, 3, 64, 64, generator=generator).half(), share.half(), masks, tuple("aabbbb")
    )
    return Maps(part, part, torch.nn.functional.interpolate(features, (64, 64))[:4].half())


@pytest.mark.parametrize("arm", ["bilinear", "bilinear-control", "jbu", "jbu-constant"])
def test_every_arm_finds_a_tumour_that_the_features_show(arm: str, short: None, tmp_path: Path) -> None:
    found = unit(made_up(), arm, 0, weights=tmp_path / "upsampler.safetensors")
    assert min(found.linear.dice.values()) > 0.75
    assert min(found.two_layer.dice.values()) > 0.75
    assert found.linear.reference_px == {"a": 1024, "b": 2048}
    assert (tmp_path / "upsampler.safetensors").is_file() == (arm != "bilinear")


def test_a_seed_gives_the_same_scores_again(short: None, tmp_path: Path) -> None:
    first, second = (unit(made_up(), "jbu", 1, weights=tmp_path / "jbu.safetensors") for _ in range(2))
    assert first == second


def test_the_step_size_rises_falls_and_never_ends() -> None:
    shares = [share_of_peak(step, 100) for step in range(100)]
    assert max(shares) == shares[9] == 1
    assert 0.01 <= shares[-1] < 0.02


def test_the_table_compares_with_the_control_over_seeds_that_every_fold_has(tmp_path: Path) -> None:
    base = Scores(
        {f"p{i}": 0.5 + 0.01 * i for i in range(6)}, {f"p{i}": 0.6 for i in range(6)}, {f"p{i}": i for i in range(6)}
    )
    (tmp_path / "fold-0").mkdir()
    for arm, more in (("bilinear-control", 0.0), ("jbu", 0.1)):
        for seed in range(3):
            better = replace(
                base, nsd={patient: value + more for patient, value in base.nsd.items() if value is not None}
            )
            unit_of = Unit(better, better, None)
            write_json(tmp_path / "fold-0" / f"{arm}-seed-{seed}.json", asdict(unit_of))
    lines = table(tmp_path).splitlines()
    jbu = next(line for line in lines if line.startswith("| linear | jbu |"))
    assert "| 3 |" in jbu
    assert "+0.100 [+0.100, +0.100]" in jbu
    assert not any(f"| {arm} |" in line for arm in set(ARMS) - {"jbu", "bilinear-control"} for line in lines)
    control = next(
        line for line in table(tmp_path, "jbu").splitlines() if line.startswith("| linear | bilinear-control")
    )
    assert "-0.100 [-0.100, -0.100]" in control


def test_probabilities_are_kept_apart_from_other_cells() -> None:
    probe = torch.nn.Linear(CHANNELS, 1)
    maps = torch.randn(1, CHANNELS, 4, 4)
    changed = maps.clone()
    changed[..., 0, 0] += 5
    before, after = (featup_probe.probabilities(probe, each, 4).numpy() for each in (maps, changed))
    assert np.count_nonzero(before != after) == 1
