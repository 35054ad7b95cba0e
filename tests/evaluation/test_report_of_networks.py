"""The report's pictures of what is inside networks: learned filters and upsampled features, where runs have them."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from report_samples import Pictures, evaluation

from segmed.core.labels import LabelMap
from segmed.evaluation.compare import compare
from segmed.evaluation.report.page import build_page, render
from segmed.layers.gafl import GaflConfig
from segmed.models.checkpoint import RunConfig, save_run
from segmed.models.config import ModelConfig
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig

UNET = ModelConfig(name="unet", encoder="resnet18", encoder_weights="none", channels=3)
MODELS = {
    "plain": UNET,
    "featup": replace(UNET, upsampler="jbu"),
    "control": replace(UNET, upsampler="bilinear-control"),
    "gafl": replace(UNET, gafl=GaflConfig()),
}
SYSTEMS = compare([evaluation(name, (0.8, 0.6 + 0.01 * place)) for place, name in enumerate(MODELS)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for name, model in MODELS.items():
        config = RunConfig(model, PreprocessConfig(size=(64, 64)), LabelMap(), threshold=0.5)
        save_run(folder / name, build_model(model), config)
    return {name: folder / name for name in MODELS}


def section(runs: dict[str, Path], name: str, images: Pictures | None) -> str:
    """A section of the page, empty where the page has none of that name."""
    html = render(build_page(SYSTEMS, pictures=images, runs=runs, written=datetime(2026, 1, 1, tzinfo=UTC)))
    return html.partition(f'<section id="{name}"')[2].partition("</section>")[0]


def test_features_are_drawn_for_systems_with_featup_and_not_for_its_control(runs: dict[str, Path]) -> None:
    found = section(runs, "features", Pictures())
    assert [name for name in MODELS if f"Features of {name} " in found] == ["featup"]
    assert found.count("data:image/png;base64,") == 1


def test_filters_are_drawn_for_systems_with_one(runs: dict[str, Path]) -> None:
    found = section(runs, "filters", Pictures())
    assert [name for name in MODELS if f"Learned filter of {name}:" in found] == ["gafl"]
    assert "spectrum, radial, on the input" in found


def test_without_pictures_of_patients_filters_are_drawn_and_features_are_not(runs: dict[str, Path]) -> None:
    assert "Learned filter of gafl" in section(runs, "filters", None)
    assert not section(runs, "features", None)


def test_an_ensemble_has_neither_features_nor_a_filter_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "ensemble.json").write_text("{}")
    folders = {"featup": tmp_path, "plain": tmp_path / "gone"}
    assert not section(folders, "features", Pictures())
    assert not section(folders, "filters", Pictures())
