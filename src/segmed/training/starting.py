"""Begin a training from the weights of another run, without letting it see what the other must not have seen."""

from pathlib import Path

from torch import nn

from segmed.core.errors import ConfigError, SplitError
from segmed.core.split import Split
from segmed.models.checkpoint import TrainedModel, load_config, patient_digest, seen_patients
from segmed.preprocess import PreprocessConfig

ADDED = ("raiser.", "fine.", "filters.")
"""Parts of a network that may begin anew where the other run has none: FeatUp, and filters, which start as nothing."""


def start_model(model: nn.Module, started: TrainedModel) -> None:
    """Copy a run's weights into `model`; what FeatUp and GAFL add keeps its own where the run has none.

    Raises `ConfigError` where the weights do not fit.
    """
    own, found = model.state_dict(), started.model.state_dict()
    missing = [name for name in own.keys() - found.keys() if not name.startswith(ADDED)]
    misfit = [name for name in own.keys() & found.keys() if own[name].shape != found[name].shape]
    problems = sorted({*missing, *(found.keys() - own.keys()), *misfit})
    if problems:
        raise ConfigError(
            f"start: {started.folder} holds weights of another network ({', '.join(problems[:3])} differ). "
            "Give the run's own model settings; only FeatUp's parts and learned filters may be new."
        )
    model.load_state_dict(found, strict=False)


def require_start(started: TrainedModel, preprocess: PreprocessConfig, split: Split, fold: int) -> None:
    """Raise unless a run may be gone on from: prepared the same way, and strange to this fold's held-out patients.

    `ConfigError` for another preprocessing, `SplitError` where it was trained on a patient of validation or test, or
    was chosen on one of test.
    """
    if started.config.preprocess != preprocess:
        raise ConfigError(
            f"start: {started.folder} was trained on images prepared in another way. Use its preprocess settings."
        )
    now, before = seen_patients(split, fold), started.config.seen
    held_out = {split.patient_of[case] for case in split.fold(fold).test}
    trained, chosen_on = set(before.get("train", ())), set(before.get("validation", ()))
    test = {patient_digest(patient) for patient in held_out}
    shared = (trained & set(now["validation"])) | ((trained | chosen_on) & test)
    if shared and not split.leaking:
        raise SplitError(
            f"start: {started.folder} has seen {len(shared)} of the patients that this fold holds out. "
            "Use the split and fold it was trained on."
        )


def seen_in_all(split: Split, fold: int, start: Path | str | None) -> dict[str, list[str]]:
    """`RunConfig.seen` of a run and of the one it began from."""
    seen = seen_patients(split, fold)
    if start is None:
        return seen
    before = load_config(start)[0].seen
    return {part: sorted({*digests, *before.get(part, ())}) for part, digests in seen.items()}
