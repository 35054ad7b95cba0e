"""Findings about a split: patients in two parts, test slices known from training, slices of other data."""

from segmed.core.errors import SplitError
from segmed.core.records import SliceDataset
from segmed.core.split import PARTS, Partition, Split
from segmed.core.wording import plural
from segmed.data.listing import Findings

WHERE = "split"


def check_split(dataset: SliceDataset, split: Split, findings: Findings) -> None:
    """Validate `split` against the data set and count what leaks; pixels are not compared here."""
    try:
        split = split.named((record.slice_id for record in dataset.records), dataset.patients)
    except SplitError as error:
        findings.error("split-unknown-slice", WHERE, str(error))
        return
    try:
        split.validate()
    except SplitError as error:
        findings.error("split-overlap", WHERE, str(error))
    if split.leaking:
        text = "LEAKING: a split by slice, with patients in several parts. Scores on it say nothing about new patients."
        findings.warning("split-leaking", WHERE, text)
    if not split.patients_known and not dataset.patients_known:
        text = "PATIENTS UNKNOWN: nobody said which images are of one patient, so one may be in several parts."
        findings.warning("split-patients-unknown", WHERE, f"{text} Say it with --patient-regex or a manifest.")
    _check_members(dataset, split, findings)
    for number, fold in enumerate(split.folds):
        _check_neighbours(dataset, split, number, fold, findings)


def _check_members(dataset: SliceDataset, split: Split, findings: Findings) -> None:
    patient_of = {record.slice_id: record.patient for record in dataset.records}
    for number, fold in enumerate(split.folds):
        members = {slice_id for part in PARTS for slice_id in fold.part(part)}
        if unknown := sorted(members - patient_of.keys()):
            those = plural(len(unknown), "slice is", "slices are")
            text = (
                f"fold {number}: {those} not in the data, such as {unknown[0]}. Read the data as for the split, or "
                "make a new one."
            )
            findings.error("split-unknown-slice", WHERE, text)
        if unused := patient_of.keys() - members:
            findings.note(
                "split-unused-slice",
                WHERE,
                f"fold {number}: {plural(len(unused), 'slice is', 'slices are')} in no part.",
            )
    moved = sorted(
        slice_id for slice_id, patient in split.patient_of.items() if patient_of.get(slice_id, patient) != patient
    )
    if moved:
        was, now = split.patient_of[moved[0]], patient_of[moved[0]]
        text = f"slice {moved[0]} belongs to {now}, the split has it with {was}. Make a new split."
        findings.error("split-other-patient", WHERE, text)


def _check_neighbours(dataset: SliceDataset, split: Split, number: int, fold: Partition, findings: Findings) -> None:
    from segmed.data.splits import leak_figures

    known = dataset.by_slice_id().keys()
    present = Partition(
        **{part: tuple(slice_id for slice_id in fold.part(part) if slice_id in known) for part in PARTS}
    )
    figures = leak_figures(dataset.records, present)
    if figures.with_train_neighbour or figures.patients_also_in_train:
        text = (
            f"fold {number}: {figures.share:.1%} of {figures.test_slices} test slices have a neighbour in training; "
            f"{figures.patients_also_in_train} of {figures.test_patients} test patients are in training too."
        )
        report = findings.warning if split.leaking else findings.error
        report("split-neighbours", WHERE, f"{text} Split by patient for honest scores.")
