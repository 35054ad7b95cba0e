"""No command writes or removes anything through a symbolic link, and all say so before any work is done."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from segmed.cli.main import app
from segmed.core.errors import DataError
from segmed.data.phantom import write_phantom

COMMANDS = [
    ["study", "{data}", "-o", "{out}"],
    ["oof", "unet-cpu", "--data", "{data}", "--split", "split.json", "-o", "{out}"],
    ["embed", "sam-tiny", "--data", "{data}", "-o", "{out}"],
    ["compare", "a", "b", "-o", "{out}"],
    ["filters", "run", "-o", "{out}"],
    ["ensemble", "a", "b", "-o", "{out}"],
    ["cascade", "a", "b", "-o", "{out}"],
    ["train", "unet-cpu", "--data", "{data}", "--split", "split.json", "-o", "{out}"],
    ["evaluate", "--predictions", "masks", "--references", "{data}", "-o", "{out}"],
    ["demo", "-o", "{out}"],
    ["convert", "sam.pth", "-o", "{out}/below", "--overwrite"],
    ["data", "convert", "{data}", "-o", "{out}/below", "--overwrite"],
    ["data", "split", "{data}", "-o", "{out}/below", "--overwrite"],
    ["data", "manifest", "{data}", "-o", "{out}/below", "--overwrite"],
    ["data", "preview", "{data}", "-o", "{out}/below", "--overwrite"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_a_link_in_the_output_is_refused_before_anything_is_read(command: list[str], tmp_path: Path) -> None:
    out, theirs = tmp_path / "out", tmp_path / "theirs"
    out.mkdir()
    theirs.mkdir()
    (theirs / "mine.png").write_text("mine")
    (out / "below").symlink_to(theirs)
    result = CliRunner().invoke(app, [word.format(out=out, data=tmp_path / "no-data") for word in command])
    assert isinstance(result.exception, DataError)
    assert str(result.exception).startswith(f"{out / 'below'}: is a symbolic link")
    assert (theirs / "mine.png").read_text() == "mine"
    assert [path.name for path in out.iterdir()] == ["below"]


def test_a_phantom_is_not_put_in_place_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "kaggle_3m").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="kaggle_3m: is a symbolic link"):
        write_phantom(tmp_path, patients=1, seed=0)
