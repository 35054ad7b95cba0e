"""Downloading, with a stand-in for kagglehub: no test touches the network."""

import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from segmed.core.errors import DataError, MissingDependencyError
from segmed.data.get import find_download, get_lgg
from segmed.data.sources import open_dataset

STUDY = "TCGA_DU_0001_19990101"


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A fake kagglehub whose download is the doubled tree; the list fills with the handles asked for."""
    cache = tmp_path / "cache"
    study = cache / "kaggle_3m" / STUDY
    study.mkdir(parents=True)
    for name in (f"{STUDY}_1.tif", f"{STUDY}_1_mask.tif", f"{STUDY}_2.tif", f"{STUDY}_2_mask.tif"):
        (study / name).write_text(name)
    (cache / "kaggle_3m" / "data.csv").write_text("Patient,age\nTCGA_DU_0001,40\n")
    shutil.copytree(cache / "kaggle_3m", cache / "lgg-mri-segmentation" / "kaggle_3m")
    asked: list[str] = []

    def dataset_download(handle: str) -> str:
        asked.append(handle)
        return str(cache)

    module = ModuleType("kagglehub")
    module.dataset_download = dataset_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return asked


def test_without_a_destination_the_data_stays_in_the_cache(kaggle: list[str], tmp_path: Path) -> None:
    assert get_lgg() == tmp_path / "cache"
    assert kaggle == ["mateuszbuda/lgg-mri-segmentation"]


def test_each_slice_is_copied_once_with_the_clinical_table(kaggle: list[str], tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    folder = get_lgg(tmp_path / "lgg", progress=lambda done, total: steps.append((done, total)))
    assert folder == tmp_path / "lgg" / "kaggle_3m"
    assert len(list(folder.rglob("*.tif"))) == 4
    assert open_dataset(folder).attributes["TCGA_DU_0001"]["age"] == "40"
    assert steps == [(1, 2), (2, 2)]


def test_data_that_is_there_is_not_downloaded_again(kaggle: list[str], tmp_path: Path) -> None:
    get_lgg(tmp_path / "lgg")
    get_lgg(tmp_path / "lgg")
    assert len(kaggle) == 1


def test_a_folder_that_holds_something_else_is_left_alone(kaggle: list[str], tmp_path: Path) -> None:
    (tmp_path / "lgg" / "kaggle_3m").mkdir(parents=True)
    (tmp_path / "lgg" / "kaggle_3m" / "mine.txt").touch()
    with pytest.raises(DataError, match="holds something else than the LGG set"):
        get_lgg(tmp_path / "lgg")
    assert kaggle == []


def test_an_interrupted_copy_leaves_nothing(kaggle: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DataError, match=r"kaggle_3m: cannot be written \(No space left on device\)"):
        get_lgg(tmp_path / "lgg")
    assert list((tmp_path / "lgg").iterdir()) == []


def test_a_failed_download_says_in_one_line_how_to_do_it_by_hand(
    kaggle: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: str) -> str:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(sys.modules["kagglehub"], "dataset_download", refuse)
    with pytest.raises(DataError, match=r"no route to host.*By hand: .*unzip the archive, and point --data") as caught:
        get_lgg(tmp_path / "lgg")
    assert "mateuszbuda/lgg-mri-segmentation" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_kagglehub_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "segmed-torch\[get\]"'):
        get_lgg()


def test_the_licence_forbids_commercial_use_in_words() -> None:
    assert "CC BY-NC-SA 4.0" in find_download("lgg").licence
    assert "no commercial use" in find_download("lgg").licence


def test_an_unknown_data_set_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"Unknown data set 'brats'\. Choose one of: lgg"):
        find_download("brats")
