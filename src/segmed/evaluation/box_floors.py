"""Evaluations of the baselines that use the prompt and not the image, under the very prompts the model was given."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from segmed.core.progress import Progress, tracked
from segmed.core.pseudonyms import shareable
from segmed.core.records import Record, by_volume
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.context import Context
from segmed.evaluation.evaluate import evaluate
from segmed.evaluation.part import Masks, Probabilities, records_of, split_facts, volumes
from segmed.evaluation.prompt_protocols import SEED, PromptProtocol
from segmed.evaluation.provenance import Provenance
from segmed.evaluation.result import Evaluation
from segmed.evaluation.run import Plan
from segmed.evaluation.statistics import RESAMPLES
from segmed.models.box_floors import BOX_FLOORS, previous_slice
from segmed.prompts.value import Prompts

Mask = UInt8[np.ndarray, "_h _w"]

DRAWN = ("filled box", "inscribed ellipse")
"""Floors that depend on how the boxes were drawn; the others only on which slices are asked about."""
PREVIOUS = "previous slice's mask"
REMARKS = {
    "filled box": "All pixels of the boxes that the model was given.",
    "inscribed ellipse": "The ellipse that touches the sides of each box that the model was given.",
    PREVIOUS: "The reference of the slice before, on slices that have the object.",
    "whole image": "All pixels of the slices that have the object.",
}


def box_floor_evaluations(
    decoded: DecodedDataset,
    plan: Plan,
    protocol: PromptProtocol,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Filled box and inscribed ellipse (where there are boxes), previous slice's mask and whole image.

    All are told which slices have the object, as the model is, and predict nothing on the others, so they are oracles
    too. `progress(done, total)` counts floors.
    """
    groups = records_of(decoded, plan.split.fold(plan.fold).part(plan.part))
    facts = split_facts(decoded, plan.split, plan.fold, plan.part)
    names = [name for name in REMARKS if protocol.has_boxes or name not in DRAWN]
    evaluations = []
    for name in tracked(names, progress):
        predict = _Floor(decoded, protocol, name)
        context = Context(
            kind="floor",
            part=plan.part,
            leaking=plan.leaking,
            patients_known=plan.patients_known,
            data_hash=decoded.data_hash,
            split=facts,
            prompts=protocol.kind,
            oracle=True,
            provenance=Provenance(
                system=name, remark=REMARKS[name], data=shareable(decoded.dataset.path), others={"prompt_seed": SEED}
            ),
        )
        evaluations.append(
            evaluate(
                volumes(decoded, groups, predict),
                decoded.dataset.labels,
                name=f"{name} ({protocol.name})",
                context=context,
                resamples=resamples,
                seed=seed,
            )
        )
    return evaluations


class _Floor:
    """One floor on the slices of one patient after the other."""

    def __init__(self, decoded: DecodedDataset, protocol: PromptProtocol, name: str) -> None:
        self._decoded, self._protocol, self._name = decoded, protocol, name
        self._volumes = by_volume(decoded.dataset.records)

    def __call__(self, records: Sequence[Record]) -> tuple[Masks, Probabilities | None]:
        neighbours = (
            {record.slice_index: self._decoded.mask(record.slice_id) for record in self._volumes[records[0].volume]}
            if self._name == PREVIOUS
            else {}
        )
        masks = []
        for record in records:
            reference = self._decoded.mask(record.slice_id)
            size = (reference.shape[0], reference.shape[1])
            prompts = self._protocol.prompted(record.slice_id, reference).prompts
            masks.append(self._mask(prompts, size, neighbours, record.slice_index))
        return masks, None

    def _mask(self, prompts: Prompts, size: tuple[int, int], neighbours: dict[int, Mask], position: int) -> Mask:
        if not len(prompts):
            return np.zeros(size, np.uint8)
        if self._name == PREVIOUS:
            return previous_slice(neighbours, position, size)
        return BOX_FLOORS[self._name](prompts, size)
