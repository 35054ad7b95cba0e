"""The commands and the code that README and the how-to pages print."""

import re
import shlex
from pathlib import Path
from typing import Any

from segmed.cli.main import load_command

REPOSITORY = Path(__file__).parents[1]
PAGES = {
    "README.md": REPOSITORY / "README.md",
    **{page.name: page for page in sorted((REPOSITORY / "docs" / "howto").glob("*.md"))},
}
"""Every page by its file name."""


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in this language, `""` for those that name none."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page].read_text(encoding="utf-8"), re.M | re.S)
    return [text for name, text in fences if name == language]


def without_comment(line: str) -> str:
    """A line up to the `#` that begins a comment; one within a word, as in a colour, begins none."""
    return re.sub(r"(^|\s)#.*", "", line)


def commands(page: str) -> list[list[str]]:
    """The words of each command in the page's bash blocks, in order, without comments; `a && b` are two commands."""
    found = []
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(without_comment(line))
            while "&&" in words:
                found.append(words[: words.index("&&")])
                words = words[words.index("&&") + 1 :]
            found += [words] if words else []
    return found


def spoken_commands(page: str) -> list[str]:
    """What a page names between backticks in its prose and tables, outside fenced blocks."""
    text = re.sub(r"^```.*?^```$", "", PAGES[page].read_text(encoding="utf-8"), flags=re.M | re.S)
    return [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", text)]


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The real command of a line, a group's own where it names one, and the rest of its words."""
    found, rest = load_command(words[1]), words[2:]
    return (found.commands[rest[0]], rest[1:]) if hasattr(found, "commands") else (found, rest)
