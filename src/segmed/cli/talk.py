"""Words for a reader, on stderr: stdout has only what was asked for and the paths that were written."""

import typer


def note(text: str) -> None:
    """What should be known about a result."""
    typer.echo(f"Note: {text}", err=True)


def next_step(command: str) -> None:
    """The command that usually comes next."""
    typer.echo(f"Next: {command}", err=True)
