"""Checks of arguments and results against their annotations, at the price that a signature needs.

jaxtyping's import hook decorates every function of ours. Its decorator binds the arguments and checks them twice, so
that one letter means one size within a call: only signatures with arrays need that. The others are checked by beartype
alone, which takes a third off the time of the tests that run whole commands.
"""

import dataclasses
import functools
import inspect
from typing import Any, get_args

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook

_shapes_checked = jaxtyping.jaxtyped


def check_signatures_of(package: str) -> None:
    """Have every function of a package that is imported from now on checked at each call."""
    jaxtyping.jaxtyped = checked  # what the hook writes in front of each function and class
    install_import_hook(package, "beartype.beartype")


def checked(thing: Any = None, *, typechecker: Any) -> Any:
    """The decorator for functions, methods and classes, for what they take and return."""
    if thing is None:
        return functools.partial(checked, typechecker=typechecker)
    if inspect.isfunction(thing):
        return _shapes_checked(thing, typechecker=typechecker) if _has_arrays(thing) else beartype(thing)
    if dataclasses.is_dataclass(thing) and inspect.isfunction(thing.__init__) and not _has_arrays(thing.__init__):
        thing.__init__ = beartype(thing.__init__)
        return thing
    if isinstance(thing, property) and thing.fset is None and thing.fdel is None:
        return property(checked(thing.fget, typechecker=typechecker))
    return _shapes_checked(thing, typechecker=typechecker)


def _has_arrays(function: Any) -> bool:
    return any(_names_array(each) for each in function.__annotations__.values())


def _names_array(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return True  # not known before it is evaluated
    if isinstance(annotation, list | tuple):
        return any(map(_names_array, annotation))
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    return any(map(_names_array, get_args(annotation)))
