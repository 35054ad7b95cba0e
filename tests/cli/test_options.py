"""Choices on the command line are those that the library knows, and others are refused before a command begins."""

from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from typer.testing import CliRunner

from segmed.cli import options
from segmed.cli.main import app
from segmed.core.errors import ConfigError
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
