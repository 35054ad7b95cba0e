"""Settings as frozen dataclasses beside what they build: typed, checked, and unknown keys refused by name."""

import dataclasses
import difflib
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, dataclass_transform, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from segmed.core.errors import ConfigError
from segmed.core.escaping import shortened, shortened_text
from segmed.core.former_names import present_settings

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config_dataclass(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass whose fields are validated and whose unknown keys are errors.

    Numbers are finite: neither infinity nor NaN is a setting.
    """
    decorate: Callable[[type[T]], type[T]] = pydantic_dataclass(  # type: ignore[assignment]
        frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False)
    )
    decorated = decorate(cls)
    _answer_with_config_error(decorated)
    return decorated


def _answer_with_config_error(cls: type[Any]) -> None:
    """Make direct construction raise the same one-line `ConfigError` as reading a recipe does."""
    construct = cls.__init__

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            construct(self, *args, **kwargs)
        except ValidationError as error:
            raise ConfigError(f"{cls.__name__}: {_first_problem(cls, error)}") from error

    cls.__init__ = __init__


def config_from_mapping(cls: type[T], values: Mapping[str, Any], *, source: str) -> T:
    """Build a config from plain values, such as a recipe's; keys may have the names of earlier versions.

    Raises `ConfigError` naming `source`, the key's path, what was expected, and the nearest known key.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source}: expected settings by name, got {shortened(values)}.")
    try:
        return TypeAdapter(cls).validate_python(present_settings(values))
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_problem(cls, error)}") from error


def config_to_mapping(config: Any) -> dict[str, Any]:
    """A config as plain JSON values, every default written out."""
    return dict(TypeAdapter(type(config)).dump_python(config, mode="json"))


def _first_problem(cls: type[Any], error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    path = [str(part) for part in problem["loc"]]
    name = ".".join(path)
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _known_keys(cls, path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of: {', '.join(known)}."
        return f"unknown key {shortened(name)}. {hint}"
    if problem["type"] == "value_error":  # raised by a config's own check: its words stand alone
        return f"{name}: {problem['ctx']['error']}" if name else str(problem["ctx"]["error"])
    return f"{shortened_text(name) or 'value'}: {problem['msg']}, got {shortened(problem['input'])}."


def _known_keys(cls: type[Any], path: list[str]) -> list[str]:
    for part in path:
        fields = {field.name: field.type for field in dataclasses.fields(cls)}
        inner = _group(fields.get(part))
        if inner is None:
            break
        cls = inner
    return sorted(field.name for field in dataclasses.fields(cls))


def _group(annotation: Any) -> type[Any] | None:
    """The config that a field holds, also where it may be None or is annotated; None for a plain value."""
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return annotation
    return next((group for each in get_args(annotation) if (group := _group(each)) is not None), None)
