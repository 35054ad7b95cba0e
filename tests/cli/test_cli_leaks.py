"""Every command that opens a split that leaks, or a run that was trained on one, says LEAKING on stderr."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands import TINY
from prompted_runs import run_config, save_prompted_run
from segmed.cli import inputs
from segmed.cli.main import app
from segmed.core.errors import SegmedError
from segmed.core.files import sha256_of
from segmed.data.splits import split_by_patient, split_by_slice
from segmed.models.checkpoint import RunConfig, save_run
from segmed.models.config import ModelConfig
from segmed.models.seen import seen_patients
from segmed.models.zoo import build_model
from toydata import toy

STOP = "far enough"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a split by slice and one by patient, and a dense and a promptable run of the first, untrained."""
    root = tmp_path_factory.mktemp("leaks")
    data = toy(root / "data")
    split_by_patient(data, ratios=(0.5, 0.25, 0.25), seed=0).save(root / "patient.json")
    split = split_by_slice(data, seed=0)
    split.save(root / "slice.json")
    for name in ("dense", "sam"):
        split.save(root / name / "split.json")
    facts = {
        "data_hash": data.data_hash,
        "split_hash": sha256_of(root / "slice.json"),
        "seen": seen_patients(split, 0),
        "leaking": True,
    }
    model = ModelConfig(name="unet", encoder="tu-test_efficientnet", encoder_weights="none")
    dense = RunConfig(model, run_config().preprocess, run_config().labels, threshold=0.5, **facts)  # type: ignore[arg-type]
    save_run(root / "dense", build_model(model).eval(), dense)
    save_prompted_run(root / "sam", **facts)
    shutil.copytree(root / "dense", root / "again")
    return root


def said(*arguments: object) -> str:
    """What a command says on stderr until it ends, or stops where pixels would be read."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0 or str(result.exception) == STOP, result.output
    return result.stderr


def arguments_of(command: str, place: Path) -> list[object]:
    if command == "distil":
        return [command, place / "sam", "--encode-at=32"]
    if command == "embed":
        return [command, "sam-tiny"]
    return [command, *(TINY if command in ("train", "estimate") else ())]


@pytest.mark.parametrize("command", ["train", "estimate", "embed", "distil", "oof"])
def test_a_split_that_leaks_is_announced_before_any_pixel_is_read_and_another_is_not(
    command: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise SegmedError(STOP)

    monkeypatch.setattr(inputs, "open_decoded", stop)
    out = [] if command == "estimate" else ["--out", tmp_path / "out"]
    given = [*arguments_of(command, place), "--data", place / "data", *out, "--split"]
    assert said(*given, place / "slice.json").count(inputs.LEAKING) == 1
    assert "LEAKING" not in said(*given, place / "patient.json")


def test_what_is_made_of_runs_that_leak_says_so(place: Path, tmp_path: Path) -> None:
    data = ("--data", place / "data", "--device", "cpu")
    image = next(path for path in sorted((place / "data").rglob("*.tif")) if "mask" not in path.name)
    for command in (
        ("tune", place / "dense", *data, "--dry-run", "--no-augment", "--no-components"),
        ("ensemble", place / "dense", place / "again", *data, "-o", tmp_path / "both"),
        ("cascade", place / "dense", place / "sam", *data, "-o", tmp_path / "cascade"),
        ("predict", tmp_path / "both", image, "-o", tmp_path / "masks", "--device", "cpu"),
    ):
        assert said(*command).count(inputs.LEAKING) == 1, command[0]


def test_masks_on_a_split_that_leaks_are_announced(place: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for file in (place / "data").rglob("*_mask.tif"):
        shutil.copyfile(file, masks / file.name.replace("_mask", ""))
    options = ("--data", place / "data", "--split", place / "slice.json", "--no-floors", "--resamples", 100)
    assert said("evaluate", "--predictions", masks, *options, "-o", tmp_path / "out").count(inputs.LEAKING) == 1
