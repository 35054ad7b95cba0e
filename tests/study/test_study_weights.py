"""Rows of the study that begin with published weights begin with them whatever they add to the network."""

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from segmed.core.errors import ConfigError
from segmed.data.splits import split_by_patient
from segmed.evaluation import tune_cascade
from segmed.models.config import ModelConfig
from segmed.models.sam.key_mapping import OURS, renamed_all
from segmed.models.sam_config import SamConfig, VitConfig
from segmed.models.zoo import build_model
from segmed.study import StudySettings, run_study
from segmed.study.jobs import make_jobs
from segmed.study.page import write_page
from segmed.study.results import collect
from segmed.study.systems import SYSTEMS
from segmed.training import Hardware
from segmed.training.warm_start import initial_model
from toydata import toy

VIT = "{width: 32, depth: 2, heads: 2, global_layers: [1], window: 3}"
ROWS = [name for name, row in SYSTEMS.items() if row.recipe == "medsam"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MedSAM small enough for tests, with nothing added, under transformers' names."""
    vit = VitConfig(width=32, depth=2, heads=2, global_layers=(1,), window=3)
    plain = SamConfig(size=64, vit=vit, box_map=False, promptless_tokens=0, presence=False)
    model = build_model(ModelConfig(name="medsam", encoder_weights="none", sam=plain))
    path = tmp_path_factory.mktemp("weights") / "medsam.safetensors"
    save_file(renamed_all(model.state_dict(), OURS, back=True), path)
    return path


@pytest.mark.parametrize("row", ROWS)
def test_every_medsam_row_begins_with_the_published_weights(row: str, weights: Path, tmp_path: Path) -> None:
    small = ("model.sam.size=64", "preprocess.size=[64,64]", f"model.sam.vit={VIT}")
    at_half = any(each.startswith("model.sam.encode_at") for each in SYSTEMS[row].changes)
    changes = (*small, f"model.encoder_weights={weights}", *(["model.sam.encode_at=32"] if at_half else []))
    settings = StudySettings(protocol="patient", budget="full", systems=(row,), changes=changes)
    job = make_jobs(settings, {"patient": split_by_patient(toy(tmp_path), folds=2)}, channels=3)[0]
    state = initial_model(job.recipe).state_dict()
    published = renamed_all(load_file(weights), OURS)
    others = {name.rpartition(".")[2] for name, tensor in published.items() if not state[name].equal(tensor)}
    # positions alone, which are brought to the grid of the smaller image
    assert others == ({"pos_embed", "rel_pos_h", "rel_pos_w"} if at_half else set())


def published_settings(weights: Path, *systems: str) -> StudySettings:
    own = ("model.sam.size=64", "preprocess.size=[64,64]", f"model.sam.vit={VIT}", f"model.encoder_weights={weights}")
    of_row = tuple(f"medsam-published:{each}" for each in own)
    brief = ("epochs=1", "sampling.steps_per_epoch=1", "sampling.batch_size=2")
    return StudySettings(
        protocol="patient", budget="smoke", systems=systems, folds=2, seeds=2, changes=(*brief, *of_row), pictures=False
    )


def test_published_weights_are_one_run_for_all_folds_and_seeds_and_asked_once_where_no_seed_matters(
    weights: Path, tmp_path: Path
) -> None:
    settings = published_settings(weights, "medsam-published", "medsam-published-cascade")
    jobs = make_jobs(settings, {"patient": split_by_patient(toy(tmp_path), folds=2)}, channels=3)
    runs = {row: {job.folder(tmp_path) for job in jobs if job.row == row} for row in ("medsam-published", "unet")}
    assert len(runs["medsam-published"]) == 1
    assert runs["medsam-published"] == {job.folder(tmp_path) for job in jobs if job.row == "medsam-published-cascade"}
    seeds = {job.row: sorted({each.seed for each in jobs if each.row == job.row}) for job in jobs}
    assert seeds == {"unet": [0, 1], "medsam-published": [0], "medsam-published-cascade": [0, 1]}
    assert len({job.evaluation(tmp_path) for job in jobs}) == len(jobs)


def test_a_study_scores_published_weights_beside_what_it_trains_and_says_whose_training_is_unknown(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune_cascade, "SIZES", tune_cascade.SIZES[:1])
    monkeypatch.setattr(tune_cascade, "MARGINS", tune_cascade.MARGINS[:1])
    monkeypatch.setattr(tune_cascade, "SHARES", tune_cascade.SHARES[:1])
    settings = published_settings(weights, "medsam-published", "medsam-published-5", "medsam-published-cascade")
    settings = replace(settings, seeds=1)
    data = toy(tmp_path / "data", patients=4, slices=2)
    study = run_study(
        data, settings, tmp_path / "out", hardware=Hardware(accelerator="cpu"), measure=False, resamples=100
    )
    assert study.failures == {}
    assert study.pending == ()
    results = collect(study, resamples=100)
    assert [each.name for each in results.given_boxes] == [
        "MedSAM as published, given boxes", "MedSAM as published, boxes off by up to 5 px",
    ]  # fmt: skip
    assert {each.name: each.training_known for each in results.ranked} == {
        "U-Net": True, "U-Net, then MedSAM as published": False,
    }  # fmt: skip
    page = write_page(study, resamples=100).read_text()
    assert "TRAINING UNKNOWN: whether U-Net, then MedSAM as published or MedSAM as published, given boxes" in page
    assert "trained on BraTS" in page
    run = study.out / "runs" / "patient" / "medsam-published" / "as-published"
    (run / "config.json").unlink()  # as after a kill between weights and config
    again = run_study(
        data, settings, tmp_path / "out", resume=True, hardware=Hardware(accelerator="cpu"), measure=True,
        resamples=100,
    )  # fmt: skip
    assert (again.failures, again.pending) == ({}, ())
    other = replace(settings, changes=(*settings.changes, "medsam-published:threshold=0.4"))
    with pytest.raises(ConfigError, match="was begun with another changes"):
        run_study(data, other, tmp_path / "out", resume=True, measure=False)
