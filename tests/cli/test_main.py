import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Annotated

import pytest
import typer

from segmed.cli import main
from segmed.core.errors import DataError

HEAVY = ("torch", "torchvision", "lightning", "monai", "transformers", "kornia", "matplotlib", "numpy", "scipy")


def modules_after(*arguments: str) -> set[str]:
    """The top-level modules that a fresh `segmed ARGUMENTS` has imported when it ends."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('MODULES', *sys.modules))\n"
        f"sys.argv = ['segmed', *{arguments!r}]\n"
        "from segmed.cli.main import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.rsplit("MODULES", 1)[1].split())


def run_with(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process; the exit code."""
    monkeypatch.setattr(sys, "argv", ["segmed", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        main.run()
    return int(exit_info.value.code or 0)


@pytest.fixture
def failing_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `segmed doctor` that raises an error with a line break in it."""

    def doctor() -> None:
        raise DataError("scan.tif: not an image.\nExport it again.")

    module = types.ModuleType("segmed.cli.doctor")
    module.doctor = doctor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "segmed.cli.doctor", module)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_first_help_and_version_import_no_heavy_package(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & set(HEAVY)


def test_every_command_is_listed_with_its_help_in_full(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, "--help") == 0
    listed = capsys.readouterr().out
    for name, text in main.COMMANDS.items():
        assert f"  {name} " in listed
        assert text in listed


@pytest.mark.parametrize("name", main.COMMANDS)
def test_the_table_of_commands_says_what_the_command_says(name: str) -> None:
    assert main.load_command(name).help.splitlines()[0] == main.COMMANDS[name]


@pytest.mark.parametrize("name", main.COMMANDS)
def test_asking_a_command_for_help_does_not_import_torch(name: str) -> None:
    assert not modules_after(name, "--help") & {"torch", "lightning", "monai", "kornia", "matplotlib"}


def test_the_help_of_train_says_what_is_trained_without_a_recipe() -> None:
    words = " ".join(main.load_command("train").help.split())
    assert "Without a recipe every setting has its default" in words


def test_the_docs_train_by_recipe_and_not_by_model() -> None:
    root = Path(__file__).parents[2]
    commands = [
        line
        for page in (root / "README.md", *sorted((root / "docs" / "howto").glob("*.md")))
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith(("segmed train ", "segmed estimate "))
    ]
    assert len(commands) > 5
    assert [line for line in commands if "--model" in line] == []


@pytest.mark.parametrize("name", main.COMMANDS)
def test_where_a_command_writes_is_named_with_out_or_o(name: str) -> None:
    command = main.load_command(name)
    for each in (command, *getattr(command, "commands", {}).values()):
        written = [option.opts for option in each.params if {"-o", "--out", "--output"} & set(option.opts)]
        assert written in ([], [["--out", "-o"]])


@pytest.mark.usefixtures("failing_doctor")
def test_an_error_is_one_line_on_stderr_and_exit_code_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, "doctor") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "Error: scan.tif: not an image. Export it again.\n"


@pytest.mark.usefixtures("failing_doctor")
def test_debug_shows_the_traceback_before_the_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGMED_DEBUG", "1")
    assert run_with(monkeypatch, "doctor") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1].startswith("Error: ")


LONG = 300 * "a"


@pytest.mark.parametrize(
    "words",
    [
        ("data", "check", LONG),
        ("evaluate", LONG, "--data", LONG),
        ("predict", LONG, LONG, "-o", "out"),
        ("compare", LONG, "-o", "report"),
        ("convert", f"{LONG}.pth", "-o", "sam.safetensors"),
        ("study", LONG, "-o", LONG),
    ],
)
def test_a_path_that_is_too_long_is_one_line(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_with(monkeypatch, *words) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert "File name too long" in error
    assert error.count("\n") == 1


def test_a_mistyped_command_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, "evalute") == 2
    assert "evaluate" in capsys.readouterr().err


def test_no_arguments_print_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_with(monkeypatch)
    printed = capsys.readouterr()
    assert "Commands:" in printed.out + printed.err


def test_waiting_threads_give_the_processor_away_unless_the_user_decided(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    run_with(monkeypatch, "--version")
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    run_with(monkeypatch, "--version")
    assert os.environ["OMP_WAIT_POLICY"] == "passive"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["train", "unet", "--out", "my runs/a"],
            "Stopped. Continue with: segmed train unet --out 'my runs/a' --resume",
        ),
        (["study", "data", "--resume"], "Stopped. Continue with: segmed study data --resume"),
        (["predict", "r", "x"], "Stopped. Continue with: segmed predict r x --resume"),
        (["predict", "x", "--overwrite"], "Stopped. No half of a file is left. Run the same command again."),
        (["embed", "x"], "Stopped. Whole shards are kept. Run the same command again."),
        (["evaluate", "x"], "Stopped. No half of a file is left. Run the same command again."),
    ],
)
def test_ctrl_c_is_one_line_that_says_how_to_continue_and_exit_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    def command(
        _: Annotated[list[str] | None, typer.Argument()] = None,
        out: str = "",
        resume: bool = False,
        overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
    ) -> None:
        raise KeyboardInterrupt

    module = types.ModuleType(f"segmed.cli.{arguments[0]}")
    setattr(module, arguments[0], command)
    monkeypatch.setitem(sys.modules, f"segmed.cli.{arguments[0]}", module)
    assert run_with(monkeypatch, *arguments) == 130
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"{said}\n")


def test_every_command_that_says_resume_has_that_option() -> None:
    resumable = {
        name for name in main.COMMANDS if any("--resume" in option.opts for option in main.load_command(name).params)
    }
    assert resumable == set(main.RESUMED)
