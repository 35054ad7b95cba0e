"""Choose a cascade's settings on validation patients: by their mean volumetric Dice, as epochs and thresholds are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float32, Float64

from segmed.core.errors import SplitError
from segmed.core.image import Geometry, Mask
from segmed.core.progress import Progress, tracked
from segmed.core.records import Record
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.part import records_of
from segmed.evaluation.tune import mean_over_patients
from segmed.inference.base import VolumePredictor
from segmed.inference.cascade import NEVER, CascadeConfig, ask, joined_mask
from segmed.inference.from_data import patient_slices
from segmed.inference.prompted import Answer, EncodedImage, PromptedPredictor
from segmed.prompts.proposals import PromptKinds, Proposals, propose

GATES = (NEVER, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.0)
SHARES = (1.0, 0.5, 0.2)
MARGINS = (0.1, 0.0, 0.2)
SIZES = (5, 20, 50)
"""What is tried, in the order of preference among equals: the first gate leaves the dense mask as it is."""


@dataclass(frozen=True)
class CascadeChoice:
    """The chosen settings, and mean patient Dice of every candidate in the order in which they were tried.

    `dense` is the Dice of the dense run alone, `always` the best of those that refine whatever is proposed.
    """

    settings: CascadeConfig
    dice: float
    dense: float
    always: float
    patients: int
    tried: tuple[tuple[CascadeConfig, float], ...]


def tune_cascade(
    dense: VolumePredictor,
    promptable: PromptedPredictor,
    decoded: DecodedDataset,
    slice_ids: Sequence[str],
    *,
    kinds: Sequence[PromptKinds] = ("box",),
    progress: Progress | None = None,
) -> CascadeChoice:
    """Try every candidate on the patients of `slice_ids`, which neither run may have been trained on.

    Small components are removed as the dense run removes them. Never refining is among the candidates, so that here,
    and only here, a cascade cannot be worse than its dense run.
    Raises `SplitError` without slices.
    """
    groups = records_of(decoded, slice_ids)
    if not groups:
        raise SplitError("The split has no validation patients to choose a cascade on. Make another split.")
    candidates = list(_candidates(kinds))
    dice: dict[str, list[Float64[np.ndarray, " candidates"]]] = {}
    for records in tracked(groups.values(), progress):
        found = _volume(dense, promptable, decoded, records, candidates)
        dice.setdefault(records[0].patient, []).append(found)
    means = np.nan_to_num(mean_over_patients(dice))
    best = int(np.argmax(np.round(means, 9)))
    always = [mean for candidate, mean in zip(candidates, means, strict=True) if candidate.gate == 0]
    return CascadeChoice(
        settings=candidates[best],
        dice=float(means[best]),
        dense=float(means[0]),
        always=float(max(always)),
        patients=len(dice),
        tried=tuple(zip(candidates, map(float, means), strict=True)),
    )


def _candidates(kinds: Sequence[PromptKinds]) -> Iterator[CascadeConfig]:
    """All settings, the gate that never opens first and once."""
    yield CascadeConfig(gate=NEVER, prompts=kinds[0], min_pixels=SIZES[0])
    for gate, kind, share, margin, size in product(GATES[1:], kinds, SHARES, MARGINS, SIZES):
        yield CascadeConfig(share=share, min_pixels=size, margin=margin, prompts=kind, gate=gate)


Key = tuple[float, float, PromptKinds]
"""What the promptable run is asked: share, margin and prompts. Gate and size choose among its answers."""


def _volume(
    dense: VolumePredictor,
    promptable: PromptedPredictor,
    decoded: DecodedDataset,
    records: Sequence[Record],
    candidates: Sequence[CascadeConfig],
) -> Float64[np.ndarray, " candidates"]:
    """The volumetric Dice of a volume under every candidate; NaN where reference and prediction are empty."""
    slices = patient_slices(decoded, records)
    maps = [each[0] for each in dense.probabilities(slices)]
    faintest = CascadeConfig(share=min(SHARES), min_pixels=min(SIZES)).proposing(dense.config.threshold)
    with_objects = [index for index, each in enumerate(maps) if len(propose(each, faintest))]
    encoded = dict(zip(with_objects, promptable.encode_volume(slices.some(with_objects)), strict=True))
    truth = np.stack([np.asarray(decoded.mask(record.slice_id)) > 0 for record in records])
    positions = [record.slice_index for record in records]

    def dice(masks: Sequence[Bool[np.ndarray, "h w"]]) -> float:
        whole = [Mask(mask.astype(np.uint8), Geometry((mask.shape[0], mask.shape[1]))) for mask in masks]
        predicted = np.stack([mask.array for mask in dense.cleaned(whole, positions)]) > 0
        marked = int(predicted.sum()) + int(truth.sum())
        return 2 * int((predicted & truth).sum()) / marked if marked else np.nan

    alone = [each >= dense.config.threshold for each in maps]
    found = np.full(len(candidates), dice(alone))
    for key, columns in _asking_alike(candidates).items():  # the answers to one key at a time are held
        asked = {index: _asked(key, maps[index], each, dense, promptable) for index, each in encoded.items()}
        known: dict[bytes, float] = {}
        for column in columns:
            accepted = {index: _accepted(candidates[column], *each) for index, each in asked.items()}
            memory = b"".join(each.tobytes() for each in accepted.values())
            if memory not in known:
                masks = list(alone)
                for index, (proposals, answer) in asked.items():
                    masks[index] = joined_mask(alone[index], proposals, answer.masks, accepted[index])
                known[memory] = dice(masks)
            found[column] = known[memory]
    return found


def _asking_alike(candidates: Sequence[CascadeConfig]) -> dict[Key, list[int]]:
    """Which candidates that refine share the promptable run's answers."""
    found: dict[Key, list[int]] = {}
    for column, each in enumerate(candidates):
        if each.gate < NEVER:
            found.setdefault((each.share, each.margin, each.prompts), []).append(column)
    return found


def _asked(
    key: Key,
    probability: Float32[np.ndarray, "h w"],
    encoded: EncodedImage,
    dense: VolumePredictor,
    promptable: PromptedPredictor,
) -> tuple[Proposals, Answer]:
    share, margin, kinds = key
    least = CascadeConfig(share=share, min_pixels=min(SIZES), margin=margin)
    found = propose(probability, least.proposing(dense.config.threshold))
    return found, ask(promptable, encoded, found, kinds)


def _accepted(candidate: CascadeConfig, found: Proposals, answer: Answer) -> Bool[np.ndarray, " n"]:
    """Which components a candidate refines: large enough for it, and the promptable run sure enough."""
    large = found.components.sum(axis=(1, 2)) >= candidate.min_pixels
    return np.asarray((answer.iou >= candidate.gate) & large)


def facts_of(choice: CascadeChoice) -> Mapping[str, object]:
    """What is kept of a choice beside the settings."""
    return {
        "on": "validation patients, by mean volumetric Dice",
        "patients": choice.patients,
        "candidates": len(choice.tried),
        "dice": choice.dice,
        "dice_of_dense_run": choice.dense,
        "dice_without_gate": choice.always,
    }
