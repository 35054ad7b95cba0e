"""Rows of the study that begin with published weights begin with them whatever they add to the network."""

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from segmed.data.splits import split_by_patient
from segmed.models.config import ModelConfig
from segmed.models.sam.key_mapping import OURS, renamed_all
from segmed.models.sam_config import SamConfig, VitConfig
from segmed.models.zoo import build_model
from segmed.study.jobs import make_jobs
from segmed.study.settings import StudySettings
from segmed.study.systems import SYSTEMS
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
