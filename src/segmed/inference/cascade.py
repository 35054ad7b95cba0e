"""The cascade: a dense run proposes, a promptable run refines, and its expected IoU decides whose mask stands.

A cascade is a folder with `cascade.json`: the settings, chosen on validation patients, and where both runs are, with
the hashes of their weights. Their thresholds are those of their configs at every loading, so a run of a cascade may be
tuned again, but not trained again. Whatever takes a run takes a cascade.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float, Float32
from pydantic import Field
from torch import nn

from segmed.core.config import config_dataclass, config_from_mapping, config_to_mapping
from segmed.core.errors import ModelError
from segmed.core.files import copy_file, emptied_on_failure, refuse_links, sha256_of, write_json
from segmed.core.reading import FileName, read_json
from segmed.inference.automatic_prompts import EncodedVolume
from segmed.inference.base import VolumePredictor
from segmed.inference.prompted import Answer, EncodedImage, PromptedPredictor
from segmed.inference.slices import PatientSlices
from segmed.models.checkpoint import (
    CASCADE,
    CONFIG,
    SPLIT,
    WEIGHTS,
    copy_run,
    found_from,
    known_patients,
    relative_to,
)
from segmed.models.joint_config import CascadedConfig, require_one_plane
from segmed.models.seen import seen_by_any
from segmed.models.training_facts import summed_times
from segmed.prompts.proposals import PromptKinds, Proposals, ProposeConfig, propose

FORMAT = 1
NEVER = 1.01
"""A gate that no expected IoU reaches: the dense mask stands everywhere."""
BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0))


@config_dataclass
class CascadeConfig:
    """How a cascade proposes, asks and decides."""

    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Pixels propose from this share of the dense run's own threshold on: below 1 also what is too faint for it."""
    min_pixels: Annotated[int, Field(ge=1)] = 5
    """Smaller components of the dense map propose nothing and stand as they are."""
    margin: Annotated[float, Field(ge=0, le=2)] = 0.1
    """How far each side of a component's tight box moves out, as a share of the box's sides."""
    prompts: PromptKinds = "box"
    """What the promptable run is given of a component: its box, with its peak as a point, with its logits as a mask."""
    gate: Annotated[float, Field(ge=0)] = 0.5
    """The dense mask of a component stands where the expected IoU of the refined one is below this."""

    def proposing(self, threshold: float) -> ProposeConfig:
        """How a dense run with this threshold proposes."""
        return ProposeConfig(probability=self.share * threshold, min_pixels=self.min_pixels, margin=self.margin)


class CascadePredictor(VolumePredictor):
    """A dense run refined by a promptable one. Its probabilities are moved so that both thresholds become 0.5.

    Only slices on which something is proposed go through the promptable run.
    """

    def __init__(
        self,
        dense: VolumePredictor,
        promptable: PromptedPredictor,
        settings: CascadeConfig,
        config: CascadedConfig,
        folder: Path,
    ) -> None:
        self.dense, self.promptable, self.settings = dense, promptable, settings
        self.config, self.folder, self.device, self.tta = config, folder, dense.device, dense.tta

    def networks(self) -> Sequence[nn.Module]:
        """The dense run's and the promptable one's."""
        return [*self.dense.networks(), *self.promptable.networks()]

    def iterate(self, slices: PatientSlices, *, batch_size: int = 8) -> Iterator[Float[np.ndarray, "k h w"]]:
        """Probabilities, one slice at a time; those of the dense run are held for the whole volume."""
        dense = self.dense.probabilities(slices, batch_size=batch_size)
        proposing = self.settings.proposing(self.dense.config.threshold)
        proposed = [propose(each[0], proposing) for each in dense]
        with_objects = [index for index, found in enumerate(proposed) if len(found)]
        encoded = self.promptable.iterate_encoded(slices.some(with_objects), batch_size=batch_size)
        for index, found in enumerate(proposed):
            if len(found):
                answer = ask(self.promptable, next(encoded), found, self.settings.prompts)
                yield self._joined(dense[index][0], found, answer)[None]
            else:
                yield at_half(dense[index], self.dense.config.threshold)

    def answers(self, predictor: PromptedPredictor, volume: EncodedVolume) -> list[Answer]:
        """The cascade as a prompt protocol of its promptable run, whose embeddings are used again.

        Raises `ModelError` for another run.
        """
        if predictor.folder.resolve() != self.promptable.folder.resolve():
            raise ModelError(f"{self.folder}: refines by {self.promptable.folder}, not by {predictor.folder}.")
        proposing, found_answers = self.settings.proposing(self.dense.config.threshold), []
        dense = self.dense.probabilities(volume.slices)
        for each, encoded in zip(dense, volume.encoded, strict=True):
            found = propose(each[0], proposing)
            answer = ask(predictor, encoded, found, self.settings.prompts)
            joined = self._joined(each[0], found, answer)[None]
            found_answers.append(replace(answer, probabilities=joined, threshold=self.config.threshold))
        return found_answers

    def _joined(
        self, dense: Float32[np.ndarray, "h w"], found: Proposals, answer: Answer
    ) -> Float32[np.ndarray, "h w"]:
        accepted = answer.iou >= self.settings.gate
        ground = at_half(dense, self.dense.config.threshold)
        if not accepted.any():
            return ground
        ground = np.where(found.components[accepted].any(axis=0), np.float32(0), ground)
        refined = at_half(answer.objects[accepted].max(axis=0), self.promptable.config.threshold)
        return np.maximum(ground, refined)


def ask(promptable: PromptedPredictor, encoded: EncodedImage, found: Proposals, kinds: PromptKinds) -> Answer:
    """What the promptable run makes of a slice's proposals."""
    cells = promptable.mask_cells if "mask" in kinds else None
    return promptable.decode(encoded, found.prompts(kinds, encoded.grid, cells))


def at_half(probability: Float32[np.ndarray, "..."], threshold: float) -> Float32[np.ndarray, "..."]:
    """Probabilities moved by one step of their logits so that exactly those from `threshold` on are at least 0.5."""
    bounded = np.clip(np.asarray(probability, np.float64), 1e-7, 1 - 1e-7)
    border = min(max(threshold, 1e-7), 1 - 1e-7)
    odds = bounded / (1 - bounded) * ((1 - border) / border)
    moved = np.asarray(odds / (1 + odds), np.float32)
    return np.where(probability >= threshold, np.maximum(moved, np.float32(0.5)), np.minimum(moved, BELOW_HALF))


def joined_mask(
    dense: Bool[np.ndarray, "h w"],
    found: Proposals,
    refined: Bool[np.ndarray, "n h w"],
    accepted: Bool[np.ndarray, " n"],
) -> Bool[np.ndarray, "h w"]:
    """The mask of a cascade from both masks: what `CascadePredictor` labels, for choosing its settings quickly."""
    if not accepted.any():
        return dense
    return np.asarray((dense & ~found.components[accepted].any(axis=0)) | refined[accepted].any(axis=0))


def cascade_config(dense: VolumePredictor, promptable: VolumePredictor, settings: CascadeConfig) -> CascadedConfig:
    """What a cascade is, for all that takes a run: trained and chosen on whatever either run was.

    From the joined masks it removes the small components that the dense run removes from its own.

    Published weights as they are have no split: any dense run goes with them, and which patients they have seen stays
    unknown. Raises `ModelError` unless the second takes prompts, the first proposes, and both are of one label, split,
    fold, data and plane; `SplitError` where a run does not say which patients it has seen.
    """
    one, other = dense.config, promptable.config
    if not isinstance(promptable, PromptedPredictor):
        raise ModelError(f"{promptable.folder}: takes no prompts. Name the promptable run second.")
    if not one.labels.means_the_same_as(other.labels) or len(one.labels.names) != 1:
        raise ModelError(f"{dense.folder} and {promptable.folder}: a cascade needs one label, the same in both runs.")
    if one.training.as_published:
        raise ModelError(
            f"{dense.folder}: answers to boxes and points alone, and proposes none. Name a dense run first."
        )
    trained = (other.data_hash, other.split_hash, other.fold)
    if not other.training.as_published and trained != (one.data_hash, one.split_hash, one.fold):
        raise ModelError(
            f"{promptable.folder}: was trained on other data, another split or another fold than {dense.folder}, so "
            "that no patients are new to both. Train both on the same."
        )
    require_one_plane([(run.folder, each) for run in (dense, promptable) for each in run.config.networks])
    return CascadedConfig(
        networks=(*one.networks, *other.networks),
        labels=one.labels,
        prediction=one.prediction,
        data_hash=one.data_hash,
        split_hash=one.split_hash,
        fold=one.fold,
        in_colour=one.in_colour,
        labels_by_headers=one.labels_by_headers or other.labels_by_headers,
        leaking=one.leaking or other.leaking,
        patients_known=one.patients_known and other.patients_known,
        volumes=one.volumes if other.training.as_published or one.volumes == other.volumes else None,
        training=replace(
            summed_times([one.training, other.training]),
            runs=(one.training, other.training),
            others={"cascade": config_to_mapping(settings)},
        ),
        seen=seen_by_any([known_patients(run.folder, run.config) for run in (dense, promptable)]),
    )


def save_cascade(
    folder: Path, dense: Path, promptable: Path, settings: CascadeConfig, facts: dict[str, Any], *, copy: bool = False
) -> None:
    """Write `cascade.json` and the runs' split; with `copy` both runs too, so that the folder can go anywhere.

    `facts` say how the settings were chosen. Raises `DataError` where symbolic links lie in `folder`.
    """
    refuse_links(folder)
    with emptied_on_failure(folder):
        runs = {"dense": dense, "promptable": promptable}
        if copy:
            runs = {name: copy_run(run, folder / name) for name, run in runs.items()}
        if (dense / SPLIT).is_file():
            copy_file(dense / SPLIT, folder / SPLIT)
        else:
            (folder / SPLIT).unlink(missing_ok=True)  # that of another dense run, where the cascade is made anew
        places = {
            name: {"folder": relative_to(folder, run), "weights": sha256_of(run / WEIGHTS)}
            for name, run in runs.items()
        }
        value = {"format": FORMAT, "settings": config_to_mapping(settings), **places, "chosen": facts}
        write_json(folder / CASCADE, value)


@dataclass(frozen=True)
class _StoredRun:
    folder: FileName
    weights: str


@dataclass(frozen=True)
class _Stored:
    """What `cascade.json` holds."""

    settings: dict[str, Any]
    dense: _StoredRun
    promptable: _StoredRun


def read_cascade(folder: Path) -> tuple[CascadeConfig, tuple[Path, str], tuple[Path, str]]:
    """What a cascade's folder says: settings, and the dense and the promptable run with the hashes of their weights.

    Raises `ModelError` where a run is gone.
    """
    source = folder / CASCADE
    what, remedy = "a cascade made by `segmed cascade`", "Make the cascade again."
    stored = read_json(source, _Stored, what=what, remedy=remedy, error=ModelError, version=FORMAT)
    settings = config_from_mapping(CascadeConfig, stored.settings, source=str(source))
    dense, promptable = ((found_from(folder, each.folder), each.weights) for each in (stored.dense, stored.promptable))
    for run, _ in (dense, promptable):
        if not (run / CONFIG).is_file() or not (run / WEIGHTS).is_file():
            raise ModelError(f"{run}: a run of the cascade that is not there. Copy it back, or make it with --copy.")
    return settings, dense, promptable


def join(
    dense: VolumePredictor, promptable: VolumePredictor, settings: CascadeConfig, folder: Path
) -> CascadePredictor:
    """A cascade of two loaded runs; raises what `cascade_config` does."""
    config = cascade_config(dense, promptable, settings)
    assert isinstance(promptable, PromptedPredictor)  # cascade_config has made sure
    return CascadePredictor(dense, promptable, settings, config, folder)
