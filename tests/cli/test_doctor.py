import json
from pathlib import Path
from typing import Any

import pytest
import typer

from segmed.cli import doctor as module
from segmed.cli.doctor import as_text, doctor, examine, examine_cache, import_problem, installed, needed


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What doctor finds on the machine that runs the tests."""
    return examine()


def test_the_report_names_version_device_and_precision_with_its_reason(report: dict[str, Any]) -> None:
    assert report["packages"]["torch"] == installed("torch")
    assert report["devices"][0]["device"] == "cpu"
    assert report["threads"]["torch"] >= 1
    assert report["precision"]["choice"]
    assert report["precision"]["reason"]


def test_a_healthy_installation_has_no_problem(report: dict[str, Any]) -> None:
    assert report["problems"] == []
    assert as_text(report).endswith("No problem found.")


def test_a_missing_optional_part_is_shown_with_its_pip_command(report: dict[str, Any]) -> None:
    part = {"package": "kagglehub", "for": "`segmed data get`", "version": None, "install": "pip install X"}
    text = as_text({**report, "optional": [part]})
    assert "missing; install with: pip install X" in text


def test_optional_parts_name_the_extra_that_installs_them(report: dict[str, Any]) -> None:
    commands = {part["package"]: part["install"] for part in report["optional"]}
    assert commands["kagglehub"] == 'pip install "segmed-torch[get]"'


def test_a_torchvision_of_another_torch_is_a_problem_with_its_remedy() -> None:
    def load(package: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    problem = import_problem("torchvision", load)
    assert problem is not None
    assert "nms does not exist" in problem
    assert "pip install --force-reinstall torch torchvision" in problem


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "not" / "made"))
    cache = examine_cache()
    assert cache["folder"] == str(tmp_path / "not" / "made")
    assert cache["set_by"] == "SEGMED_CACHE"
    assert cache["writable"] is True
    assert not (tmp_path / "not").exists()


def test_a_cache_that_cannot_be_written_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "file" / "cache"))
    assert examine_cache()["writable"] is False


def test_json_is_the_same_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], report: dict[str, Any]
) -> None:
    monkeypatch.setattr(module, "examine", lambda: report)
    doctor(as_json=True)
    assert json.loads(capsys.readouterr().out) == report


def test_a_problem_is_printed_and_gives_exit_code_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], report: dict[str, Any]
) -> None:
    monkeypatch.setattr(module, "examine", lambda: {**report, "problems": ["torch: cannot be imported"]})
    with pytest.raises(typer.Exit) as exit_info:
        doctor(as_json=False)
    assert exit_info.value.exit_code == 1
    assert "Problem: torch: cannot be imported" in capsys.readouterr().out


def test_the_packages_shown_are_those_that_the_distribution_asks_for() -> None:
    assert {"torch", "lightning", "segmentation-models-pytorch", "numpy"} <= set(needed())
    assert not {"pytest", "kagglehub"} & set(needed())
