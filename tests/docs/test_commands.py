"""Every command that README and the how-to pages print is run as printed, with options that only make it short."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from presupposed import GIVEN, Stock
from shortened import SHORTER, shortened, small_budgets
from typer.testing import CliRunner

from doc_pages import PAGES, blocks, command_of, commands
from segmed.cli.main import app
from segmed.evaluation import tune_cascade
from segmed.inference import load
from segmed.study.budgets import BUDGETS

NOT_RUN: dict[str, str] = {
    "git clone REPOSITORY segmed": "downloads",
    "cd segmed": "of the shell",
    "make demo": "installs; then runs `segmed demo`",
    "segmed demo": "tests/cli/test_demo.py runs it, at a smaller scale",
    "pip install .[weights]": "installs",
    "pip install .[get]": "installs",
    "pip install segmed-torch[weights]": "installs",
    "pip install segmed-torch[dicom]": "installs",
    "segmed train unet --data DATA --split split.json --out runs/unet-4 --devices 4": "needs four GPUs",
    "segmed train unet --data DATA --split split.json --out runs/unet-8 --devices 4 --nodes 2": "needs eight GPUs",
}
"""Commands of the pages that no test can run, each with the reason."""

really_run = subprocess.run


@pytest.fixture
def working_folder(tmp_path: Path, stock: Stock, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which downloads are the phantom, and studies and a cascade's search are small."""
    monkeypatch.chdir(tmp_path)
    kagglehub = ModuleType("kagglehub")
    kagglehub.dataset_download = lambda handle: str(stock.phantom)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub)
    for name, budget in small_budgets().items():
        monkeypatch.setitem(BUDGETS, name, budget)
    monkeypatch.setattr(tune_cascade, "SIZES", tune_cascade.SIZES[:1])
    monkeypatch.setattr(tune_cascade, "MARGINS", tune_cascade.MARGINS[:1])
    monkeypatch.setattr(subprocess, "run", run_in_process)
    return tmp_path


def run_segmed(words: list[str]) -> None:
    result = CliRunner().invoke(app, shortened(words)[1:], input="y\n")
    assert result.exit_code == 0, f"{' '.join(words)}: {result.exception!r}\n{result.output}"


def run_in_process(command: list[str], **options: Any) -> "subprocess.CompletedProcess[Any]":
    """In the place of `subprocess.run`: the commands of segmed that a script starts are run here, and shortened."""
    if command[1:3] != ["-m", "segmed"]:
        return really_run(command, **options)
    run_segmed(["segmed", *command[3:]])
    return subprocess.CompletedProcess(command, 0)


def run_script(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", shortened(words)[1:])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(words[1], run_name="__main__")
    assert left.value.code == 0, " ".join(words)


def repeat_for_the_other_folds() -> None:
    """What the page on studies leaves to its reader: its training of fold 0 for the others, of which here is one."""
    (printed,) = [words for words in commands("study.md") if "runs/f0" in words]
    run_segmed([*printed, "--fold=1", "--out=runs/f1"])
    shutil.copytree("runs/f1", "runs/f2")


def names_in_python(page: str) -> dict[str, Any]:
    """What the page's Python takes for granted."""
    image = np.random.default_rng(0).integers(0, 255, (160, 160, 3), np.uint8)
    if page == "no-box-no-problem.md":
        return {"predictor": load("runs/sam-tiny"), "volume": [image] * 12}
    return {"image": image}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs_in_order_and_then_its_python(
    page: str, stock: Stock, working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    for name in GIVEN.get(page, ()):
        stock.put(name, working_folder)
    for words in commands(page):
        if " ".join(words) in NOT_RUN:
            continue
        if page == "study.md" and "runs/f1" in " ".join(words):
            repeat_for_the_other_folds()
        if words[0] == "python":
            run_script(words, monkeypatch)
        else:
            assert words[0] == "segmed", f"{' '.join(words)}: run it here, or list it in NOT_RUN with the reason"
            run_segmed(words)
    for block in [] if page == "README.md" else blocks(page, "python"):  # README's is run after the demo
        exec(compile(block, page, "exec"), names_in_python(page))


def test_what_is_not_run_is_on_a_page() -> None:
    printed = {" ".join(words) for page in PAGES for words in commands(page)}
    assert NOT_RUN.keys() <= printed


def test_what_is_added_shortens_a_command_that_is_printed() -> None:
    printed = [shortened(words)[len(words) :] for page in PAGES for words in commands(page)]
    assert [beginning for beginning, options in SHORTER if list(options) not in printed] == []


@pytest.mark.parametrize("line", [line for line in NOT_RUN if line.startswith("segmed ")])
def test_a_command_that_is_not_run_has_arguments_that_the_real_one_takes(line: str) -> None:
    command, rest = command_of(line.split())
    assert command.make_context(line, rest).params
