"""Splits by patient, stratified by label, institution and volume; the reproduced paper's by slice; and what leaks."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from segmed.core.errors import SplitError
from segmed.core.records import Record, SliceDataset, by_patient
from segmed.core.split import PARTS, Partition, Split
from segmed.core.wording import plural
from segmed.data.decoded import DecodedDataset
from segmed.data.patients import require_told
from segmed.data.strata import Strata, strata

PAPER_SLICES = (2828, 708, 393)
"""Slices for training, validation and test in the reproduced paper, of 3929."""

DEFAULT_RATIOS = (0.7, 0.1, 0.2)
VALIDATION_SHARE = 0.12
"""Share of a fold's training patients on which epoch and threshold are chosen."""


@dataclass(frozen=True)
class LeakFigures:
    """How far the test slices of a fold are known from training."""

    test_slices: int
    with_train_neighbour: int
    test_patients: int
    patients_also_in_train: int

    @property
    def share(self) -> float:
        """Share of test slices whose neighbour in the same volume is a training slice; 0 is no leak."""
        return self.with_train_neighbour / self.test_slices if self.test_slices else 0.0


def labelled(dataset: SliceDataset) -> tuple[Record, ...]:
    """The slices that have a mask: no others can be trained on or scored. Raises `SplitError` where there is none."""
    found = tuple(record for record in dataset.records if record.mask is not None)
    if not found:
        raise SplitError(f"{dataset.path}: no slice has a mask, so there is nothing to split.")
    return found


def split_by_patient(
    decoded: DecodedDataset,
    *,
    ratios: tuple[float, float, float] = DEFAULT_RATIOS,
    folds: int | None = None,
    seed: int = 0,
) -> Split:
    """Deal patients into training, validation and test, each label, institution and volume tertile in proportion.

    A label that three patients have is in every part; of two patients with a label one trains and one validates.
    Slices without a mask are in no part.

    Args:
        decoded: The data.
        ratios: Shares of training, validation and test patients; they sum to 1. Not used with `folds`.
        folds: k, for cross-validation: every patient is tested once, and `VALIDATION_SHARE` of the others validate.
        seed: Decides the dealing.

    Returns:
        A split of one fold, or of k.

    Raises:
        SplitError: Too few patients for a part to hold one.
        DataError: Nobody said which images are of one patient, and their names look as if several were.

    Example:
        >>> decoded = segmed.decode(segmed.open_dataset("data"))
        >>> split = segmed.split_by_patient(decoded, folds=4, seed=1)
        >>> [len({split.patient_of[slice_id] for slice_id in fold.test}) for fold in split.folds]
        [2, 2, 2, 2]
    """
    _require_ratios(ratios)
    require_told(decoded.dataset)
    groups = by_patient(labelled(decoded.dataset))
    dealt = strata(decoded, groups, seed)
    partitions = (_partition(groups, dealt.deal(ratios)),) if folds is None else _folds(groups, dealt, folds)
    strategy = "patient" if decoded.dataset.patients_known else "image"
    return _split(strategy, decoded, seed, partitions, leaking=False)


def split_by_institution(decoded: DecodedDataset, *, seed: int = 0) -> Split:
    """Each institution is tested once by a network that never saw it; `VALIDATION_SHARE` of the others validate.

    Raises `SplitError` unless the data names at least two institutions and every patient's, and `DataError` where
    nobody said which images are of one patient, and their names look as if several were.
    """
    groups = by_patient(labelled(decoded.dataset))
    institution = {patient: decoded.dataset.attributes.get(patient, {}).get("institution", "") for patient in groups}
    names = sorted(set(institution.values()))
    if "" in names or len(names) < 2:
        raise SplitError("Not every patient has an institution, or there is only one. Name them in the manifest.")
    require_told(decoded.dataset)
    dealt = strata(decoded, groups, seed)
    partitions = []
    for name in names:
        tested = {patient for patient in dealt.order if institution[patient] == name}
        partitions.append(_testing(groups, dealt, tested))
    return _split("institution", decoded, seed, tuple(partitions), leaking=False)


def split_within(decoded: DecodedDataset, split: Split, fold: int, *, folds: int, seed: int = 0) -> Split:
    """Folds among the training patients of one fold of `split`; nobody else is in any of their parts.

    Each training patient is in the test part of exactly one of the `folds`; `VALIDATION_SHARE` of the others validate
    there. Raises `SplitError` for a split that leaks, of other data, and where there are too few patients.
    """
    split = require_fit(split, decoded)
    if split.leaking:
        raise SplitError("Folds within a split that leaks would leak as well. Make a split with `segmed data split`.")
    slice_ids = set(split.fold(fold).train)
    groups = by_patient(record for record in decoded.dataset.records if record.slice_id in slice_ids)
    everyone = by_patient(labelled(decoded.dataset))
    dealt = strata(decoded, everyone, seed).without(everyone.keys() - groups.keys())
    inner = Split(
        strategy="within training",
        seed=seed,
        data_hash=decoded.data_hash,
        leaking=False,
        patient_of={slice_id: split.patient_of[slice_id] for slice_id in sorted(slice_ids)},
        folds=_folds(groups, dealt, folds),
        patients_known=patients_known(split, decoded),
    )
    inner.validate()
    return inner


def split_by_slice(decoded: DecodedDataset, *, seed: int = 0) -> Split:
    """The reproduced paper's split: slices at random, 2828/708/393 of 3929 and the same proportions elsewhere. LEAKING.

    Slices without a mask are in no part.
    """
    slice_ids = [record.slice_id for record in labelled(decoded.dataset)]
    order = [slice_ids[index] for index in np.random.default_rng(seed).permutation(len(slice_ids))]
    total = sum(PAPER_SLICES)
    first = round(len(order) * PAPER_SLICES[0] / total)
    second = first + round(len(order) * PAPER_SLICES[1] / total)
    if not 0 < first < second < len(order):
        raise SplitError(f"{plural(len(order), 'slice is', 'slices are')} too few to split by slice. Use more data.")
    partition = Partition(tuple(order[:first]), tuple(order[first:second]), tuple(order[second:]))
    return _split("slice", decoded, seed, (partition,), leaking=True)


def numbered(split: Split, decoded: DecodedDataset) -> Split:
    """The split as a run keeps it, with the numbers of slices and patients for their ids."""
    return split.as_numbers((record.slice_id for record in decoded.dataset.records), decoded.dataset.patients)


def require_fit(split: Split, decoded: DecodedDataset) -> Split:
    """The split with the data's ids; `SplitError` unless it is sound, of exactly this data, and has its own patients.

    The patients are taken from the data, not from the split's word: a file in which a patient goes by several names
    would otherwise leak unmarked.
    """
    split.validate()
    split.require_data(decoded.data_hash)
    split = split.named((record.slice_id for record in decoded.dataset.records), decoded.dataset.patients)
    for record in decoded.dataset.records:
        named = split.patient_of.get(record.slice_id, record.patient)
        if named != record.patient:
            raise SplitError(
                f"The split says slice {record.slice_id} is of patient {named}, the data says {record.patient}. "
                "Make a new split with `segmed data split`."
            )
    return split


def patients_known(split: Split, decoded: DecodedDataset) -> bool:
    """Whether somebody said which images are of one patient: the data set, or who made the split."""
    return split.patients_known or decoded.dataset.patients_known


def leak_figures(records: Sequence[Record], fold: Partition) -> LeakFigures:
    """Count test slices with an immediate neighbour in training, and test patients with slices in training."""
    place = {record.slice_id: (record.volume, record.slice_index) for record in records}
    train = {place[slice_id] for slice_id in fold.train}
    test = [place[slice_id] for slice_id in fold.test]
    neighbours = sum((volume, z - 1) in train or (volume, z + 1) in train for volume, z in test)
    patient_of = {record.slice_id: record.patient for record in records}
    test_patients, train_patients = ({patient_of[slice_id] for slice_id in part} for part in (fold.test, fold.train))
    return LeakFigures(len(test), neighbours, len(test_patients), len(test_patients & train_patients))


def _split(strategy: str, decoded: DecodedDataset, seed: int, folds: tuple[Partition, ...], *, leaking: bool) -> Split:
    patient_of = {record.slice_id: record.patient for record in labelled(decoded.dataset)}
    known = decoded.dataset.patients_known
    split = Split(strategy, seed, decoded.data_hash, leaking, patient_of, folds, known)
    split.validate()
    return split


def _partition(groups: Mapping[str, Sequence[Record]], parts: Mapping[str, int]) -> Partition:
    members: list[list[str]] = [[], [], []]
    for patient, part in parts.items():
        members[part].extend(record.slice_id for record in groups[patient])
    if not all(members):
        empty = PARTS[[bool(part) for part in members].index(False)]
        raise SplitError(
            f"{plural(len(parts), 'patient is', 'patients are')} too few: {empty} would be empty. Use more patients or "
            "other ratios."
        )
    train, validation, test = (tuple(part) for part in members)
    return Partition(train, validation, test)


def _folds(groups: Mapping[str, Sequence[Record]], dealt: Strata, folds: int) -> tuple[Partition, ...]:
    patients = len(dealt.order)
    if not 2 <= folds <= patients:
        if patients < 2:
            raise SplitError("There is one patient alone, and a split by patient needs two or more.")
        raise SplitError(f"{plural(patients, 'patient')} cannot make {folds} folds. Use 2 to {patients}.")
    fold_of = dealt.deal([1.0] * folds)
    return tuple(
        _testing(groups, dealt, {patient for patient, number in fold_of.items() if number == fold})
        for fold in range(folds)
    )


def _testing(groups: Mapping[str, Sequence[Record]], dealt: Strata, tested: Set[str]) -> Partition:
    """The fold that tests these patients; of the others `VALIDATION_SHARE` validate."""
    inner = dealt.without(tested).deal((1 - VALIDATION_SHARE, VALIDATION_SHARE))
    return _partition(groups, {patient: inner.get(patient, 2) for patient in dealt.order})


def _require_ratios(ratios: tuple[float, float, float]) -> None:
    if not (all(ratio > 0 for ratio in ratios) and abs(sum(ratios) - 1) <= 1e-6):  # NaN is neither
        raise SplitError(f"Ratios must be positive and sum to 1, got {ratios}. For example 0.7,0.1,0.2.")
