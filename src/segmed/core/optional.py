"""Import optional packages late, and say how to get them when they are missing."""

import importlib
from types import ModuleType

from segmed.core.errors import MissingDependencyError


def optional_import(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or raise `MissingDependencyError` with the pip command that installs `extra`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingDependencyError(
            f'{purpose} needs {package}. Install it with: pip install "segmed-torch[{extra}]"'
        ) from error
