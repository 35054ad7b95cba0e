"""All that is printed: results and paths on stdout, words for a reader on stderr, names of others never raw."""

import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from segmed.core.escaping import for_terminal
from segmed.core.pseudonyms import shareable_command

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_OF_FILES = 140
"""Columns of tables that go to a file or a pipe."""


def say(text: object = "", *, err: bool = False, colour: str | None = None, nl: bool = True) -> None:
    """Print text; what a terminal would obey in it is shown instead.

    Args:
        text: Lines of text, or a path.
        err: On stderr, where words belong that are not the result.
        colour: The colour's name, on a terminal.
        nl: End the line.
    """
    typer.secho(for_terminal(str(text)), fg=colour, err=err, nl=nl)


def console(*, width: int = WIDTH_OF_FILES, err: bool = False) -> "Console":
    """Where tables are printed, as wide as the terminal, or `width` in a file: names are no markup, and not obeyed."""
    from rich.console import Console
    from rich.segment import Segment
    from rich.text import Text

    class Plain(Console):
        """A console that shows control characters of texts; its own stay."""

        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(for_terminal(text), **options)

        def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
            for segment in super().render(*arguments, **options):
                yield segment if segment.control else segment._replace(text=for_terminal(segment.text))

    found = Plain(stderr=err, markup=False, emoji=False)
    return found if found.is_terminal else Plain(stderr=err, markup=False, emoji=False, width=width)


def note(text: str) -> None:
    """What should be known about a result."""
    say(f"Note: {text}", err=True)


def warn(text: str) -> None:
    """What may make a result other than it seems."""
    say(f"Warning: {text}", err=True, colour="yellow")


def next_step(*words: object) -> None:
    """The command that usually comes next, quoted for a shell."""
    say(f"Next: {shlex.join(str(word) for word in words)}", err=True)


def this_command() -> str:
    """The command that is running, quoted for a shell, for what may be shared: it tells no home and no machine."""
    return shareable_command(["segmed", *sys.argv[1:]])


def input_options(labels: str | None, patient_regex: str | None) -> tuple[str, ...]:
    """The options by which a data set was read, for the next command, which is to read it the same way."""
    said = (("--labels", labels), ("--patient-regex", patient_regex))
    return tuple(word for name, value in said if value is not None for word in (name, value))
