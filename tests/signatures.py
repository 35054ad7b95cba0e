"""Checks of arguments and results against their annotations, at the price that a signature needs.

jaxtyping's import hook decorates every function of ours. Its own decorator binds the arguments, makes two functions to
check them twice, and binds once more for the result, for errors that say more. Here beartype checks a call once. A
signature with arrays is checked within a context of its own, so that one letter means one size within a call; the
others need none. Both make imports and the tests that run whole commands faster.
"""

import dataclasses
import functools
import inspect
from typing import Any, get_args

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook

_by_jaxtyping = jaxtyping.jaxtyped
_one_call = jaxtyping.jaxtyped("context")


def check_signatures_of(package: str) -> None:
    """Have every function of a package that is imported from now on checked at each call."""
    jaxtyping.jaxtyped = checked  # what the hook writes in front of each function and class
    install_import_hook(package, "beartype.beartype")


def checked(thing: Any = None, *, typechecker: Any) -> Any:
    """The decorator for functions, methods and classes, for what they take and return."""
    if thing is None:
        return functools.partial(checked, typechecker=typechecker)
    if inspect.isfunction(thing) and not _only_jaxtyping_knows(thing):
        return _checked_function(thing)
    if dataclasses.is_dataclass(thing) and inspect.isfunction(thing.__init__):
        if not _only_jaxtyping_knows(thing.__init__):
            thing.__init__ = _checked_function(thing.__init__)
            return thing
    elif isinstance(thing, property) and thing.fset is None and thing.fdel is None:
        return property(checked(thing.fget, typechecker=typechecker))
    return _by_jaxtyping(thing, typechecker=typechecker)


def _checked_function(function: Any) -> Any:
    within = beartype(function)
    if not any(map(_names_array, function.__annotations__.values())):
        return within

    @functools.wraps(within)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _one_call:
            return within(*args, **kwargs)

    return call


def _only_jaxtyping_knows(function: Any) -> bool:
    """Whether annotations are strings, which it evaluates, or of a generator, which goes on after its call.

    Of strings beartype knows the name of the class that a method belongs to.
    """
    if inspect.isgeneratorfunction(function):
        return any(map(_names_array, function.__annotations__.values()))
    own_class = function.__qualname__.removesuffix(f".{function.__name__}")  # with a dot, and so no name, within others
    return any(_holds_string(each, but_for=own_class) for each in function.__annotations__.values())


def _holds_string(annotation: Any, but_for: str) -> bool:
    if isinstance(annotation, list | tuple):
        return any(_holds_string(each, but_for) for each in annotation)
    return isinstance(annotation, str) and annotation != but_for


def _names_array(annotation: Any) -> bool:
    if isinstance(annotation, list | tuple):
        return any(map(_names_array, annotation))
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    return any(map(_names_array, get_args(annotation)))
