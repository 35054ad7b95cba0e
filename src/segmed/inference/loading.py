"""Load what predicts: a run folder, a model of the hub, or an ensemble of runs."""

from pathlib import Path

from segmed.inference.base import VolumePredictor
from segmed.inference.ensemble import ENSEMBLE, load_ensemble
from segmed.inference.predictor import Predictor
from segmed.models.checkpoint import load_run
from segmed.models.prediction import Tta


def load(path_or_hub_id: str | Path, *, device: str = "auto", tta: Tta | None = None) -> VolumePredictor:
    """Load a run folder, an ensemble's folder or a hub id `owner/name`, to predict on `device` (auto, cpu, cuda, mps).

    `tta` takes the place of the run's own choice. Raises `ModelError` where there is nothing to load.
    """
    folder = Path(path_or_hub_id)
    if (folder / ENSEMBLE).is_file():
        return load_ensemble(folder, device=device, tta=tta)
    return Predictor(load_run(path_or_hub_id), device=device, tta=tta)
