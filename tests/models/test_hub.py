"""The hub is meant by `hf:owner/name` alone: no other name, however mistyped, is looked for there."""

import logging
from pathlib import Path

import huggingface_hub
import pytest
from typer.testing import CliRunner

from segmed.cli.main import app
from segmed.core.errors import ModelError
from segmed.inference import load
from segmed.models.checkpoint import load_config
from segmed.models.config import ModelConfig
from segmed.models.hub import hub_id, require_local
from segmed.models.zoo import build_model


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the hub, which has nothing."""
    names: list[str] = []

    def nothing(name: str, **_: object) -> str:
        names.append(name)
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s")
        raise OSError("Cannot reach the hub.\nLast attempt of five.")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", nothing)
    return names


def test_only_the_prefix_names_the_hub() -> None:
    assert hub_id("hf:owner/name") == "owner/name"
    assert hub_id(Path("hf:owner/na.me-2_b")) == "owner/na.me-2_b"
    assert [hub_id(path) for path in ("runs/unet", "owner/name", "/runs/unet", "hub")] == [None] * 4


@pytest.mark.parametrize("name", ["hf:unet", "hf:", "hf:a/b/c", "hf:/a/b", "hf:../b", "hf:a/..", "hf:a b/c"])
def test_another_form_behind_the_prefix_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="a model of the hub is written hf:owner/name"):
        hub_id(name)


@pytest.mark.parametrize("read", [load, load_config])
def test_a_mistyped_path_is_one_line_and_is_not_looked_for_on_the_hub(read: object, asked: list[str]) -> None:
    with pytest.raises(
        ModelError, match=r"^runs/unet: there is no such folder\. Check the path; a model of the hub is"
    ):
        read("runs/unet")  # type: ignore[operator]
    assert asked == []


def test_a_mistyped_file_of_weights_is_not_looked_for_on_the_hub(asked: list[str]) -> None:
    with pytest.raises(ModelError, match=r"sam-vit-b has no weights 'weights/sam'.*hf:owner/name"):
        build_model(ModelConfig(name="sam-vit-b", encoder_weights="weights/sam"))
    assert asked == []


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "runs/typo", "{here}", "-o", "{here}/out"],
        ["evaluate", "runs/typo", "--data", "{here}"],
        ["features", "runs/typo", "{here}/x.png", "-o", "{here}/out.png"],
        ["tune", "runs/typo", "--data", "{here}"],
        ["ensemble", "runs/typo", "runs/other", "--data", "{here}", "-o", "{here}/out"],
    ],
)
def test_every_command_says_that_a_mistyped_run_is_not_there(
    command: list[str], asked: list[str], tmp_path: Path
) -> None:
    (tmp_path / "x.png").touch()
    result = CliRunner().invoke(app, [word.format(here=tmp_path) for word in command])
    assert isinstance(result.exception, ModelError)
    assert str(result.exception).startswith("runs/typo: there is no such folder.")
    assert asked == []


def test_the_hub_is_asked_where_it_is_named_and_its_retries_are_not_shown(
    asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ModelError, match=r"hf:owner/name: not reachable on the hub \(Cannot reach the hub\)"):
        load("hf:owner/name")
    with pytest.raises(ModelError, match="owner/weights of sam-vit-b are not here"):
        build_model(ModelConfig(name="sam-vit-b", encoder_weights="hf:owner/weights"))
    assert asked == ["owner/name", "owner/weights"]
    assert caplog.records == []


def test_what_writes_into_a_run_takes_none_of_the_hub(tmp_path: Path) -> None:
    require_local(tmp_path)
    with pytest.raises(ModelError, match="is on the hub, and a run's folder here is needed"):
        require_local("hf:owner/name")
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"is a file\. Give the folder of a run"):
        require_local(tmp_path / "file")
