"""SegMed: does a promptable foundation model beat a well-trained U-Net on your images?

The names below are what a script or notebook needs. They are imported when first used, so that `import segmed`
costs milliseconds and loads neither torch nor any model library.
"""

import importlib
from typing import TYPE_CHECKING, Any

from segmed.version import __version__ as __version__

if TYPE_CHECKING:
    from segmed.core.errors import SegmedError as SegmedError
    from segmed.core.image import Geometry as Geometry
    from segmed.core.image import Image as Image
    from segmed.core.image import Mask as Mask
    from segmed.core.labels import LabelMap as LabelMap
    from segmed.core.split import Split as Split

_HOME: dict[str, str] = {
    "Geometry": "segmed.core.image",
    "Image": "segmed.core.image",
    "LabelMap": "segmed.core.labels",
    "Mask": "segmed.core.image",
    "SegmedError": "segmed.core.errors",
    "Split": "segmed.core.split",
}
"""Where each public name lives."""

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'segmed' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for completion in a notebook."""
    return sorted({*globals(), *_HOME})
