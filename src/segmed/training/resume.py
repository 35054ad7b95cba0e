"""How a run begins or goes on: the folder says what it is a run of, and nothing else is continued in it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from segmed.core.config import config_to_mapping
from segmed.core.errors import ConfigError, SplitError
from segmed.core.files import holds_files, refuse_links, require_folder, write_json
from segmed.core.pseudonyms import shareable
from segmed.core.reading import read_json
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.data.splits import numbered
from segmed.models.checkpoint import CONFIG, METRICS, RECIPE, SPLIT, WEIGHTS
from segmed.models.hub import PREFIX
from segmed.training.checkpointing import resume_checkpoint, resume_folder
from segmed.training.precision import PrecisionName
from segmed.training.recipe import Recipe, load_recipe, save_recipe


def is_finished(out: Path) -> bool:
    """Whether `out` holds a finished run."""
    return (out / CONFIG).is_file() and (out / WEIGHTS).is_file()


@dataclass(frozen=True)
class RunInputs:
    """What a run is made of: it goes on with the same alone."""

    recipe: Recipe
    split: Split
    data: DecodedDataset
    fold: int = 0
    embeddings: str | None = None
    """Digest of the embedding cache's plan; None without one."""
    processes: int = 1
    precision: str | None = None
    """Lightning's name of the arithmetic that it is trained in; None is not looked at."""
    encoder_weights: dict[str, str] | None = None
    """The file that a convolutional encoder begins with, and its hash; None where there is none."""


def begin(out: Path, inputs: RunInputs, *, resume: bool) -> None:
    """Write what the run is of, unless with `resume` an interrupted one is of the same and has trained an epoch.

    Raises `ConfigError` as `require_place` does, which is asked once more, since another process may have written in
    `out` before this one held its lock; nothing is written then.
    """
    if resume and is_finished(out):
        raise ConfigError(f"{out}: another process has finished this run meanwhile.")
    if require_place(out, inputs, resume=resume) and resume_checkpoint(out).is_file():
        return
    save_recipe(out / RECIPE, for_sharing(inputs.recipe))
    numbered(inputs.split, inputs.data).save(out / SPLIT)
    begun = {
        "fold": inputs.fold,
        "embeddings": inputs.embeddings,
        "processes": inputs.processes,
        "precision": inputs.precision,
        "encoder_weights": inputs.encoder_weights or {},
    }
    write_json(_begun(out), begun)


def begun_precision(out: Path) -> PrecisionName | None:
    """The arithmetic of the interrupted run in `out`; None without a finished epoch, or where it does not say."""
    return _read(_begun(out)).precision if _begun(out).is_file() and resume_checkpoint(out).is_file() else None


def begun_encoder_weights(out: Path, *, otherwise: dict[str, str] | None) -> dict[str, str] | None:
    """The file that the encoder of the run in `out` began with, and its hash; `otherwise` where it does not say."""
    known = _read(_begun(out)).encoder_weights
    return otherwise if known is None else known or None


def require_place(out: Path, inputs: RunInputs, *, resume: bool) -> bool:
    """Whether `out` has an interrupted run to continue; False where it is free for a new one.

    As many processes as began a run go on with it, in the same arithmetic: with others the same epoch would have other
    steps, or other numbers.

    Raises `ConfigError` where it holds something else, or another run, or may not be continued; `DataError` where
    symbolic links lie in it.
    """
    require_folder(out)
    refuse_links(out)
    if holds_files(out):
        if not resume:
            raise ConfigError(f"{out}: already holds files. Continue it with --resume, or choose another folder.")
        if (out / RECIPE).is_file() and (out / SPLIT).is_file() and _begun(out).is_file():
            require_same_run(out, inputs)
            known = _read(_begun(out))
            if known.processes != inputs.processes:
                raise ConfigError(f"{out}: was begun on {known.processes} devices. Resume on as many, or start anew.")
            differs = known.precision is not None and inputs.precision not in (None, known.precision)
            if differs and resume_checkpoint(out).is_file():
                raise ConfigError(
                    f"{out}: was begun in precision {known.precision}, which this device does not have: it would go on "
                    f"in {inputs.precision}. Resume on a device like the first, or start anew."
                )
            return True
        if not (out / RECIPE).is_file():
            raise ConfigError(f"{out}: is not a run folder, so there is nothing to resume. Choose another folder.")
        trained = [name for name in (CONFIG, WEIGHTS, METRICS) if (out / name).is_file()]
        if trained:  # more than a kill leaves of a run that was about to begin
            raise ConfigError(
                f"{out}: holds {' and '.join(trained)} of a run, but not what it would go on from. Put its missing "
                f"files ({WEIGHTS} and {CONFIG}, or all of {_begun(out).parent.name}/) back, or choose another folder."
            )
    return False


def require_same_run(out: Path, inputs: RunInputs) -> None:
    """Raise `ConfigError` unless the run in `out` was begun with this recipe, split, fold and embedding cache.

    A run that went on with another split or fold would have trained on patients that it is later tested on.
    """
    if not (out / RECIPE).is_file():
        raise ConfigError(f"{out}: holds a run without {RECIPE}, which no training left. Choose another folder.")
    before, now = (config_to_mapping(_by_last_names(each)) for each in (load_recipe(out / RECIPE), inputs.recipe))
    changed = [key for key in now if before.get(key) != now[key]]
    if not _same_split(Split.load(out / SPLIT), inputs.split, inputs.data):
        changed.append("split")
    known = _read(_begun(out) if _begun(out).is_file() else out / CONFIG)
    if known.fold != inputs.fold:
        changed.append("fold")
    if (known.embeddings or known.training.embeddings) != inputs.embeddings:
        changed.append("embedding cache")
    if changed:
        raise ConfigError(f"{out}: was begun with another {', '.join(changed)}. Resume with the same, or start anew.")


def for_sharing(recipe: Recipe) -> Recipe:
    """The recipe as a run keeps it: absolute paths lead from the current folder, see `core.pseudonyms.shareable`."""
    return _with_paths(recipe, lambda path: shareable(path) if Path(path).is_absolute() else path)


def _by_last_names(recipe: Recipe) -> Recipe:
    """A recipe that is equal to one that names the same files and folders from another place."""
    return _with_paths(recipe, lambda path: path if path.startswith(PREFIX) else Path(path).name)


def _with_paths(recipe: Recipe, changed: Callable[[str], str]) -> Recipe:
    proposals = replace(recipe.prompting.proposals, folder=changed(recipe.prompting.proposals.folder))
    return replace(
        recipe,
        start=None if recipe.start is None else changed(recipe.start),
        model=replace(recipe.model, encoder_weights=changed(recipe.model.encoder_weights)),
        prompting=replace(recipe.prompting, proposals=proposals),
    )


def _same_split(kept: Split, split: Split, data: DecodedDataset) -> bool:
    try:
        return numbered(kept, data) == numbered(split, data)  # runs of 0.1 keep ids
    except SplitError:
        return False


@dataclass(frozen=True)
class _Training:
    embeddings: str | None = None


@dataclass(frozen=True)
class _Known:
    """How a run was begun: of `begun.json`, or of a finished run's config, which has the cache under `training`."""

    fold: Annotated[int, Ge(0)]
    embeddings: str | None = None
    processes: Annotated[int, Ge(1)] = 1
    precision: PrecisionName | None = None
    """Early versions did not write it."""
    encoder_weights: dict[str, str] | None = None
    """Empty where there is no file; early versions did not write it."""
    training: _Training = field(default_factory=_Training)


def _read(file: Path) -> _Known:
    return read_json(file, _Known, what="how a run was begun", remedy="Train into another folder.", error=ConfigError)


def _begun(out: Path) -> Path:
    return resume_folder(out) / "begun.json"
