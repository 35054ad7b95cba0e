"""What an evaluation found, as a value and as a folder that a report can be made from.

The folder holds `evaluation.json` (facts and summary numbers), `patients.csv` (a row per patient and label),
`slices.csv` (a row per slice and label), `predictions/<slice_id>.png` (the masks, stored as the data set stores them)
and, where boxes were given, `boxes.csv` (a row per box). Where whole volumes were scored, `cases.csv` (a row per
volume and label) and `predictions/<case>.nii.gz` are in the place of slices and their masks. An undefined number is
NaN here, null in JSON and an empty field in CSV; it is never 0 or 1 in disguise.
"""

import dataclasses
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PillowImage

from segmed.core.errors import DataError
from segmed.core.files import write_json, written_aside
from segmed.core.former_names import present_names
from segmed.core.labels import LabelMap
from segmed.core.reading import read_json, read_table
from segmed.core.replacing import replaced
from segmed.core.units import Unit, unit_of
from segmed.core.volume import Volume
from segmed.evaluation.context import Context, Kind
from segmed.evaluation.metric import MetricValue
from segmed.evaluation.metrics import COLUMNS
from segmed.evaluation.provenance import Provenance, StoredProvenance
from segmed.evaluation.rows import (
    BoxRow,
    CaseRow,
    PatientRow,
    SliceRow,
    read_patients,
    read_rows,
    read_scored,
    write_patients,
    write_rows,
)
from segmed.evaluation.saved_masks import SavedMasks, SavedVolumes, mask_path, volume_path, write_volumes
from segmed.evaluation.split_facts import SplitFacts, StoredSplit
from segmed.evaluation.statistics import RESAMPLES, bootstrap_weights
from segmed.evaluation.table import LabelMetrics, summarise
from segmed.evaluation.undefined import mean_of_defined, nan_to_null, null_to_nan
from segmed.evaluation.volume_metrics import Space, metrics_of, scores_in
from segmed.prompts.kinds import PromptKind

FORMAT = 1
EVALUATION = "evaluation.json"
"""What makes a folder an evaluation."""
LEAKING, PATIENTS_UNKNOWN, TRAINING_UNKNOWN = "LEAKING", "PATIENTS UNKNOWN", "TRAINING UNKNOWN"
"""The words that stand wherever a result is shown whose split leaks, or may leak for all that anybody knows."""
TABLES = ("patients", "slices", "cases", "boxes", "groups")
"""The CSV files that an evaluation may have."""


@dataclass(frozen=True)
class Cost:
    """What the model costs; None where it was not measured.

    `parameters` is a count, `ms_per_image` milliseconds per slice of prediction without reading, `peak_memory_mib` the
    highest memory in MiB while predicting, allocated (GPU) or held by the whole process (else), `training_seconds`
    wall-clock time and `training_cpu_seconds` the processor time of all threads, which other work on the machine does
    not lengthen.
    """

    parameters: int | None = None
    ms_per_image: float | None = None
    peak_memory_mib: float | None = None
    training_seconds: float | None = None
    training_cpu_seconds: float | None = None


@dataclass(frozen=True)
class Calibration:
    """Reliability in the band around the foreground: per bin of probability, what was predicted and what was seen.

    `bin_edges` has one entry more than the others. Empty bins have count 0 and NaN for both means.
    """

    bin_edges: tuple[float, ...]
    mean_probability: tuple[float, ...]
    observed_frequency: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Evaluation:
    """The result of scoring one set of predictions against references.

    `split` is how the split was made and how far it leaks; its facts are only shown.
    `metrics` are of all labels together; `by_label` has those of each label alone where there are several.
    `leaking` marks a split that spreads a patient over training and test; whatever shows the result says LEAKING.
    `patients_known` is False where nobody said which images are of one patient: each image is then a row of
    `patients`, intervals are over images, and whatever shows the result says PATIENTS UNKNOWN.
    `space` is set where whole volumes were scored: then `cases` has a row of every volume and label, `volumes` the
    predicted masks by case, and `slices` and `predictions` are empty. `missing` are cases without a mask, which were
    scored as empty, and `remarks` what else was done to masks before they were scored; they name no case.
    `training_known` is False where nothing at hand tells whether the run was trained on these patients.
    `prompts` names what a promptable model was told, None where models take no prompts. `oracle` marks prompts made
    from the reference: the model was told where the foreground is, so the result is never ranked beside automatic ones.
    """

    name: str
    kind: Kind
    part: str
    leaking: bool
    threshold: float | None
    labels: LabelMap
    data_hash: str | None
    split: SplitFacts
    metrics: Mapping[str, MetricValue]
    patients: tuple[PatientRow, ...]
    slices: tuple[SliceRow, ...]
    predictions: Mapping[str, UInt8[np.ndarray, "h w"]]
    cost: Cost = field(default_factory=Cost)
    calibration: Calibration | None = None
    provenance: Provenance = field(default_factory=Provenance)
    prompts: PromptKind | None = None
    oracle: bool = False
    boxes: tuple[BoxRow, ...] = ()
    patients_known: bool = True
    training_known: bool = True
    by_label: LabelMetrics = field(default_factory=dict)
    space: Space | None = None
    cases: tuple[CaseRow, ...] = ()
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def unit(self) -> Unit:
        """What a row of `patients` is, and what intervals are over: patients, or images where these are not known."""
        return unit_of(patients_known=self.patients_known)

    @property
    def system(self) -> str:
        """The name of the model or floor, under whatever prompts."""
        return self.provenance.system or self.name

    @property
    def context(self) -> Context:
        """What was known before anything was scored, to score the same masks in another way."""
        return Context(**{each.name: getattr(self, each.name) for each in dataclasses.fields(Context)})

    def by_patient(self, column: str, label: str | None = None) -> dict[str, float]:
        """A column of `patients.csv` per patient: of one label, or the mean over labels, NaN labels left out."""
        values: dict[str, list[float]] = {}
        for row in self.patients:
            if label is None or row.label == label:
                values.setdefault(row.patient, []).append(row.value(column))
        return {patient: mean_of_defined(several) for patient, several in values.items()}

    def save(self, folder: Path) -> None:
        """Write the folder, in place of an earlier evaluation as a whole; its floors, and files of others, stay.

        Raises `DataError` where the folder cannot be written, or symbolic links lie in it.
        """
        with replaced(folder, marker=EVALUATION, listed=files_of) as fresh:
            self.write(fresh)

    def write(self, folder: Path) -> None:
        """Write all files into an empty folder, `evaluation.json` last."""
        marks = self._marks()
        write_patients(folder / "patients.csv", self.patients, marks)
        if self.space is None:
            write_rows(folder / "slices.csv", self.slices, SliceRow, marks)
        else:
            write_patients(folder / "cases.csv", self.cases, marks, CaseRow)
            write_volumes(folder, self.volumes)
        if self.boxes:
            write_rows(folder / "boxes.csv", self.boxes, BoxRow, marks)
        for slice_id, mask in self.predictions.items():
            with written_aside(mask_path(folder, slice_id)) as temporary:
                PillowImage.fromarray(self.labels.encode(mask)).save(temporary, format="PNG")
        write_json(folder / EVALUATION, self._facts())

    @classmethod
    def load(cls, folder: Path) -> "Evaluation":
        """Read what `save` wrote; masks are read from disk when asked for. Raises `DataError` naming the file."""
        path = folder / EVALUATION
        stored = read_json(path, _Stored, what="an evaluation made by `segmed evaluate`", remedy=_AGAIN, version=FORMAT)
        space = stored.space
        slices = () if space else read_rows(folder / "slices.csv", SliceRow)
        columns = tuple(COLUMNS if space is None else scores_in(space))
        cases = () if space is None else read_scored(folder / "cases.csv", CaseRow, columns)
        patients = read_patients(folder / "patients.csv", columns)
        _require_whole(folder, patients, cases if space else slices)
        known = stored.patients_known
        if known is None:  # one of an earlier version tells by its names alone
            known = not slices or any(row.slice_id != row.patient for row in slices)
        try:
            labels = LabelMap.from_json(stored.labels)
            provenance = Provenance.from_json(stored.provenance)
        except DataError as error:
            raise DataError(f"{path}: {error} {_AGAIN}") from error
        kind = PromptKind.from_text(stored.prompts) if stored.prompts else None
        if stored.kind == "floor" and kind and provenance.system is None:  # earlier versions tell it by the name alone
            provenance = replace(provenance, system=stored.name.removesuffix(f" ({kind})"))
        metrics = _metrics_of(stored.metrics)
        by_label = {label: _metrics_of(several) for label, several in stored.by_label.items()}
        return cls(
            name=stored.name,
            kind=stored.kind,
            part=stored.part,
            leaking=stored.leaking,
            threshold=stored.threshold,
            labels=labels,
            data_hash=stored.data_hash,
            split=SplitFacts.from_json(stored.split),
            metrics=metrics,
            by_label=by_label or _by_label(patients, slices, metrics, space, unit_of(patients_known=known)),
            cost=stored.cost,
            calibration=None if stored.calibration is None else stored.calibration.value(),
            provenance=provenance,
            prompts=kind,
            oracle=stored.oracle,
            patients=patients,
            slices=slices,
            predictions=SavedMasks(folder, tuple(dict.fromkeys(row.slice_id for row in slices)), labels),
            boxes=read_rows(folder / "boxes.csv", BoxRow) if (folder / "boxes.csv").is_file() else (),
            patients_known=known,
            space=space,
            cases=cases,
            missing=stored.missing,
            remarks=stored.remarks,
            volumes=SavedVolumes(folder, tuple(dict.fromkeys(row.case for row in cases))) if space else {},
            training_known=stored.training_known,
        )

    def _marks(self) -> dict[str, str]:
        """Columns of the tables that tell, on every row, what its numbers are not."""
        return {
            **({"leaking": LEAKING} if self.leaking else {}),
            **({} if self.patients_known else {"patients": PATIENTS_UNKNOWN}),
            **({} if self.training_known else {"training": TRAINING_UNKNOWN}),
        }

    def _facts(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "name": self.name,
            "kind": self.kind,
            "part": self.part,
            "leaking": self.leaking,
            "patients_known": self.patients_known,
            "training_known": self.training_known,
            "threshold": self.threshold,
            "labels": self.labels.to_json(),
            "data_hash": self.data_hash,
            "split": nan_to_null(self.split.to_json()),
            "metrics": _metrics_to_json(self.metrics),
            "by_label": {label: _metrics_to_json(metrics) for label, metrics in self.by_label.items()},
            "cost": nan_to_null(dataclasses.asdict(self.cost)),
            "calibration": nan_to_null(dataclasses.asdict(self.calibration)) if self.calibration else None,
            "provenance": nan_to_null(self.provenance.to_json()),
            "prompts": str(self.prompts) if self.prompts else None,
            "oracle": self.oracle,
            "space": dataclasses.asdict(self.space) if self.space else None,
            "missing": list(self.missing),
            "remarks": list(self.remarks),
        }


def files_of(folder: Path) -> list[Path]:
    """The files of the evaluation in a folder: its tables, and the masks of the slices or cases that they list.

    Nothing where there is no evaluation; masks that no table lists are not ours.
    """
    if not (folder / EVALUATION).is_file():
        return []
    masks: list[Path] = []
    for table_name, named, path_of in (("slices", "slice_id", mask_path), ("cases", "case", volume_path)):
        with suppress(DataError):  # nothing is ours where the table cannot be read or a name leads out
            table = read_table(folder / f"{table_name}.csv", what="a table made by `segmed evaluate`")
            header = present_names(table.header, [named])
            place = header.index(named) if named in header else None
            if place is not None:
                masks += [path_of(folder, name) for name in {row[place] for row in table.rows} if name]
    return [folder / EVALUATION, *(folder / f"{name}.csv" for name in TABLES), *masks]


@dataclass(frozen=True)
class _Metric:
    """A `MetricValue` as it is stored: null for NaN."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    undefined: int
    unit: str
    description: str
    higher_is_better: bool | None = True


@dataclass(frozen=True)
class _Reliability:
    """A `Calibration` as it is stored: null for NaN."""

    bin_edges: tuple[float, ...]
    mean_probability: tuple[float | None, ...]
    observed_frequency: tuple[float | None, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse bins that do not go together."""
        if {len(self.bin_edges) - 1, len(self.mean_probability), len(self.observed_frequency)} != {len(self.counts)}:
            raise DataError("bins of the calibration are of different numbers.")

    def value(self) -> Calibration:
        """The value that was stored."""
        probability, frequency = (
            tuple(map(null_to_nan, numbers)) for numbers in (self.mean_probability, self.observed_frequency)
        )
        return Calibration(self.bin_edges, probability, frequency, self.counts)


@dataclass(frozen=True)
class _Stored:
    """What `evaluation.json` holds."""

    name: str
    kind: Kind
    part: str
    leaking: bool
    threshold: float | None
    labels: dict[str, Any]
    data_hash: str | None
    split: StoredSplit
    metrics: dict[str, _Metric]
    cost: Cost
    calibration: _Reliability | None
    provenance: StoredProvenance
    by_label: dict[str, dict[str, _Metric]] = field(default_factory=dict)
    prompts: str | None = None
    oracle: bool = False
    patients_known: bool | None = None
    space: Space | None = None
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    training_known: bool = True


_AGAIN = "Run `segmed evaluate` again."


def _metrics_of(stored: Mapping[str, _Metric]) -> dict[str, MetricValue]:
    return {
        name: MetricValue(
            value=null_to_nan(each.value),
            low=null_to_nan(each.low),
            high=null_to_nan(each.high),
            n=each.n,
            undefined=each.undefined,
            unit=each.unit,
            description=each.description,
            higher_is_better=each.higher_is_better,
        )
        for name, each in stored.items()
    }


def _require_whole(folder: Path, patients: Sequence[PatientRow], parts: Sequence[SliceRow] | Sequence[CaseRow]) -> None:
    """Raise `DataError` unless every patient has one row of every label, and slices or cases are of these."""
    pairs = [(row.patient, row.label) for row in patients]
    everyone = {(patient, label) for patient, _ in pairs for _, label in pairs}
    if len(pairs) != len(everyone) or set(pairs) != everyone:
        raise DataError(f"{folder / 'patients.csv'}: not one row of every patient and label. {_AGAIN}")
    if not {(row.patient, row.label) for row in parts} <= everyone:
        table = "cases.csv" if isinstance(parts[0], CaseRow) else "slices.csv"
        raise DataError(f"{folder / table}: names a patient or label that patients.csv lacks. {_AGAIN}")


def _by_label(
    patients: Sequence[PatientRow],
    slices: Sequence[SliceRow],
    known: Container[str],
    space: Space | None,
    unit: Unit,
) -> LabelMetrics:
    """The metrics `known` by label, of an evaluation that was stored before it had them; calibration is then lost."""
    if len({row.label for row in patients}) < 2:
        return {}
    weights = bootstrap_weights(len({row.patient for row in patients}), RESAMPLES, 0)
    found = summarise(patients, slices, {}, weights, unit, metrics_of(space)).by_label
    return {
        label: {name: value for name, value in metrics.items() if name in known} for label, metrics in found.items()
    }


def _metrics_to_json(metrics: Mapping[str, MetricValue]) -> dict[str, Any]:
    return {name: nan_to_null(dataclasses.asdict(metric)) for name, metric in metrics.items()}
