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
    from segmed.core.volume import Grid as Grid
    from segmed.core.volume import Volume as Volume
    from segmed.data.decoded import decode as decode
    from segmed.data.sources import open_dataset as open_dataset
    from segmed.data.splits import split_by_patient as split_by_patient
    from segmed.evaluation.compare import compare as compare
    from segmed.evaluation.report import write_report as write_report
    from segmed.evaluation.run import evaluate_run as evaluate_run
    from segmed.evaluation.run import plan_evaluation as plan_evaluation
    from segmed.inference import Predictor as Predictor
    from segmed.inference import load as load
    from segmed.inference.prompted import PromptedPredictor as PromptedPredictor
    from segmed.io import read_image as read_image
    from segmed.io import read_mask as read_mask
    from segmed.io import write_mask as write_mask
    from segmed.io.volumes import read_volume as read_volume
    from segmed.io.volumes import write_volume as write_volume
    from segmed.prompts.value import Prompts as Prompts
    from segmed.training import Recipe as Recipe
    from segmed.training import load_recipe as load_recipe
    from segmed.training import train as train

_HOME: dict[str, str] = {
    "Image": "segmed.core.image",
    "Mask": "segmed.core.image",
    "Geometry": "segmed.core.image",
    "Grid": "segmed.core.volume",
    "Volume": "segmed.core.volume",
    "LabelMap": "segmed.core.labels",
    "Split": "segmed.core.split",
    "Prompts": "segmed.prompts.value",
    "SegmedError": "segmed.core.errors",
    "read_image": "segmed.io",
    "read_mask": "segmed.io",
    "write_mask": "segmed.io",
    "read_volume": "segmed.io.volumes",
    "write_volume": "segmed.io.volumes",
    "open_dataset": "segmed.data.sources",
    "decode": "segmed.data.decoded",
    "split_by_patient": "segmed.data.splits",
    "Recipe": "segmed.training",
    "load_recipe": "segmed.training",
    "train": "segmed.training",
    "load": "segmed.inference",
    "Predictor": "segmed.inference",
    "PromptedPredictor": "segmed.inference.prompted",
    "plan_evaluation": "segmed.evaluation.run",
    "evaluate_run": "segmed.evaluation.run",
    "compare": "segmed.evaluation.compare",
    "write_report": "segmed.evaluation.report",
}
"""Where each public name lives, in the order of the data's way."""

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
