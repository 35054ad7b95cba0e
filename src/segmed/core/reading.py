"""Read text, JSON, YAML and CSV that others may have written: each is a value of the wanted form, or one clear error.

What every reader refuses: bytes that are not UTF-8, NUL characters, numbers that are not finite or need more than 64
bits, and nesting that no file of ours has. YAML has neither aliases nor tags, and dates stay text.
"""

import copy
import csv
import functools
import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import yaml
from pydantic import AfterValidator, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from segmed.core.errors import DataError, SegmedError
from segmed.core.escaping import from_csv, shortened, shortened_text
from segmed.core.wording import plural

T = TypeVar("T")

MOST_BYTES = 512 * 2**20
"""The largest text file that is read; a data set of a million slices has an index of about this size."""
MOST_BYTES_OF_SETTINGS = 2**20
DEEPEST_SETTINGS = 32
"""Levels of nesting in YAML; a recipe has 4."""
LONGEST_PATH, LONGEST_NAME = 4096, 255
"""The most letters of a path, and bytes of one name in it, that systems have."""
WIDEST = 2**63
"""Whole numbers lie below this, and above its negative."""


def read_text(
    path: Path, *, what: str, remedy: str = "Check the file.", error: type[SegmedError] = DataError,
    most: int = MOST_BYTES,
) -> str:  # fmt: skip
    """A file's text, without a byte order mark.

    Args:
        path: The file.
        what: What is expected there, for the error: "a split made by `segmed data split`".
        remedy: What to do where it is not that: a sentence.
        error: The kind of error to raise.
        most: The largest size that is read, in bytes.

    Raises:
        SegmedError: Of the kind `error`, naming the file: it cannot be read, is too large, or no UTF-8 text.
    """
    try:
        size = path.stat().st_size
        if size > most:
            raise error(f"{path}: has {size} bytes, too many for {what}. {remedy}")
        content = path.read_bytes()
    except OSError as fault:
        raise error(f"{path}: cannot read {what} ({fault.strerror or fault}). Check the path.") from fault
    except ValueError as fault:
        if isinstance(fault, SegmedError):
            raise
        raise error(f"{path}: is no name that a file can have. Check the path.") from fault
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise error(f"{path}: not UTF-8 text, expected {what}. {remedy}") from fault
    if "\0" in text:
        raise error(f"{path}: holds NUL characters, expected {what}. {remedy}")
    return text


def read_json(
    path: Path, schema: Callable[..., T], *, what: str, remedy: str = "Make the file again.",
    error: type[SegmedError] = DataError, version: int | None = None,
) -> T:  # fmt: skip
    """Read a JSON file as a value of a type: a dataclass, or a list or dict of plain types.

    Types are taken strictly (a text is no number), keys that the schema does not know are left out.

    Args:
        path: The file.
        schema: What the file holds: a dataclass, whose fields with defaults may be missing, or one such as
            `dict[str, int]`, which is no `type` to Python and is therefore taken for what makes one.
        what: What is expected there, for the error.
        remedy: What to do where it is not that: a sentence.
        error: The kind of error to raise.
        version: What the file's `format` has to be, where it has one.

    Raises:
        SegmedError: Of the kind `error`, naming the file and what is wrong in it.

    Example:
        >>> size = Path("ages.json").write_text('{"p01": 61}')
        >>> read_json(Path("ages.json"), dict[str, int], what="ages by patient")
        {'p01': 61}
    """
    text = read_text(path, what=what, remedy=remedy, error=error)
    return parse_json(text, schema, source=str(path), what=what, remedy=remedy, error=error, version=version)


def parse_json(
    text: str, schema: Callable[..., T], *, source: str, what: str, remedy: str = "Make the file again.",
    error: type[SegmedError] = DataError, version: int | None = None,
) -> T:  # fmt: skip
    """As `read_json`, of text that has been read; `source` is what errors name."""
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError as fault:
        raise error(f"{source}: not valid JSON, expected {what} ({fault}). {remedy}") from fault
    _require_plain(value, source, what, remedy, error)
    _require_version(value, version, source, what, remedy, error)
    return _validated(text, schema, source, what, remedy, error)


def validated(
    value: object,
    schema: Callable[..., T],
    *,
    source: str,
    what: str,
    remedy: str,
    error: type[SegmedError] = DataError,
    version: int | None = None,
) -> T:
    """As `parse_json`, of plain values that are part of a file that has been read."""
    _require_version(value, version, source, what, remedy, error)
    return _validated(to_json(value), schema, source, what, remedy, error)


def _require_version(
    value: object, version: int | None, source: str, what: str, remedy: str, error: type[SegmedError]
) -> None:
    if version is None:
        return
    if not isinstance(value, dict) or "format" not in value:
        raise error(f"{source}: names no format, expected {what}. {remedy}")
    found = value["format"]
    if found != version or isinstance(found, bool):
        raise error(f"{source}: format {shortened(found)} is not {version}, expected {what}. {remedy}")


def _validated(
    text: str | bytes, schema: Callable[..., T], source: str, what: str, remedy: str, error: type[SegmedError]
) -> T:
    try:
        found: T = _adapter(schema).validate_json(text, strict=True)
        return found
    except ValidationError as fault:
        problem = fault.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        told = _told(problem)
        where = f"{shortened_text(place)} " if place else ""
        raise error(f"{source}: {where}{told}; expected {what}. {remedy}") from fault


def parse_yaml(text: str, *, source: str, error: type[SegmedError]) -> Any:
    """Plain YAML as values: mappings, lists, texts, numbers, true, false and nothing.

    Args:
        text: What is read. Aliases, anchors and tags are refused, dates stay text.
        source: What errors name.
        error: The kind of error to raise.

    Raises:
        SegmedError: Of the kind `error`, on one line.
    """
    if len(text) > MOST_BYTES_OF_SETTINGS:
        raise error(f"{source}: has {len(text)} letters, too many for settings. Check the file.")
    try:
        value = copy.deepcopy(_loaded_yaml(text))
    except yaml.MarkedYAMLError as fault:
        told = shortened_text(" ".join(str(fault.problem or fault.context).split()))
        line = f", line {fault.problem_mark.line + 1}" if fault.problem_mark else ""
        raise error(f"{source}: not valid YAML ({told}{line}). Correct it.") from fault
    except (yaml.YAMLError, ValueError) as fault:  # a value error is of a number with too many digits
        raise error(f"{source}: not valid YAML ({shortened_text(' '.join(str(fault).split()))}).") from fault
    _require_plain(value, source, "settings", "Correct it.", error, finite=False)
    return value


@functools.lru_cache(maxsize=128)
def _loaded_yaml(text: str) -> Any:
    """What a text holds; a study reads its runs' recipes at every turn, and to read one anew takes 40 times as long."""
    return yaml.load(text, Loader=_PlainLoader)  # a safe loader that reads less


def _require_name(name: str) -> str:
    if not name or len(name) > LONGEST_PATH or any(len(os.fsencode(part)) > LONGEST_NAME for part in Path(name).parts):
        raise ValueError("no name that a file can have")
    return name


FileName = Annotated[str, AfterValidator(_require_name)]
"""The name of a file or folder in a schema: one that the system may have, or not, but can be asked for."""


@dataclass(frozen=True)
class Table:
    """A CSV table as text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    """Where each row ends in the file, in lines from 1."""


def read_table(
    path: Path, *, what: str, remedy: str = "Export it again.", delimiters: str = ",",
    error: type[SegmedError] = DataError,
) -> Table:  # fmt: skip
    """Read a CSV file; every row has as many fields as the header. Rows without any text are left out.

    Args:
        path: The file.
        what: What is expected there, for the error.
        remedy: What to do where it is not that: a sentence.
        delimiters: One or several, of which the one that the header has most counts.
        error: The kind of error to raise.

    Raises:
        SegmedError: Of the kind `error`, naming the file, and the line where there is one.
    """
    text = read_text(path, what=what, remedy=remedy, error=error)
    delimiter = max(delimiters, key=text.partition("\n")[0].count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found = list[tuple[int, tuple[str, ...]]]()
    try:
        for fields in lines:
            if any(field.strip() for field in fields):
                found.append((lines.line_num, tuple(map(from_csv, fields))))
    except csv.Error as fault:
        raise error(f"{path}, line {lines.line_num}: not a CSV table ({fault}), expected {what}. {remedy}") from fault
    if not found:
        raise error(f"{path}: empty, expected {what}. {remedy}")
    (_, header), *rest = found
    for line, row in rest:
        if len(row) != len(header):
            raise error(
                f"{path}, line {line}: has {plural(len(row), 'value')} but the header has "
                f"{plural(len(header), 'column')}. Correct the row."
            )
    return Table(header, tuple(row for _, row in rest), tuple(line for line, _ in rest))


def _told(problem: ErrorDetails) -> str:
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] == "value_error":  # raised by a value's own check, whose words stand alone
        return f"is wrong: {str(problem['ctx']['error']).rstrip('.')}"
    return f"is {shortened(problem['input'])}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, tags and dates, and with a bound on nesting."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Build a node, unless it is one that settings do not have."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(
                None, None, "anchors and aliases are not read: write the values out", event.start_mark
            )
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(None, None, f"the tag {event.tag!r} is not read", event.start_mark)
        if self.depth >= DEEPEST_SETTINGS:
            raise yaml.composer.ComposerError(
                None, None, f"nested deeper than {DEEPEST_SETTINGS} levels", event.start_mark
            )
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Build a mapping, unless it has a key twice, of which all but the last would be lost."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # refused below
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_PlainLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":merge", ":value"))]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@functools.cache
def _adapter(schema: Callable[..., Any]) -> Any:
    """Pydantic's reader of a type, built once; untyped, since its own type cannot be checked at run time."""
    return TypeAdapter(cast(Any, schema))


def _require_plain(
    value: Any, source: str, what: str, remedy: str, error: type[SegmedError], *, finite: bool = True
) -> None:
    """Raise where a value that was read, or what it contains at any depth, is what no file of ours has."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            left += each
        elif isinstance(each, str) and "\0" in each:
            raise error(f"{source}: holds a NUL character, expected {what}. {remedy}")
        elif isinstance(each, float) and finite and not math.isfinite(each):
            raise error(f"{source}: holds a number that is not finite, expected {what}. {remedy}")
        elif isinstance(each, int) and not -WIDEST < each < WIDEST:
            raise error(f"{source}: holds a whole number of more than 64 bits, expected {what}. {remedy}")
