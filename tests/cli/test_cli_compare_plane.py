"""The data that was scored is opened for pictures as the run cut it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from report_samples import evaluation

from bright_run import bright
from segmed.cli.compare import _plane_of, _scored_data
from segmed.core.files import write_json
from segmed.core.volume import Grid, Volume
from segmed.data.decoded import decode
from segmed.data.sources import open_dataset
from segmed.evaluation.provenance import Provenance
from segmed.io.volumes import write_volume
from segmed.models.checkpoint import CONFIG

GRID = Grid((3, 7, 5), np.array([[0, 0.5, 0, 7], [0, 0, -2, 9], [4.0, 0, 0, -3], [0, 0, 0, 1]]))


def test_volumes_are_opened_for_pictures_along_the_plane_of_the_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "cache"))
    values = np.arange(np.prod(GRID.shape), dtype=np.uint8).reshape(GRID.shape)
    for name, array in (("images", values), ("masks", (values > 50).astype(np.uint8))):
        (tmp_path / "data" / name).mkdir(parents=True)
        write_volume(tmp_path / "data" / name / "a.nii.gz", Volume(array, GRID))
    config = bright(tmp_path).config
    config = replace(config, preprocess=replace(config.preprocess, plane="coronal"))
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / CONFIG, config.to_json())
    cut = decode(open_dataset(tmp_path / "data", plane="coronal"))
    told = {
        "data_hash": cut.data_hash,
        "labels": cut.dataset.labels,
        "provenance": Provenance(data=str(tmp_path / "data")),
    }
    scored = evaluation("unet", [0.5], **told)
    assert _plane_of({"unet": tmp_path / "run"}) == "coronal"
    assert _plane_of({"unet": tmp_path}) == "acquired"
    found = _scored_data([scored], None, "coronal")
    assert found is not None
    assert [record.slice_id for record in found.dataset.records] == [record.slice_id for record in cut.dataset.records]
    assert _scored_data([scored], None, "acquired") is None
