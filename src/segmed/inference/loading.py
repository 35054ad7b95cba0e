"""Load what predicts: a run folder, a model of the hub, an ensemble of runs, or a cascade of two."""

import hashlib
import json
from pathlib import Path

from segmed.core.config import config_to_mapping
from segmed.inference.base import VolumePredictor
from segmed.inference.ensemble import load_ensemble, read_ensemble
from segmed.inference.predictor import Predictor
from segmed.models.checkpoint import CASCADE, CONFIG, ENSEMBLE, TrainedModel, load_config, load_run
from segmed.models.joint_config import SystemConfig
from segmed.models.prediction import Tta


def load(path_or_hub_id: str | Path, *, device: str = "auto", tta: Tta | None = None) -> VolumePredictor:
    """Load what predicts.

    Args:
        path_or_hub_id: The folder of a run, an ensemble or a cascade, or `hf:owner/name` of the hub.
        device: auto, cpu, cuda, cuda:1 (any number) or mps.
        tta: Test-time augmentation in place of the run's own choice; a cascade hands it to its dense run.

    Returns:
        A promptable run comes as a `PromptedPredictor`, which takes prompts as well.

    Raises:
        ModelError: There is nothing to load, the weights are not those of the config's hash, or no such device.

    Example:
        >>> predictor = segmed.load("runs/unet", device="cpu")
        >>> predictor.predict(segmed.read_image("slice.tif").array).array.shape
        (64, 64)
    """
    folder = Path(path_or_hub_id)
    if (folder / ENSEMBLE).is_file():
        return load_ensemble(folder, device=device, tta=tta)
    if (folder / CASCADE).is_file():
        return load_cascade(folder, device=device, tta=tta)
    return predictor_of(load_run(path_or_hub_id), device=device, tta=tta)


def load_cascade(folder: Path, *, device: str = "auto", tta: Tta | None = None) -> VolumePredictor:
    """Load a cascade's folder; `tta` is for the dense run. Raises `ModelError` where a run is gone or its weights
    are others."""
    from segmed.inference.cascade import join, read_cascade  # imports transformers

    settings, *places = read_cascade(folder)
    dense, promptable = (load_run(run, weights_sha256=weights) for run, weights in places)
    return join(predictor_of(dense, device=device, tta=tta), predictor_of(promptable, device=device), settings, folder)


def predictor_of(trained: TrainedModel, *, device: str = "auto", tta: Tta | None = None) -> Predictor:
    """What predicts with a loaded run, on `device`; a `PromptedPredictor` where it takes prompts."""
    if not trained.config.model.takes_prompts:
        return Predictor(trained, device=device, tta=tta)
    from segmed.inference.prompted import PromptedPredictor  # imports transformers

    return PromptedPredictor(trained, device=device, tta=tta)


def configs_in(folder: Path) -> tuple[Path, ...]:
    """The files that say what `load` finds in a folder; none where it is no run, ensemble or cascade."""
    return tuple(folder / name for name in (CONFIG, ENSEMBLE, CASCADE) if (folder / name).is_file())


def parts_of(folder: Path) -> tuple[Path, ...]:
    """The configs that a cascade reads of its two runs whenever it is loaded; none for anything else."""
    if not (folder / CASCADE).is_file():
        return ()
    from segmed.inference.cascade import read_cascade  # imports transformers

    _, *runs = read_cascade(folder)
    return tuple(run / CONFIG for run, _ in runs)


def config_of(folder: Path) -> SystemConfig:
    """The config of what `load` loads; networks are built for a cascade alone, whose config is that of both runs."""
    if (folder / ENSEMBLE).is_file():
        return read_ensemble(folder)[0]
    return load_config(folder)[0] if (folder / CONFIG).is_file() else load(folder).config


def hashes_of(folder: Path) -> tuple[str, ...]:
    """Hashes of what `load` finds in a folder: of each network's weights, and of a cascade also its settings.

    No network is built. Empty for a folder that holds nothing to load, and for runs of 0.1 that kept no hash.
    """
    if (folder / ENSEMBLE).is_file():
        return tuple(member.weights_sha256 for member in read_ensemble(folder)[1])
    if (folder / CASCADE).is_file():
        from segmed.inference.cascade import read_cascade  # imports transformers

        settings, *runs = read_cascade(folder)
        text = json.dumps(config_to_mapping(settings), sort_keys=True)
        return (*(weights for _, weights in runs), hashlib.sha256(text.encode()).hexdigest())
    if not (folder / CONFIG).is_file():
        return ()
    weights = load_config(folder)[0].weights_sha256
    return (weights,) if weights else ()
