"""Words for a reader, on stderr: stdout has only what was asked for and the paths that were written."""

import shlex
import sys

import typer


def note(text: str) -> None:
    """What should be known about a result."""
    typer.echo(f"Note: {text}", err=True)


def next_step(*words: object) -> None:
    """The command that usually comes next, quoted for a shell."""
    typer.echo(f"Next: {shlex.join(str(word) for word in words)}", err=True)


def this_command() -> str:
    """The command that is running, quoted for a shell."""
    return shlex.join(["segmed", *sys.argv[1:]])


def reading(labels: str | None, patient_regex: str | None) -> tuple[str, ...]:
    """The options by which a data set was read, for the next command, which is to read it the same way."""
    said = (("--labels", labels), ("--patient-regex", patient_regex))
    return tuple(word for name, value in said if value is not None for word in (name, value))
