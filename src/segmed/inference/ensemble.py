"""Several runs as one predictor: the mean of their probabilities, labelled by a threshold of its own.

An ensemble is a folder with `ensemble.json`, which names its members (folders, relative to it) with the SHA-256 of
their configs and weights, and holds an `EnsembleConfig`, so that all that takes a run takes an ensemble. A config tells
which patients a member has seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from segmed.core.errors import ModelError
from segmed.core.files import emptied_on_failure, sha256_of, write_json
from segmed.core.reading import FileName, read_json
from segmed.inference.base import Opinions, VolumePredictor
from segmed.inference.predictor import Predictor, chosen_device
from segmed.inference.slices import PatientSlices
from segmed.models.checkpoint import (
    CONFIG,
    ENSEMBLE,
    WEIGHTS,
    RunConfig,
    TrainedModel,
    copy_run,
    found_from,
    known_patients,
    load_config,
    load_run,
    relative_to,
)
from segmed.models.joint_config import EnsembleConfig, require_one_plane
from segmed.models.prediction import AT_ONE_SIZE, TTA_NAMES, PredictionConfig, Tta
from segmed.models.seen import seen_by_any
from segmed.models.training_facts import TrainingFacts, summed_times

FORMAT = 1


@dataclass(frozen=True)
class Member:
    """A run of an ensemble: its folder, and the SHA-256 of its config and of its weights, empty where unknown."""

    folder: Path
    config_sha256: str
    weights_sha256: str = ""


class EnsemblePredictor(VolumePredictor):
    """The mean of the members' probabilities. Members may differ in all but their labels.

    Example:
        >>> from segmed.inference import EnsemblePredictor
        >>> from segmed.inference.ensemble import ensemble_config
        >>> run = segmed.load("runs/unet", device="cpu")
        >>> both = EnsemblePredictor([run, run], ensemble_config([run.folder, run.folder]), Path("both"))
        >>> image = segmed.read_image("slice.tif").array
        >>> bool(np.allclose(both.probabilities([image])[0], run.probabilities([image])[0]))
        True
    """

    def __init__(self, members: Sequence[Predictor], config: EnsembleConfig, folder: Path) -> None:
        """Raises `ModelError` where there is no member."""
        if not members:
            raise ModelError(f"{folder}: an ensemble without members. Name at least two runs.")
        self.members = tuple(members)
        self.config, self.folder = config, folder
        self.device = members[0].device
        self.tta = max((member.tta for member in members), key=TTA_NAMES.index)

    def iterate(self, slices: PatientSlices, *, batch_size: int = 8) -> Iterator[Float[np.ndarray, "k h w"]]:
        """Probabilities, one slice at a time, as `VolumePredictor.iterate` says."""
        for opinions in self.opinions(slices, batch_size=batch_size):
            yield opinions.mean

    def opinions(self, slices: PatientSlices, *, batch_size: int = 8) -> Iterator[Opinions]:
        """Probabilities with those of each member."""
        streams = [member.iterate(slices, batch_size=batch_size) for member in self.members]
        for each in zip(*streams, strict=True):
            stacked = np.stack(each)
            yield Opinions(_mean(stacked), stacked)

    @property
    def ttas(self) -> tuple[Tta, ...]:
        """Those that any member can do: a member that reads images of one size leaves out their scales."""
        return tuple(tta for tta in TTA_NAMES if any(tta in member.ttas for member in self.members))

    def iterate_ttas(
        self, slices: PatientSlices, ttas: Sequence[Tta], *, batch_size: int = 8
    ) -> Iterator[Mapping[Tta, Float[np.ndarray, "k h w"]]]:
        """Probabilities under several kinds of test-time augmentation, as `VolumePredictor.iterate_ttas` says."""
        self.require_ttas(ttas)
        theirs = [{tta: _within(tta, member.ttas) for tta in ttas} for member in self.members]
        streams = [
            member.iterate_ttas(slices, tuple(dict.fromkeys(own.values())), batch_size=batch_size)
            for member, own in zip(self.members, theirs, strict=True)
        ]
        for each in zip(*streams, strict=True):
            yield {tta: _mean(np.stack([one[own[tta]] for one, own in zip(each, theirs, strict=True)])) for tta in ttas}

    def networks(self) -> Sequence[nn.Module]:
        """The members' networks."""
        return [member.model for member in self.members]


def _mean(stacked: Float[np.ndarray, "n k h w"]) -> Float[np.ndarray, "k h w"]:
    return stacked.mean(axis=0, dtype=np.float32)


def load_ensemble(folder: Path, *, device: str = "auto", tta: Tta | None = None) -> EnsemblePredictor:
    """Load an ensemble's folder. Raises `ModelError` where a member is gone or was trained anew since, and for
    test-time augmentation of which no member is capable.
    """
    config, members = read_ensemble(folder)
    chosen = chosen_device(device)
    found = EnsemblePredictor(
        [_loaded(member, chosen, tta or config.prediction.tta) for member in members], config, folder
    )
    if tta is not None:
        found.require_ttas([tta])
    return found


def ensemble_of(
    runs: Sequence[Path], config: EnsembleConfig, folder: Path, *, device: str = "auto"
) -> EnsemblePredictor:
    """An ensemble of runs that is not written yet; `folder` is what messages call it."""
    chosen = str(chosen_device(device))
    return EnsemblePredictor([_member(load_run(run), chosen, config.prediction.tta) for run in runs], config, folder)


def read_ensemble(folder: Path) -> tuple[EnsembleConfig, list[Member]]:
    """What an ensemble is, and its members. No network is built."""
    stored = _read(folder)
    members = [
        Member(found_from(folder, each.folder), each.config_sha256, each.weights_sha256) for each in stored.members
    ]
    return EnsembleConfig.from_json(stored.config, str(folder / ENSEMBLE)), members


@dataclass(frozen=True)
class _StoredMember:
    folder: FileName
    config_sha256: str
    weights_sha256: str = ""


@dataclass(frozen=True)
class _Stored:
    """What `ensemble.json` holds."""

    members: tuple[_StoredMember, ...]
    config: dict[str, Any]


def _read(folder: Path) -> _Stored:
    what, remedy = "an ensemble made by `segmed ensemble`", "Make the ensemble again."
    return read_json(folder / ENSEMBLE, _Stored, what=what, remedy=remedy, error=ModelError, version=FORMAT)


def save_ensemble(folder: Path, members: Sequence[Path], config: EnsembleConfig, *, copy: bool = False) -> None:
    """Write `ensemble.json`; with `copy` also the members themselves, below `members/`, so that it can be moved."""
    with emptied_on_failure(folder):
        places = list(members)
        if copy:
            names = [f"{number}-{member.resolve().name}" for number, member in enumerate(members)]
            places = [copy_run(run, folder / "members" / name) for run, name in zip(members, names, strict=True)]
        entries = [
            {
                "folder": relative_to(folder, place),
                "config_sha256": sha256_of(place / CONFIG),
                "weights_sha256": sha256_of(place / WEIGHTS),
            }
            for place in places
        ]
        write_json(folder / ENSEMBLE, {"format": FORMAT, "members": entries, "config": config.to_json()})


def change_ensemble(folder: Path, config: EnsembleConfig) -> None:
    """Write another config (threshold, post-processing) of the same members."""
    members = [asdict(member) for member in _read(folder).members]
    write_json(folder / ENSEMBLE, {"format": FORMAT, "members": members, "config": config.to_json()})


def ensemble_config(members: Sequence[Path]) -> EnsembleConfig:
    """The config of an ensemble of runs, with threshold 0.5 for now: labels and data of all, patients seen by any, and
    the test-time augmentation and post-processing that all share, else none.

    Split and fold are those of the members where all share them, else none. Raises `ModelError` where labels or
    planes differ, `SplitError` where a run does not say which patients it was trained on.
    """
    configs = [load_run(member).config for member in members]
    first = configs[0]
    for member, config in zip(members, configs, strict=True):
        if config.training.as_published:
            raise ModelError(f"{member}: answers to boxes and points alone, and an ensemble gives none. Leave it out.")
        if not config.labels.means_the_same_as(first.labels):
            raise ModelError(
                f"{member}: predicts {', '.join(config.labels.names)}, {members[0]} {', '.join(first.labels.names)}. "
                "An ensemble's runs share their labels."
            )
    require_one_plane(
        [(member, each) for member, config in zip(members, configs, strict=True) for each in config.networks]
    )
    alike = all(config.prediction == first.prediction for config in configs)
    same = len({(config.split_hash, config.fold) for config in configs}) == 1
    return EnsembleConfig(
        networks=tuple(network for config in configs for network in config.networks),
        labels=first.labels,
        data_hash=first.data_hash if len({config.data_hash for config in configs}) == 1 else "",
        split_hash=first.split_hash if same else "",
        fold=first.fold if same else 0,
        leaking=any(config.leaking for config in configs),
        patients_known=all(config.patients_known for config in configs),
        volumes=first.volumes if len({config.volumes for config in configs}) == 1 else None,
        training=_training(members, configs),
        seen=seen_by_any([known_patients(member, config) for member, config in zip(members, configs, strict=True)]),
        in_colour=first.in_colour,
        prediction=first.prediction if alike else PredictionConfig(),
        labels_by_headers=any(config.labels_by_headers for config in configs),
    )


def with_members_settings(
    config: EnsembleConfig, members: Sequence[Path], *, threshold: float | None = None, tta: Tta | None = None
) -> EnsembleConfig:
    """The ensemble's config with what all its members have: post-processing and, unless given, threshold and
    test-time augmentation.

    Raises `ModelError` where a member has others than the first, or the threshold is no probability.
    """
    first, *others = (load_config(member)[0] for member in members)
    for member, own in zip(members[1:], others, strict=True):
        if tta is None and own.prediction.tta != first.prediction.tta:
            raise ModelError(
                f"{member}: has another test-time augmentation than {members[0]}. Give one with --tta, or let the "
                "ensemble choose its own on validation patients."
            )
        if replace(own.prediction, tta=first.prediction.tta) != first.prediction:
            raise ModelError(
                f"{member}: has other post-processing than {members[0]}. Give all the same, or let the ensemble choose "
                "its own on validation patients."
            )
        if threshold is None and own.threshold != first.threshold:
            raise ModelError(
                f"{member}: has another threshold than {members[0]}. Give one with --threshold, or let the ensemble "
                "choose its own on validation patients."
            )
    return replace(
        config,
        threshold=first.threshold if threshold is None else threshold,
        prediction=replace(first.prediction, tta=tta or first.prediction.tta),
    )


def _training(members: Sequence[Path], configs: Sequence[RunConfig]) -> TrainingFacts:
    described = [
        {"run": member.name, "model": config.model.name, "encoder": config.model.encoder, "fold": config.fold}
        for member, config in zip(members, configs, strict=True)
    ]
    return replace(summed_times([config.training for config in configs]), others={"members": described})


def _loaded(member: Member, device: torch.device, tta: Tta) -> Predictor:
    if not (member.folder / CONFIG).is_file():
        raise ModelError(
            f"{member.folder}: a member of the ensemble that is not there. Copy it back, or make the ensemble again."
        )
    if sha256_of(member.folder / CONFIG) != member.config_sha256:
        raise ModelError(f"{member.folder}: was changed since the ensemble was made. Make the ensemble again.")
    return _member(load_run(member.folder, weights_sha256=member.weights_sha256), str(device), tta)


def _member(trained: TrainedModel, device: str, tta: Tta) -> Predictor:
    """A run as a member, without prompts."""
    member = Predictor(trained, device=device, tta=AT_ONE_SIZE[tta])
    own = _within(tta, member.ttas)
    return member if own == member.tta else Predictor(trained, device=device, tta=own)


def _within(tta: Tta, known: Sequence[Tta]) -> Tta:
    """What a member does of it: one that reads images of one size leaves out scales of others."""
    return tta if tta in known else AT_ONE_SIZE[tta]
