"""Evaluate a promptable run under several kinds of prompts: each patient is encoded once, for all protocols."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, UInt8

from segmed.core.image import Geometry, Mask
from segmed.core.progress import Progress, tracked
from segmed.core.records import Record
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.evaluate import Tally
from segmed.evaluation.part import records_of, spacing_of
from segmed.evaluation.prompt_protocols import SEED, PromptProtocol
from segmed.evaluation.result import Evaluation
from segmed.evaluation.rows import BoxRow
from segmed.evaluation.run import Plan, run_context, run_cost, run_provenance
from segmed.evaluation.statistics import RESAMPLES
from segmed.evaluation.timing import SliceTimer
from segmed.evaluation.volume import PatientVolume
from segmed.inference.automatic_prompts import AUTOMATIC, NO_PROMPT, EncodedVolume
from segmed.inference.base import VolumePredictor
from segmed.inference.from_data import patient_slices
from segmed.inference.memory import PeakMemory
from segmed.inference.prompted import Answer, EncodedImage, PromptedPredictor
from segmed.inference.propagate import propagate
from segmed.inference.uncertainty import decode_jittered
from segmed.models.box_floors import filled_box, inscribed_ellipse
from segmed.models.prediction import PredictionConfig
from segmed.prompts.masks import tight_boxes
from segmed.prompts.quality import box_iou
from segmed.prompts.sampling import Prompted, slice_generator
from segmed.prompts.value import Prompts

JITTER_SEED = SEED + 1
"""Boxes around a drawn one come from a generator of their own."""


def evaluate_prompts(
    predictor: PromptedPredictor,
    decoded: DecodedDataset,
    plan: Plan,
    protocols: Sequence[PromptProtocol],
    *,
    name: str,
    batch_size: int = 8,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Predict and score every patient of the plan's part in each way, measuring time and memory on the way.

    One evaluation per kind, called `name (kind)`, in order; those that were told something of the reference are
    marked oracle. The time per image is that of encoding once and of one kind's decoding. `progress(done, total)`
    counts patients.
    """
    if any(protocol.automatic is AUTOMATIC[NO_PROMPT] for protocol in protocols):
        predictor.require_unprompted()
    groups = records_of(decoded, plan.split.fold(plan.fold).part(plan.part))
    each_protocol = [_ProtocolScores(predictor, decoded, protocol, batch_size) for protocol in protocols]
    for records in tracked(groups.values(), progress):
        slices = patient_slices(decoded, records)
        encoding, memory = SliceTimer(), PeakMemory(str(predictor.device))
        with memory.measuring(), encoding.timing(len(slices.images)):
            encoded = predictor.encode_volume(slices, batch_size=batch_size)
        for scores in each_protocol:
            scores.add(records, EncodedVolume(slices, encoded), encoding.ms_per_image)
            scores.memory.mib = max(filter(None, (scores.memory.mib, memory.mib)), default=None)
    evaluations = []
    for scores in each_protocol:
        system, protocol = scores.system, scores.protocol
        told = run_provenance(system, decoded, plan, batch_size).telling(told=protocol.remark, prompt_seed=SEED)
        if not protocol.cleans:  # what a prompt points to is not removed for being small
            told = replace(told, prediction=PredictionConfig(tta=system.tta))
        context = run_context(system, decoded, plan, replace(told, system=name))
        evaluations.append(
            scores.tally.evaluation(
                name=f"{name} ({protocol.name})",
                context=replace(context, prompts=protocol.kind, oracle=protocol.oracle),
                cost=replace(run_cost(system, scores.timer, scores.memory), ms_per_image=scores.ms_per_image),
                boxes=scores.boxes,
                resamples=resamples,
                seed=seed,
            )
        )
    return evaluations


class _ProtocolScores:
    """The scores of one protocol while patients are added."""

    def __init__(
        self, predictor: PromptedPredictor, decoded: DecodedDataset, protocol: PromptProtocol, batch_size: int
    ) -> None:
        self.system: VolumePredictor = (protocol.automatic.system if protocol.automatic else None) or predictor
        self.protocol, self.tally, self.boxes = protocol, Tally(decoded.dataset.labels), list[BoxRow]()
        self.timer, self.memory = SliceTimer(), PeakMemory(str(predictor.device))
        self._predictor, self._decoded, self._batch_size = predictor, decoded, batch_size
        self._encoding: list[tuple[float, int]] = []

    @property
    def ms_per_image(self) -> float:
        """Of encoding and decoding; the first patient warms up and counts only if alone."""
        counted = self._encoding[1:] or self._encoding
        return self.timer.ms_per_image + sum(ms * n for ms, n in counted) / sum(n for _, n in counted)

    def add(self, records: Sequence[Record], volume: EncodedVolume, encoding_ms: float) -> None:
        """Prompt for a patient's slices and score the answers."""
        reference = [self._decoded.mask(record.slice_id) for record in records]
        slice_ids, positions = [record.slice_id for record in records], [record.slice_index for record in records]
        drawn = self.protocol.drawn(slice_ids, reference, positions) if self.protocol.oracle else []
        self._encoding.append((encoding_ms, len(records)))
        with self.memory.measuring(), self.timer.timing(len(records)):
            answers = self._answers(records, volume, drawn)
        if self.protocol.kind.boxes == 1:
            for record, prompted, answer in zip(records, drawn, answers, strict=False):
                self.boxes += box_rows(record, prompted, answer)
        self.tally.add(
            PatientVolume(
                patient=records[0].patient,
                volume=records[0].volume,
                spacing=spacing_of(self._decoded, records[0].volume),
                slice_ids=tuple(record.slice_id for record in records),
                reference=reference,
                prediction=self._masks(records, answers),
                probability=[answer.probabilities for answer in answers],
                slice_indices=tuple(record.slice_index for record in records),
            )
        )

    def _masks(self, records: Sequence[Record], answers: Sequence[Answer]) -> list[UInt8[np.ndarray, "h w"]]:
        """The answers' masks; where the system finds what it answers, those that it predicts, post-processed."""
        masks = [answer.mask for answer in answers]
        if not self.protocol.cleans:
            return masks
        whole = [Mask(mask, Geometry((mask.shape[0], mask.shape[1]))) for mask in masks]
        return [each.array for each in self.system.cleaned(whole, [record.slice_index for record in records])]

    def _answers(self, records: Sequence[Record], volume: EncodedVolume, drawn: Sequence[Prompted]) -> list[Answer]:
        if self.protocol.automatic is not None:
            return self.protocol.automatic.answers(self._predictor, volume)
        prompts = [each.prompts for each in drawn]
        if self.protocol.carry is not None:
            positions = [record.slice_index for record in records]
            carry, size = self.protocol.carry, self._batch_size
            return propagate(self._predictor, volume.encoded, prompts, carry, positions=positions, batch_size=size)
        if self.protocol.kind.boxes > 1:
            slice_ids = [record.slice_id for record in records]
            return [self._averaged(*each) for each in zip(slice_ids, volume.encoded, prompts, strict=True)]
        return self._predictor.decode_volume(volume.encoded, prompts, batch_size=self._batch_size)

    def _averaged(self, slice_id: str, encoded: EncodedImage, prompts: Prompts) -> Answer:
        if not len(prompts.boxes):
            return self._predictor.decode(encoded, prompts)
        generator, count = slice_generator(JITTER_SEED, slice_id), self.protocol.kind.boxes
        spread = decode_jittered(self._predictor, encoded, prompts, count, generator, batch_size=self._batch_size)
        return spread.answer


def box_rows(record: Record, prompted: Prompted, answer: Answer) -> list[BoxRow]:
    """How good each box of a slice was, and what the model, all of the box and the ellipse in it made of it."""
    boxes = prompted.prompts.boxes
    if not len(boxes):
        return []
    targets, size = prompted.targets, (prompted.targets.shape[1], prompted.targets.shape[2])
    quality = box_iou(boxes, tight_boxes(targets))
    rows = []
    for index, target in enumerate(targets):
        alone = Prompts(boxes=boxes[index : index + 1])
        rows.append(
            BoxRow(
                slice_id=record.slice_id,
                patient=record.patient,
                object=index,
                box_iou=float(quality[index]),
                mask_iou=_iou(answer.masks[index], target),
                expected_iou=float(answer.iou[index]),
                filled_iou=_iou(filled_box(alone, size) > 0, target),
                ellipse_iou=_iou(inscribed_ellipse(alone, size) > 0, target),
            )
        )
    return rows


def _iou(mask: Bool[np.ndarray, "h w"], target: Bool[np.ndarray, "h w"]) -> float:
    return float((mask & target).sum() / (mask | target).sum())
