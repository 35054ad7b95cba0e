"""No command that writes a file takes the place of one that is there, unless --overwrite is said."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bright_run import save, written
from commands import segmed
from segmed.cli.main import app
from segmed.core.errors import DataError
from segmed.core.files import require_new

COMMANDS: list[tuple[list[str], str]] = [
    (["data", "split", "{data}", "--out", "{there}.json"], ".json"),
    (["data", "manifest", "{data}", "--out", "{there}.csv"], ".csv"),
    (["data", "convert", "{data}/scan.nii", "--out", "{there}.nrrd"], ".nrrd"),
    (["data", "preview", "{data}", "--out", "{there}.png"], ".png"),
    (["data", "check", "{data}", "--write-hashes", "{there}.csv"], ".csv"),
    (["convert", "{data}/sam.pth", "--out", "{there}.safetensors"], ".safetensors"),
    (["convert", "{data}/sam.pth", "--out", "{there}.safetensors"], ".json"),
    (["convert", "{data}/r18.pth", "--encoder", "resnet18", "--out", "{there}.safetensors"], ".safetensors"),
    (["features", "runs/x", "{data}/images/p0_1.png", "--out", "{there}.png"], ".png"),
    (["filters", "runs/x", "--out", "{folder}"], ".png"),
]


@pytest.mark.parametrize(
    ("command", "ending"), COMMANDS, ids=lambda value: value if isinstance(value, str) else value[0]
)
def test_a_file_that_is_there_is_kept(command: list[str], ending: str, tmp_path: Path) -> None:
    data, there = written(tmp_path / "in", masks=True), tmp_path / f"filter{ending}"
    there.write_text("mine")
    words = [word.format(data=data, there=tmp_path / "filter", folder=tmp_path) for word in command]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, DataError)
    assert str(result.exception).startswith(f"{there}: exists already. Choose another name, or say --overwrite")
    assert there.read_text() == "mine"


@pytest.mark.parametrize("option", ["--overwrite", "--force"])
def test_it_is_replaced_where_that_is_said(option: str, tmp_path: Path) -> None:
    data, there = written(tmp_path / "in", masks=True), tmp_path / "sheet.png"
    save(data / "masks" / "p0_1.png", np.full((13, 18), 255, np.uint8))
    there.write_text("mine")
    segmed("data", "preview", data, "-o", there, "--rows", "1", option)
    assert there.read_bytes().startswith(b"\x89PNG")


def test_folders_and_links_are_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, where a file is to be written"):
        require_new(tmp_path, overwrite=True)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a symbolic link"):
        require_new(tmp_path / "link", overwrite=True)
    require_new(tmp_path / "new", tmp_path / "other")
