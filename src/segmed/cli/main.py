"""The entry of the command line: which commands there are, and how an error reaches the user.

A command's module is imported only when that command is run, completed or asked for its own help, so that
`segmed --help` stays fast and never imports torch. The table below is therefore all that the first help page knows;
a test holds it equal to the commands' own words.
"""

import importlib
import logging
import os
import shlex
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from segmed.cli.messages import say
from segmed.core.errors import SegmedError
from segmed.core.escaping import for_terminal, shortened_text
from segmed.version import __version__

COMMANDS: dict[str, str] = {
    "doctor": "Say what SegMed finds on this machine.",
    "demo": "See the whole way on a made-up data set, in minutes.",
    "data": "Get, check, split and look at data sets.",
    "convert": "Convert a checkpoint of SAM, MedSAM or SAM 2, once.",
    "pretrained": "Use published weights as they are, as a run.",
    "embed": "Run a frozen image encoder once and keep what it says.",
    "recipes": "List the recipes, or print all settings of one.",
    "estimate": "Say what a training will take before it starts.",
    "train": "Train a model and leave a complete run folder.",
    "tune": "Tune a run on its validation patients.",
    "ensemble": "Make one predictor of several runs.",
    "distil": "Teach a promptable run to read smaller images, by FeatUp.",
    "oof": "Predict training patients by models that have not seen them.",
    "cascade": "Join a dense and a promptable run, so that no box is needed.",
    "predict": "Write the masks a trained model predicts.",
    "features": "Draw a run's features before and after FeatUp.",
    "evaluate": "Score a run or a folder of masks, by patient.",
    "study": "Train, score and explain all systems under the same splits.",
    "filters": "Show a run's learned filter, and what it does to an image.",
    "compare": "Compare runs and write one self-contained report.",
}
"""Name of each command and the first line of its help, in the order of a first session."""


RESUMED = ("train", "distil", "study", "predict")
"""Commands that continue with `--resume` what Ctrl-C stopped."""
REPEATED = {
    "embed": "Whole shards are kept.",
    "oof": "Whole folds are kept, and the last one goes on from its last whole epoch.",
}
"""Commands that are given again to continue, with what is there; all others begin anew, and leave no half of a file."""
CTRL_C = 130
"""Exit code of what Ctrl-C stopped: 128 and the signal's number."""


class LazyGroup(TyperGroup):
    """A group whose commands are placeholders until one of them is resolved."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C becomes one line that says how to continue, and exit code 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say(stopped(str(ctx.invoked_subcommand)), err=True)
            raise typer.Exit(CTRL_C) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the real command in the placeholder's place, then resolve as usual."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = load_command(args[0])
        return super().resolve_command(ctx, args)


def load_command(name: str) -> Any:
    """Import `segmed.cli.<name>` and build its command: from its `app`, or from its function called `name`."""
    module = importlib.import_module(f"segmed.cli.{name}")
    if hasattr(module, "app"):
        module.app.rich_markup_mode = None  # one look for every help page
        command: Any = typer.main.get_group(module.app)
        command.name = name
        return command
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name)(getattr(module, name))
    return typer.main.get_command(alone)


app = typer.Typer(
    name="segmed",
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `segmed demo`, or with `segmed data check FOLDER` on your own data.",
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        say(f"segmed {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def segmed(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train medical segmentation models, compare them honestly, use the winner."""


def _placeholder() -> None:
    raise AssertionError("A placeholder ran; LazyGroup should have replaced it.")


for _name, _help in COMMANDS.items():
    app.command(_name, help=_help)(_placeholder)


def stopped(command: str) -> str:
    """What is said when Ctrl-C has stopped a command: how it goes on."""
    if command in RESUMED and "--overwrite" not in sys.argv:  # which of the masks are new is not known then
        words = [*sys.argv[1:], *([] if "--resume" in sys.argv else ["--resume"])]
        return f"Stopped. Continue with: {shlex.join(['segmed', *words])}"
    return f"Stopped. {REPEATED.get(command, 'No half of a file is left.')} Run the same command again."


def one_line(error: BaseException) -> str:
    """An error's message with its line breaks turned into spaces."""
    return " ".join(str(error).split())


class _Shown(logging.Formatter):
    """Messages of the library, which may hold names of files, as they may be shown."""

    def format(self, record: logging.LogRecord) -> str:
        return for_terminal(super().format(record))


def run() -> None:
    """Run the command line; a `SegmedError`, or what the system says of a file, is one red line and exit code 1.

    With `SEGMED_DEBUG=1` in the environment the traceback is printed before that line.
    """
    # Threads of torch that wait give the processor away instead of spinning. On two cores shared with other work,
    # spinning made a training step about eight times slower. Must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if logging.lastResort is not None:  # what shows warnings where nobody asked for a log
        logging.lastResort.setFormatter(_Shown())
    try:
        typer.main.get_command(app)(prog_name="segmed")
    except (SegmedError, OSError) as error:
        if isinstance(error, OSError) and error.filename is None:
            raise  # of no file: not the user's doing
        if os.environ.get("SEGMED_DEBUG") == "1":
            traceback.print_exc()
        say(f"Error: {_of_system(error) if isinstance(error, OSError) else one_line(error)}", colour="red", err=True)
        sys.exit(1)


def _of_system(error: OSError) -> str:
    """A name that the system does not take or open, such as one that is too long, in one line."""
    name = shortened_text(os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename))
    return one_line(Exception(f"{name}: {error.strerror or 'cannot be used'}. Check the path and its permissions."))
