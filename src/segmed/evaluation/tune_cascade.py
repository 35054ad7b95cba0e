"""Choose a cascade's settings on validation patients: by their mean volumetric Dice, as epochs and thresholds are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from segmed.core.errors import SplitError
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

    Never refining is among the candidates, so that here, and only here, a cascade cannot be worse than its dense run.
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


def _volume(
    dense: VolumePredictor,
    promptable: PromptedPredictor,
    decoded: DecodedDataset,
    records: Sequence[Record],
    candidates: Sequence[CascadeConfig],
) -> Float64[np.ndarray, " candidates"]:
    """The volumetric Dice of a volume under every candidate; NaN where reference and prediction are empty."""
    slices = patient_slices(decoded, records)
    maps = dense.probabilities(slices)
    faintest = CascadeConfig(share=min(SHARES), min_pixels=min(SIZES)).proposing(dense.config.threshold)
    with_objects = [index for index, each in enumerate(maps) if len(propose(each[0], faintest))]
    encoded = dict(zip(with_objects, promptable.encode_volume(slices.some(with_objects)), strict=True))
    totals = np.zeros((len(candidates), 2), np.int64)  # hits, predicted
    reference = 0
    for index, record in enumerate(records):
        truth = np.asarray(decoded.mask(record.slice_id)) > 0
        reference += int(truth.sum())
        mask = maps[index][0] >= dense.config.threshold
        if index not in encoded:
            totals += (int((mask & truth).sum()), int(mask.sum()))
            continue
        totals += _slice(maps[index][0], mask, truth, encoded[index], dense, promptable, candidates)
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * totals[:, 0] / (totals[:, 1] + reference))


def _slice(
    probability: Float32[np.ndarray, "h w"],
    mask: Bool[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "h w"],
    encoded: EncodedImage,
    dense: VolumePredictor,
    promptable: PromptedPredictor,
    candidates: Sequence[CascadeConfig],
) -> Int64[np.ndarray, "candidates 2"]:
    """Hits and predicted pixels of one slice under every candidate; each is decoded once."""
    answers: dict[tuple[float, float, PromptKinds], tuple[Proposals, Answer]] = {}
    counted: dict[tuple[tuple[float, float, PromptKinds], bytes], tuple[int, int]] = {}
    rows = []
    for candidate in candidates:
        key = (candidate.share, candidate.margin, candidate.prompts)
        if candidate.gate >= NEVER:
            rows.append((int((mask & truth).sum()), int(mask.sum())))
            continue
        if key not in answers:
            least = CascadeConfig(share=candidate.share, min_pixels=min(SIZES), margin=candidate.margin)
            found = propose(probability, least.proposing(dense.config.threshold))
            answers[key] = (found, ask(promptable, encoded, found, candidate.prompts))
        found, answer = answers[key]
        accepted = (answer.iou >= candidate.gate) & (found.components.sum(axis=(1, 2)) >= candidate.min_pixels)
        memory = (key, accepted.tobytes())
        if memory not in counted:
            joined = joined_mask(mask, found, answer.masks, accepted)
            counted[memory] = (int((joined & truth).sum()), int(joined.sum()))
        rows.append(counted[memory])
    return np.array(rows, np.int64)


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
