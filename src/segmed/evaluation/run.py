"""Evaluate a trained run on a part of a split, after making sure that it has not seen that part."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segmed.core.errors import DataError, SplitError
from segmed.core.progress import Progress, tracked
from segmed.core.pseudonyms import Pseudonyms, shareable
from segmed.core.records import Record
from segmed.core.split import PartName, Split
from segmed.core.units import Unit, unit_of
from segmed.data.decoded import DecodedDataset
from segmed.data.degrade import Degradation
from segmed.data.keys import known_pseudonyms
from segmed.data.splits import patients_known, require_fit
from segmed.evaluation.context import Context
from segmed.evaluation.evaluate import Tally
from segmed.evaluation.part import Masks, Probabilities, records_of, split_facts, volumes
from segmed.evaluation.provenance import Provenance, where_from
from segmed.evaluation.result import Cost, Evaluation
from segmed.evaluation.statistics import RESAMPLES
from segmed.evaluation.timing import SliceTimer
from segmed.inference.base import VolumePredictor
from segmed.inference.from_data import patient_slices
from segmed.inference.loading import hashes_of
from segmed.inference.memory import PeakMemory
from segmed.models.checkpoint import own_split
from segmed.models.joint_config import SystemConfig
from segmed.models.seen import ANOTHER_KEY, overlap


@dataclass(frozen=True)
class Plan:
    """What is evaluated: a part of a fold of a split. `leaking` where the split, or the run's own, leaks.

    `patients_known` is False where nobody said which images are of one patient.
    `own` where split, fold and data are those the run was trained with. `training_known` is False where nothing tells
    which patients the run was trained on, so that a leak cannot be seen.
    """

    split: Split
    fold: int
    part: PartName
    leaking: bool
    patients_known: bool = True
    training_known: bool = True
    own: bool = True

    @property
    def unit(self) -> Unit:
        """What is counted: patients, or images where these are not known."""
        return unit_of(patients_known=self.patients_known)


def plan_evaluation(
    folder: Path,
    config: SystemConfig,
    decoded: DecodedDataset,
    *,
    split: Split | None = None,
    fold: int | None = None,
    part: PartName = "test",
) -> Plan:
    """Choose split and fold, and refuse what would not be a test.

    Args:
        folder: The run's.
        config: Its config, `predictor.config`.
        decoded: The data to evaluate on.
        split: In place of the run's own.
        fold: In place of the run's own; 0 for another split.
        part: The part of the fold: train, validation or test.

    Returns:
        What `evaluate_run` takes.

    Raises:
        SplitError: There is no split, it was made for other data, the part is empty, or the run trained on the part's
            patients (on its slices, if the split is marked as leaking); for the test part also where the run chose its
            epoch or threshold on them.
        DataError: The labels differ, or volumes are cut along another plane.

    Example:
        >>> decoded = segmed.decode(segmed.open_dataset("data"))
        >>> predictor = segmed.load("runs/unet", device="cpu")
        >>> segmed.plan_evaluation(predictor.folder, predictor.config, decoded, part="validation").part
        'validation'
    """
    if not decoded.dataset.labels.means_the_same_as(config.labels):
        raise DataError(
            f"{folder}: predicts {', '.join(config.labels.names)} but the data has "
            f"{', '.join(decoded.dataset.labels.names)}. Name the mask values with --labels."
        )
    decoded.dataset.require_plane(config.plane, str(folder))
    own = own_split(folder, config)
    chosen = split or own
    if chosen is None:
        raise SplitError(
            f"{folder}: holds no split.json. Copy the split that it was trained with there; `segmed evaluate` also "
            "takes one with --split."
        )
    chosen = require_fit(chosen, decoded)
    if own is not None and own.numbered:  # of other data: its numbers say nothing about this
        own = require_fit(own, decoded) if own.data_hash == decoded.data_hash else None
    if fold is None:
        fold = config.fold if chosen == own else 0
    slice_ids = chosen.fold(fold).part(part)
    if not slice_ids:
        raise SplitError(f"Fold {fold} of the split has no {part} part. Choose another part or make another split.")
    known = own is not None or bool(config.seen)
    if not known and config.data_hash == decoded.data_hash:
        raise SplitError(
            f"{folder}: holds no split.json, so which patients it was trained on is unknown, and this is the data it "
            "was trained on. Copy the split it was trained with there."
        )
    pseudonyms = known_pseudonyms(decoded.dataset)
    complete = _require_unseen(folder, config, own, chosen, slice_ids, part, pseudonyms)
    complete &= _named_alike(config, decoded, pseudonyms)
    if not complete and own is None and config.data_hash == decoded.data_hash:
        raise SplitError(f"{folder}: {ANOTHER_KEY}")
    is_own = (chosen, fold, decoded.data_hash) == (own, config.fold, config.data_hash)
    told = patients_known(chosen, decoded)
    return Plan(
        chosen,
        fold,
        part,
        chosen.leaking or config.leaking,
        patients_known=told,
        training_known=known and complete and config.training.patients_told and (config.patients_known or not told),
        own=is_own,
    )


def evaluate_run(
    predictor: VolumePredictor,
    decoded: DecodedDataset,
    plan: Plan,
    *,
    name: str,
    batch_size: int = 8,
    resamples: int = RESAMPLES,
    seed: int = 0,
    degradation: Degradation | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Predict and score every patient of the plan's part, measuring time and memory on the way.

    Args:
        predictor: The run.
        decoded: The data.
        plan: What `plan_evaluation` returned.
        name: What the system is called in tables.
        batch_size: Slices that go through the network at a time.
        resamples: Bootstrap resamples of patients for the intervals.
        seed: Draws them.
        degradation: Makes the images, not the references, worse first.
        progress: Called with patients done and patients in all.

    Returns:
        Scores per slice and patient with their intervals, and the masks.

    Raises:
        ModelError: The network's answer is not a number.

    Example:
        >>> decoded = segmed.decode(segmed.open_dataset("data"))
        >>> predictor = segmed.load("runs/unet", device="cpu")
        >>> plan = segmed.plan_evaluation(predictor.folder, predictor.config, decoded)
        >>> result = segmed.evaluate_run(predictor, decoded, plan, name="unet")
        >>> 0 <= result.metrics["dice"].value <= 1
        True
    """
    predictor.require_unprompted()
    groups = records_of(decoded, plan.split.fold(plan.fold).part(plan.part))
    timer, memory = SliceTimer(), PeakMemory(str(predictor.device))

    def predict(records: Sequence[Record]) -> tuple[Masks, Probabilities | None]:
        slices = patient_slices(decoded, records, degradation)
        with memory.measuring(), timer.timing(len(slices.images)):
            probabilities = predictor.probabilities(slices, batch_size=batch_size)
        masks = [predictor.label(each) for each in probabilities]
        cleaned = predictor.cleaned(masks, slices.positions)
        return [mask.array for mask in cleaned], list(probabilities)

    tally = Tally(decoded.dataset.labels)
    for volume in tracked(volumes(decoded, groups, predict), progress, total=len(groups)):
        tally.add(volume)
    told = run_provenance(predictor, decoded, plan, batch_size)
    return tally.evaluation(
        name=name,
        context=run_context(predictor, decoded, plan, replace(told, degradation=degradation)),
        cost=run_cost(predictor, timer, memory),
        resamples=resamples,
        seed=seed,
    )


def _require_unseen(
    folder: Path,
    config: SystemConfig,
    own: Split | None,
    chosen: Split,
    slice_ids: Sequence[str],
    part: PartName,
    pseudonyms: Pseudonyms | None,
) -> bool:
    """Raise `SplitError` where the run was trained, or chosen, on what it is to be tested on.

    Patients are compared, both those of the run's config and those of its split; slices under a split that leaks.
    Returns whether all that the run has seen could be compared: digests of another key cannot, unless they are as many
    as the patients of the run's own split and hence of these.
    """
    patients = sorted({chosen.patient_of[slice_id] for slice_id in slice_ids})
    used: dict[str, PartName] = {"trained": "train"}
    if part == "test":
        used["chosen"] = "validation"
    complete = True
    for verb, name in used.items():
        seen = own.fold(config.fold).part(name) if own is not None else ()
        if chosen.leaking and own is not None:
            shared = [f"slice {slice_id}" for slice_id in sorted(set(slice_ids) & set(seen))]
        else:
            trained = {own.patient_of[slice_id] for slice_id in seen if own}
            digests = config.seen.get(name, ())
            found = overlap(digests, patients, pseudonyms)
            complete &= found.complete or (own is not None and len(trained) == len(digests))
            both = trained | set(found.patients)
            shared = [f"patient {patient}" for patient in patients if patient in both]
        if shared:
            more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            raise SplitError(
                f"{folder}: was {verb} on {shared[0]}{more} of the {part} part. "
                "Evaluate it on the test part of its own split and fold, which is the default."
            )
    return complete


def _named_alike(config: SystemConfig, decoded: DecodedDataset, pseudonyms: Pseudonyms | None) -> bool:
    """Whether patients have the names here that a run knows them by: on its own data, or where it knows one of them.

    The key of other data tells nothing about it, since patients may have other names there.
    """
    digests = {digest for some in config.seen.values() for digest in some}
    if not digests or config.data_hash == decoded.data_hash:
        return True
    return bool(overlap(digests, decoded.dataset.patients, pseudonyms).patients)


def run_cost(predictor: VolumePredictor, timer: SliceTimer, memory: PeakMemory) -> Cost:
    """What a run costs, as measured while it was evaluated."""
    training = predictor.config.training
    return Cost(
        parameters=sum(parameter.numel() for network in predictor.networks() for parameter in network.parameters()),
        ms_per_image=timer.ms_per_image,
        peak_memory_mib=memory.mib,
        training_seconds=training.seconds,
        training_cpu_seconds=training.cpu_seconds,
    )


def run_provenance(predictor: VolumePredictor, decoded: DecodedDataset, plan: Plan, batch_size: int) -> Provenance:
    """Where the numbers of an evaluated run come from."""
    config = predictor.config
    return Provenance(
        data=shareable(decoded.dataset.path),
        run=shareable(predictor.folder),
        hashes=hashes_of(predictor.folder),
        training=config.training,
        prediction=replace(config.prediction, tta=predictor.tta),
        device=str(predictor.device),
        others={
            "model": " + ".join(network.model.name for network in config.networks),
            "encoder": " + ".join(network.model.encoder for network in config.networks),
            "training_patients": "known" if plan.training_known else "unknown",
            "batch_size": batch_size,
            **where_from(),
        },
    )


def run_context(predictor: VolumePredictor, decoded: DecodedDataset, plan: Plan, provenance: Provenance) -> Context:
    """What is known of a run's evaluation before it is scored."""
    return Context(
        kind="run",
        part=plan.part,
        leaking=plan.leaking or predictor.config.leaking,
        patients_known=plan.patients_known,
        training_known=plan.training_known,
        threshold=predictor.config.threshold,
        data_hash=decoded.data_hash,
        split=split_facts(decoded, plan.split, plan.fold, plan.part),
        provenance=provenance,
    )
