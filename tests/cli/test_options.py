"""Choices on the command line are those that the library knows, and others are refused before a command begins."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
from typer.testing import CliRunner

from segmed.cli import options
from segmed.cli.main import COMMANDS, app
from segmed.core.errors import ConfigError, SegmedError
from segmed.core.split import PartName
from segmed.data.augment import PRESETS
from segmed.evaluation.masks.placed import OtherGrids
from segmed.layers.featup import GuidedKind, Upsampler
from segmed.layers.gafl.parametrisations import PARAMETRISATIONS
from segmed.models.prediction import Tta
from segmed.study.budgets import BUDGETS
from segmed.study.settings import ProtocolName
from segmed.training.recipe import Recipe


def test_choices_are_those_of_the_library() -> None:
    assert get_args(options.GuidedName) == get_args(GuidedKind)
    assert get_args(options.UpsamplerName) == get_args(Upsampler)
    assert get_args(options.GaflName) == ("none", *PARAMETRISATIONS)
    assert get_args(options.TtaName) == get_args(Tta)
    assert get_args(options.PrecisionName) == get_args(get_type_hints(Recipe)["precision"])
    assert set(get_args(options.ScoredPart)) == set(get_args(PartName)) - {"train"}
    assert get_args(options.OtherGridsName) == get_args(OtherGrids)
    assert get_args(options.ProtocolName) == get_args(ProtocolName)
    assert get_args(options.BudgetName) == tuple(BUDGETS)
    assert set(get_args(options.PresetName)) == set(PRESETS) - {"none"} | {"auto"}


@pytest.mark.parametrize(
    "call",
    [
        "predict RUN INPUT -o OUT --tta",
        "evaluate RUN --data DATA --part",
        "compare RUN -o OUT --part",
        "embed RECIPE --data DATA -o OUT --precision",
        "distil RUN --data DATA --split SPLIT -o OUT --encode-at 32 --upsampler",
        "train --data DATA --split SPLIT -o OUT --gafl",
        "train --data DATA --split SPLIT -o OUT --strategy",
        "oof --data DATA --split SPLIT -o OUT --accelerator",
        "study DATA -o OUT --budget",
        "data split DATA --strategy",
        "data preview DATA --preset",
    ],
)
def test_a_choice_that_there_is_not_is_one_line_that_names_those_there_are(call: str) -> None:
    result = CliRunner().invoke(app, [*call.split(), "other"])
    option = call.split()[-1]
    assert result.exit_code == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith(f"Error: Invalid value for '{option}'")
    assert "'other' is not one of '" in line


def functions_of(name: str) -> list[Callable[..., None]]:
    """What a command runs, or each of a group."""
    module = importlib.import_module(f"segmed.cli.{name}")
    if hasattr(module, "app"):
        return [each.callback for each in module.app.registered_commands]
    return [getattr(module, name)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_that_is_a_whole_number_has_a_least(name: str) -> None:
    hints = [hint for each in functions_of(name) for hint in get_type_hints(each, include_extras=True).values()]
    options = [get_args(hint) for hint in hints if get_origin(hint) is Annotated]
    assert all(option.min is not None for kind, option in options if kind in (int, int | None))


@pytest.mark.parametrize(
    ("call", "least"),
    [
        ("embed RECIPE --data DATA -o OUT --batch-size", 1),
        ("train --data DATA --split SPLIT -o OUT --batch-size", 1),
        ("train --data DATA --split SPLIT -o OUT --devices", -1),
        ("evaluate RUN --data DATA --fold", 0),
        ("data split DATA --folds", 0),
    ],
)
def test_a_number_below_the_least_is_refused_before_a_command_begins(call: str, least: int) -> None:
    result = CliRunner().invoke(app, [*call.split(), str(least - 1)])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(f"Error: Invalid value for '{call.split()[-1]}'")


@pytest.mark.parametrize("call", ["embed RECIPE --data DATA -o OUT", "compare RUN -o OUT"])
def test_a_fold_without_its_split_is_refused(call: str) -> None:
    result = CliRunner().invoke(app, [*call.split(), "--fold", "0"])
    assert isinstance(result.exception, SegmedError)
    assert str(result.exception).startswith("--fold is that of a split")


@pytest.mark.parametrize(
    "call",
    [
        "train --data DATA --split SPLIT",
        "study DATA",
        "compare RUN",
        "evaluate RUN --data DATA",
        "cascade A B --data DATA",
    ],
)
def test_a_file_where_a_folder_is_to_be_written_is_told_before_any_work(call: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        result = CliRunner().invoke(app, [*call.split(), "--out", str(out)])
        assert isinstance(result.exception, ConfigError)
        assert "file: is a file" in str(result.exception)
