"""Where an evaluation's numbers come from: what decides something is a field, in files of earlier versions too."""

import json
from pathlib import Path

import pytest

from segmed.core.errors import DataError
from segmed.data.degrade import Degradation
from segmed.evaluation.provenance import Bootstrap, Provenance, ReferenceFiles, read_provenance
from segmed.models.prediction import PredictionConfig
from segmed.models.training_facts import TrainingFacts

FULL = Provenance(
    bootstrap=Bootstrap(200, "image", seed=3),
    volumes=4,
    data="phantom",
    run="runs/unet",
    system="unet",
    remark="Nothing.",
    degradation=Degradation("noise", 0.1),
    training=TrainingFacts(seconds=2.5, runs=(TrainingFacts(seconds=1.0), TrainingFacts(seconds=1.5))),
    prediction=PredictionConfig(tta="mirror", smallest_in_slice=3, smallest_in_volume=5, smallest_share=0.25),
    device="cuda:1",
    dice_of_seeds=(0.5, 0.75),
    references=ReferenceFiles("labelsTs", {"tumour": 2}),
    others={"commit": "abc", "batch_size": 8},
)


def test_a_provenance_is_the_same_after_json() -> None:
    assert Provenance.from_json(json.loads(json.dumps(FULL.to_json()))) == FULL
    assert Provenance.from_json(Provenance().to_json()) == Provenance()


def test_what_is_not_told_is_not_written() -> None:
    assert Provenance(run="runs/a").to_json() == {"run": "runs/a"}


def test_an_early_evaluation_says_with_true_that_there_were_flips() -> None:
    told = {"test_time_flips": True, "smallest_component": {"pixels in slice": 9}}
    assert Provenance.from_json(told).prediction == PredictionConfig(tta="flips", smallest_in_slice=9)


@pytest.mark.parametrize(("device", "on_gpu"), [("cuda", True), ("cuda:3", True), ("cpu", False), (None, False)])
def test_a_gpu_is_known_by_the_devices_type(device: str | None, on_gpu: bool) -> None:
    assert Provenance(device=device).on_gpu is on_gpu


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({"degradation": "all"}, "no one degradation"),
        ({"degradation": "sharpness:3"}, "sharpness:3: unknown"),
        ({"test_time_flips": "twice"}, "'twice' is unknown"),
        ({"test_time_augmentation": "twice"}, "'twice' is unknown"),
        ({"bootstrap": {"resamples": 9, "draws": 3}}, "draws"),
    ],
)
def test_a_value_that_is_never_written_is_refused_by_file(tmp_path: Path, told: object, problem: str) -> None:
    file = tmp_path / "evaluation.json"
    file.write_text(json.dumps({"provenance": told}))
    with pytest.raises(DataError, match=rf"evaluation\.json: its provenance.*{problem}.*Run `segmed evaluate` again"):
        read_provenance(file)
