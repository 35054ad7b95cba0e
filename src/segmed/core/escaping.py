"""Text of others in places that act on text: a terminal, a spreadsheet, Markdown, a message of one line."""

import re
import reprlib
import unicodedata
from typing import Any

_ACTS = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""How a field begins that a spreadsheet takes for a formula, maybe already set apart."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MARKDOWN = re.compile(
    r"([\\*|~$]"  # emphasis, cells, formulas
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis, but not within a word
    r"|\](?=[(\[:])"  # links, pictures, and what they refer to
    r"|<(?=[A-Za-z/!?])|&(?=#|\w+;)"  # HTML
    r"|^(?:[#>]|[-+](?=\s|-|$)|=(?==*$)))"  # headings, quotations, lists
)
_REFERENCES = {"&": "&amp;", "<": "&lt;"}
_LONGEST = 120
_DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_LINES = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+\s*")


def for_terminal(text: str, *, lines: bool = True) -> str:
    r"""Text without anything that a terminal obeys: control characters are shown as `\x1b`, and so is what turns the
    direction of writing or has no place in UTF-8.

    Args:
        text: What is to be shown.
        lines: Whether line ends and tabs are the text's own, and stay.

    Example:
        >>> for_terminal("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _is_shown(letter, lines=lines) else _visible(letter) for letter in text)


def _is_shown(letter: str, *, lines: bool) -> bool:
    if lines and letter in "\n\t":
        return True
    return unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp") and letter not in _DIRECTIONS


def _visible(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode()


def for_csv(text: str) -> str:
    """A field of CSV that no spreadsheet takes for a formula: an apostrophe is put before `=`, `+`, `-`, `@`.

    Numbers stay as they are. `from_csv` gives back what was written.

    Example:
        >>> for_csv("=1+1"), for_csv("-0.5"), for_csv("p01")
        ("'=1+1", '-0.5', 'p01')
    """
    return f"'{text}" if _ACTS.match(text) and not _NUMBER.fullmatch(text.lstrip("'")) else text


def from_csv(field: str) -> str:
    """A field as it was before `for_csv`."""
    return field[1:] if field.startswith("'") and for_csv(field[1:]) == field else field


def for_markdown(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line: no table cell, emphasis, link, formula or HTML comes of it.

    Pairs of backticks stay what they are: nothing acts within them.

    Example:
        >>> for_markdown("a|b <svg onload=x>")
        'a\\|b &lt;svg onload=x>'
    """
    one_line = for_terminal(_LINES.sub(" ", text), lines=False).strip()
    return _MARKDOWN.sub(lambda found: _REFERENCES.get(found[0], f"\\{found[0]}"), one_line)


def shortened(value: Any) -> str:
    """A value as Python writes it, cut short in the middle: any value, however large, fits an error's one line."""
    try:
        return shortened_text(_REPR.repr(value))
    except Exception:  # its own words may fail, as those of a whole number of 5000 digits do
        return f"a value of type {type(value).__name__}"


def shortened_text(text: str) -> str:
    """Text cut short in the middle where it is longer than a line."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half:]}"


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = _LONGEST
_REPR.maxlevel, _REPR.maxlist, _REPR.maxdict, _REPR.maxtuple = 3, 8, 8, 8
