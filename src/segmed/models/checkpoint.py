"""A trained model on disk: `model.safetensors` and `config.json`, nothing that runs code when it is read."""

import hashlib
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segmed.core.config import config_from_mapping, config_to_mapping
from segmed.core.errors import ConfigError, DataError, ModelError, SplitError
from segmed.core.files import copy_file, sha256_of, write_json, written_aside
from segmed.core.labels import LabelMap
from segmed.core.reading import read_json, validated
from segmed.core.split import Split
from segmed.core.stacking import Plane
from segmed.layers.weight_files import of_another_type, read_safetensors, require_finite
from segmed.models.config import ModelConfig
from segmed.models.former_keys import present_keys
from segmed.models.hub import run_folder
from segmed.models.network_config import NetworkConfig
from segmed.models.run_facts import RunFacts, StoredFacts, facts_from, facts_to_json, require_probability
from segmed.models.seen import Seen, seen_patients
from segmed.models.training_facts import TrainingFacts
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig
from segmed.version import __version__

FORMAT = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"
RECIPE, SPLIT, METRICS = "recipe.yaml", "split.json", "metrics.csv"
"""What else a run's folder holds; see `docs/architecture.md`."""
ENSEMBLE, CASCADE = "ensemble.json", "cascade.json"
"""What makes a folder an ensemble of runs, or a cascade of two."""


@dataclass(frozen=True)
class RunConfig(RunFacts):
    """All that is needed to use a model rightly, and to know where it came from."""

    model: ModelConfig
    preprocess: PreprocessConfig
    labels: LabelMap
    threshold: float
    """Probability from which a pixel is foreground; tuned on validation patients."""
    weights_sha256: str = ""
    """SHA-256 of the weights' file, written by `save_run`; empty in configs from before it was kept."""

    def __post_init__(self) -> None:
        """Name the channels where the preprocessing takes all; raise `ModelError` for a threshold that is none."""
        read = self.preprocess.with_channels(self.model.channels // self.preprocess.slices)
        object.__setattr__(self, "preprocess", read)
        require_probability(self.threshold)

    @property
    def plane(self) -> Plane:
        """Along which volumes are cut."""
        return self.preprocess.plane

    @property
    def networks(self) -> tuple[NetworkConfig, ...]:
        """The one network."""
        return (NetworkConfig(self.model, self.preprocess),)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "format": FORMAT,
            "segmed": __version__,
            "model": config_to_mapping(self.model),
            "preprocess": config_to_mapping(self.preprocess),
            **facts_to_json(self, self.labels, self.threshold),
            "weights_sha256": self.weights_sha256,
        }

    @classmethod
    def from_json(cls, value: Any, source: str) -> "RunConfig":
        """Read `to_json`'s values; raises `ModelError` or `ConfigError` naming `source`."""
        stored = validated(
            value, _Stored, source=source, what="a run's config", remedy=_AGAIN, error=ModelError, version=FORMAT
        )
        try:
            return cls(
                model=config_from_mapping(ModelConfig, stored.model, source=source),
                preprocess=config_from_mapping(PreprocessConfig, stored.preprocess, source=source),
                **facts_from(stored, source),
                weights_sha256=stored.weights_sha256,
            )
        except ConfigError:
            raise
        except (DataError, ModelError) as error:  # of the label map and the threshold, which know no file
            raise ModelError(f"{source}: {error} {_AGAIN}") from error


@dataclass(frozen=True, kw_only=True)
class _Stored(StoredFacts):
    """What `config.json` holds."""

    model: dict[str, Any]
    preprocess: dict[str, Any]
    weights_sha256: str = ""


_AGAIN = "Train again or copy the whole folder."


@runtime_checkable
class HasSplit(Protocol):
    """What tells which split, fold and patients it was trained on."""

    @property
    def split_hash(self) -> str: ...
    @property
    def fold(self) -> int: ...
    @property
    def seen(self) -> dict[str, list[str]]: ...
    @property
    def training(self) -> TrainingFacts: ...


def own_split(folder: Path, config: "HasSplit") -> Split | None:
    """The split that a run was trained on, by numbers or, in runs of 0.1, by ids; None where its folder holds none.

    Raises `SplitError` for another file than the run was trained with.
    """
    path = folder / SPLIT
    if not path.is_file():
        return None
    if config.split_hash and sha256_of(path) != config.split_hash:
        raise SplitError(f"{path}: is not the split that the run was trained on. Put the original file back.")
    return Split.load(path)


def known_patients(folder: Path, config: "HasSplit") -> Seen:
    """`RunConfig.seen`, or where that is empty what the run's own split tells; of published weights nobody.

    Raises `SplitError` where neither does: nothing may then be said to be new to the run.
    """
    if config.seen or config.training.as_published:
        return config.seen
    split = own_split(folder, config)
    if split is None or split.numbered:
        raise SplitError(
            f"{folder}: does not say which patients it was trained on. Copy the split it was trained with there."
        )
    return seen_patients(split, config.fold)


@dataclass(frozen=True)
class TrainedModel:
    """A network in evaluation mode with its contract, and the folder it came from."""

    model: nn.Module
    config: RunConfig
    folder: Path


def save_run(folder: Path, model: nn.Module, config: RunConfig) -> None:
    """Write weights, then the config with their hash, each atomically, so that a folder with a config is whole."""
    save_weights(folder / WEIGHTS, model)
    write_json(folder / CONFIG, replace(config, weights_sha256=sha256_of(folder / WEIGHTS)).to_json())


def copy_run(run: Path, place: Path) -> Path:
    """Copy what a run is used and tested with to `place`, in place of another run's copy there; returns `place`."""
    for name in (WEIGHTS, RECIPE, SPLIT, CONFIG):  # the config last, so that a folder with one is whole
        if (run / name).is_file():
            copy_file(run / name, place / name)
        else:
            (place / name).unlink(missing_ok=True)
    return place


def relative_to(folder: Path, run: Path) -> str:
    """The way from `folder` to a run, as a file in `folder` names it on any system; `found_from` is its reverse.

    A way into the user's home folder from outside of it begins with `~`, since it would tell the user's name.
    """
    run, folder, home = run.resolve(), folder.resolve(), Path.home().resolve()
    if run.is_relative_to(home) and not folder.is_relative_to(home):
        return (Path("~") / run.relative_to(home)).as_posix()
    return Path(os.path.relpath(run, folder)).as_posix()


def found_from(folder: Path, way: str) -> Path:
    """The run that a file in `folder` names by `relative_to`."""
    return Path.home() / way[1:].lstrip("/") if way == "~" or way.startswith("~/") else folder / way


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a network's weights as safetensors, atomically.

    Raises `ModelError` for weights that are not finite, and `DataError` where the file cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    require_finite(tensors, str(path))
    with written_aside(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt"})
        except SafetensorError as error:  # a full disk is one of these, and no OSError
            raise OSError(str(error)) from error


def load_weights(path: Path, model: nn.Module) -> None:
    """Read weights into `model`.

    Raises `ModelError` for weights that are not finite, and lists what is missing, unexpected, misshapen or of another
    kind: numbers are floating where the model's are.
    """
    try:
        tensors = present_keys(load_file(path))
    except Exception as error:  # of the system, of safetensors, and of torch for dtypes that it does not have
        raise ModelError(f"{path}: weights cannot be read ({error}). Copy the run folder again.") from error
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    problems = {
        "missing": sorted(own.keys() - found.keys()),
        "unexpected": sorted(found.keys() - own.keys()),
        "of another shape": sorted(name for name in own.keys() & found.keys() if own[name] != found[name]),
        "of another type": of_another_type(model.state_dict(), tensors),
    }
    if any(problems.values()):
        listed = "; ".join(f"{what}: {', '.join(names[:5])}" for what, names in problems.items() if names)
        raise ModelError(f"{path}: weights do not fit the model; {listed}. Use the config they were saved with.")
    require_finite(tensors, str(path))
    model.load_state_dict(tensors)


def weights_digest(module: nn.Module) -> str:
    """The SHA-256 of a module's weights and buffers: their names, types, shapes and bytes, wherever they lie."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(repr((name, str(values.dtype), tuple(values.shape))).encode())
        digest.update(values.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def load_run(path_or_hub_id: str | Path, *, weights_sha256: str = "") -> TrainedModel:
    """Load a run folder, or a model from the Hugging Face hub by its `owner/name`.

    Args:
        path_or_hub_id: What to load.
        weights_sha256: What the weights' file has to hash to besides what the run's config says, as an ensemble knows.

    Raises:
        ModelError: There is neither, or the weights are not those that the config was written with.
    """
    config, folder = load_config(path_or_hub_id)
    _require_same_weights(folder, {config.weights_sha256, weights_sha256} - {""})
    model = build_model(replace(config.model, encoder_weights="none"))
    load_weights(folder / WEIGHTS, model)
    return TrainedModel(model.eval(), config, folder)


def load_tensors(folder: Path, config: RunConfig) -> dict[str, Tensor]:
    """The weights of a run by name, without its network; raises `ModelError` as `load_run` does."""
    _require_same_weights(folder, {config.weights_sha256} - {""})
    tensors = read_safetensors(folder / WEIGHTS)
    require_finite(tensors, str(folder / WEIGHTS))
    return tensors


_said: set[Path] = set()
"""Folders of which it was said that their weights cannot be checked."""


def _require_same_weights(folder: Path, expected: set[str]) -> None:
    """Raise `ModelError` unless the weights' file has each of the hashes; say once where there is none."""
    path = folder / WEIGHTS
    if not expected:
        if folder.resolve() not in _said:
            _said.add(folder.resolve())
            logging.getLogger(__name__).warning(
                "%s was written before runs kept a hash of their weights, so damage to them cannot be seen.", folder
            )
        return
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ModelError(f"{path}: weights cannot be read ({error.strerror}). Copy the run folder again.") from error
    if expected != {found}:
        raise ModelError(
            f"{path}: weights are not those that were saved (SHA-256 {found[:12]}, not "
            f"{min(expected - {found})[:12]}). The file is damaged, or of another training. Copy the run folder again."
        )


def is_run(folder: Path) -> bool:
    """Whether a folder is a run of ours, and not one of transformers, whose weights and config have the same names."""
    if not ((folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()):
        return False
    value = read_json(folder / CONFIG, dict[str, Any], what="a model's config", remedy=_AGAIN, error=ModelError)
    return "segmed" in value


def load_config(path_or_hub_id: str | Path) -> tuple[RunConfig, Path]:
    """What `load_run` knows before it builds the network, and the run's folder."""
    folder = run_folder(path_or_hub_id, files=(WEIGHTS, CONFIG, SPLIT, "*.yaml", "README.md"))
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder}: holds no {CONFIG}, so it is not a finished run. Finish it with `segmed train`.")
    value = read_json(folder / CONFIG, dict[str, Any], what="a run's config", remedy=_AGAIN, error=ModelError)
    return RunConfig.from_json(value, str(folder / CONFIG)), folder
