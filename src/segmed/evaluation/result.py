"""What an evaluation found, as a value and as a folder that a report can be made from.

The folder holds `evaluation.json` (facts and summary numbers), `patients.csv` (a row per patient and label),
`slices.csv` (a row per slice and label), `predictions/<case>.png` (the masks, stored as the data set stores them)
and, where boxes were given, `boxes.csv` (a row per box). An undefined number is NaN here, null in JSON and an empty
field in CSV; it is never 0 or 1 in disguise.
"""

import csv
import dataclasses
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PillowImage

from segmed.core.errors import DataError
from segmed.core.files import read_json, write_json, written_aside
from segmed.core.labels import LabelMap
from segmed.core.replacing import replaced
from segmed.core.units import Unit, unit_of
from segmed.evaluation.metric import MetricValue
from segmed.evaluation.metrics import COLUMNS
from segmed.evaluation.rows import BoxRow, PatientRow, SliceRow, read_patients, read_rows, write_patients, write_rows
from segmed.evaluation.statistics import RESAMPLES, bootstrap_weights
from segmed.evaluation.table import LabelMetrics, summarise

FORMAT = 1
EVALUATION = "evaluation.json"
"""What makes a folder an evaluation."""
LEAKING, PATIENTS_UNKNOWN = "LEAKING", "PATIENTS UNKNOWN"
"""The words that stand wherever a result is shown whose split leaks, or may leak for all that anybody knows."""
TABLES = ("patients", "slices", "boxes", "groups")
"""The CSV files that an evaluation may have."""
Kind = Literal["run", "predictions", "floor"]
DEGRADATION = "degradation"
"""Key of the provenance under which an evaluation of images made worse on purpose says how; absent in all others."""


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

    `split` holds plain facts (strategy, seed, fold, leak figures). `provenance` holds what is needed to make the
    result again: versions, commit, command, seed, machine, and `data`, the folder the images came from.
    `metrics` are of all labels together; `by_label` has those of each label alone where there are several.
    `leaking` marks a split that spreads a patient over training and test; whatever shows the result says LEAKING.
    `patients_known` is False where nobody said which images are of one patient: each image is then a row of
    `patients`, intervals are over images, and whatever shows the result says PATIENTS UNKNOWN.
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
    split: Mapping[str, Any]
    metrics: Mapping[str, MetricValue]
    patients: tuple[PatientRow, ...]
    slices: tuple[SliceRow, ...]
    predictions: Mapping[str, UInt8[np.ndarray, "h w"]]
    cost: Cost = field(default_factory=Cost)
    calibration: Calibration | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    prompts: str | None = None
    oracle: bool = False
    boxes: tuple[BoxRow, ...] = ()
    patients_known: bool = True
    by_label: LabelMetrics = field(default_factory=dict)

    @property
    def unit(self) -> Unit:
        """What a row of `patients` is, and what intervals are over: patients, or images where these are not known."""
        return unit_of(patients_known=self.patients_known)

    def by_patient(self, column: str, label: str | None = None) -> dict[str, float]:
        """A column of `patients.csv` per patient: of one label, or the mean over labels, NaN labels left out."""
        values: dict[str, list[float]] = {}
        for row in self.patients:
            if label is None or row.label == label:
                values.setdefault(row.patient, []).append(row.value(column))
        return {patient: _mean_of_defined(several) for patient, several in values.items()}

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
        write_rows(folder / "slices.csv", self.slices, SliceRow, marks)
        if self.boxes:
            write_rows(folder / "boxes.csv", self.boxes, BoxRow, marks)
        for case, mask in self.predictions.items():
            with written_aside(mask_path(folder, case)) as temporary:
                PillowImage.fromarray(self.labels.encode(mask)).save(temporary, format="PNG")
        write_json(folder / EVALUATION, self._facts())

    @classmethod
    def load(cls, folder: Path) -> "Evaluation":
        """Read what `save` wrote; masks are read from disk when asked for. Raises `DataError` naming the file."""
        path = folder / EVALUATION
        facts = read_json(path, what="an evaluation made by `segmed evaluate`")
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise DataError(f"{path}: not an evaluation of format {FORMAT}. Make it again with `segmed evaluate`.")
        slices = read_rows(folder / "slices.csv", SliceRow)
        patients = read_patients(folder / "patients.csv", COLUMNS)
        try:
            stored = _facts_from_json(facts)
        except KeyError as error:
            raise DataError(f"{path}: {error} is missing. Run `segmed evaluate` again.") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path}: a value is wrong ({error}). Run `segmed evaluate` again.") from error
        known = _known(facts, slices)
        unit = unit_of(patients_known=known)
        stored["by_label"] = stored["by_label"] or _by_label(patients, slices, stored["metrics"], unit)
        return cls(
            **stored,
            patients=patients,
            slices=slices,
            predictions=SavedMasks(folder, tuple(dict.fromkeys(row.case for row in slices)), stored["labels"]),
            boxes=read_rows(folder / "boxes.csv", BoxRow) if (folder / "boxes.csv").is_file() else (),
            patients_known=known,
        )

    def _marks(self) -> dict[str, str]:
        """Columns of the tables that tell, on every row, what its numbers are not."""
        return {
            **({"leaking": LEAKING} if self.leaking else {}),
            **({} if self.patients_known else {"patients": PATIENTS_UNKNOWN}),
        }

    def _facts(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "name": self.name,
            "kind": self.kind,
            "part": self.part,
            "leaking": self.leaking,
            "patients_known": self.patients_known,
            "threshold": self.threshold,
            "labels": self.labels.to_json(),
            "data_hash": self.data_hash,
            "split": _nan_to_null(dict(self.split)),
            "metrics": _metrics_to_json(self.metrics),
            "by_label": {label: _metrics_to_json(metrics) for label, metrics in self.by_label.items()},
            "cost": _nan_to_null(dataclasses.asdict(self.cost)),
            "calibration": _nan_to_null(dataclasses.asdict(self.calibration)) if self.calibration else None,
            "provenance": _nan_to_null(dict(self.provenance)),
            "prompts": self.prompts,
            "oracle": self.oracle,
        }


class SavedMasks(Mapping[str, UInt8[np.ndarray, "h w"]]):
    """The masks of a saved evaluation, by case, each read from its file when asked for."""

    def __init__(self, folder: Path, cases: tuple[str, ...], labels: LabelMap) -> None:
        """Remember where the masks are; nothing is read."""
        self._folder, self._cases, self._labels = folder, dict.fromkeys(cases), labels

    def __getitem__(self, case: str) -> UInt8[np.ndarray, "h w"]:
        """Labels 0 … K of one case; raises `KeyError` for an unknown case and `DataError` for a lost file."""
        if case not in self._cases:
            raise KeyError(case)
        path = mask_path(self._folder, case)
        try:
            with PillowImage.open(path) as image:
                stored = np.asarray(image)
        except OSError as error:
            raise DataError(f"{path}: cannot read the mask ({error}). Run `segmed evaluate` again.") from error
        return self._labels.decode(stored, str(path))

    def __iter__(self) -> Iterator[str]:
        """The case ids, in the order of `slices.csv`."""
        return iter(self._cases)

    def __len__(self) -> int:
        """How many masks there are."""
        return len(self._cases)


def files_of(folder: Path) -> list[Path]:
    """The files of the evaluation in a folder: its tables, and the masks of the cases that they list.

    Nothing where there is no evaluation; masks that no table lists are not ours.
    """
    if not (folder / EVALUATION).is_file():
        return []
    masks: list[Path] = []
    with suppress(OSError, ValueError, csv.Error), (folder / "slices.csv").open(encoding="utf-8", newline="") as file:
        cases = {row["case"] for row in csv.DictReader(file) if row.get("case")}
        masks = [mask_path(folder, case) for case in cases]  # none where a case leads out
    return [folder / EVALUATION, *(folder / f"{name}.csv" for name in TABLES), *masks]


def mask_path(folder: Path, case: str) -> Path:
    """Where the predicted mask of a case lies in an evaluation folder; `DataError` for a case id that leads out."""
    masks = folder / "predictions"
    path = masks / f"{case}.png"
    if not path.resolve().is_relative_to(folder.resolve() / "predictions"):  # a link in place of the folder leads out
        raise DataError(f"case {case!r} leads out of {masks}. Give it a plain name.")
    return path


def _mean_of_defined(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _nan_to_null(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _nan_to_null(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_nan_to_null(inner) for inner in value]
    return value


def _null_to_nan(value: Any) -> float:
    return math.nan if value is None else float(value)


_STORED: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "kind": (str,),
    "part": (str,),
    "leaking": (bool,),
    "threshold": (int, float, NoneType),
    "data_hash": (str, NoneType),
    "split": (dict,),
    "provenance": (dict,),
}
"""Facts that are stored as they are, and their types."""


def _known(facts: Mapping[str, Any], slices: Sequence[SliceRow]) -> bool:
    """Whether the patients of a saved evaluation are known; one of an earlier version tells by its names alone."""
    return bool(facts.get("patients_known", not slices or any(row.case != row.patient for row in slices)))


def _facts_from_json(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an evaluation that `evaluation.json` holds; an error of Python's where one is not."""
    for key, kinds in _STORED.items():
        if not isinstance(facts[key], kinds):
            raise TypeError(f"{key} is {facts[key]!r}")
    return {
        **{key: facts[key] for key in _STORED},
        "labels": LabelMap.from_json(facts["labels"]),
        "metrics": _metrics_from_json(facts["metrics"]),
        "by_label": {label: _metrics_from_json(metrics) for label, metrics in facts.get("by_label", {}).items()},
        "cost": _cost_from_json(facts["cost"]),
        "calibration": _calibration_from_json(facts["calibration"]),
        "prompts": facts.get("prompts"),
        "oracle": bool(facts.get("oracle", False)),
    }


def _by_label(
    patients: Sequence[PatientRow], slices: Sequence[SliceRow], known: Container[str], unit: Unit
) -> LabelMetrics:
    """The metrics `known` by label, of an evaluation that was stored before it had them; calibration is then lost."""
    if len({row.label for row in patients}) < 2:
        return {}
    weights = bootstrap_weights(len({row.patient for row in patients}), RESAMPLES, 0)
    found = summarise(patients, slices, {}, weights, unit).by_label
    return {
        label: {name: value for name, value in metrics.items() if name in known} for label, metrics in found.items()
    }


def _metrics_to_json(metrics: Mapping[str, MetricValue]) -> dict[str, Any]:
    return {name: _nan_to_null(dataclasses.asdict(metric)) for name, metric in metrics.items()}


def _metrics_from_json(values: Any) -> dict[str, MetricValue]:
    return {name: _metric_from_json(value) for name, value in values.items()}


def _metric_from_json(value: Any) -> MetricValue:
    numbers = {key: _null_to_nan(value[key]) for key in ("value", "low", "high")}
    return MetricValue(**{**value, **numbers, "n": int(value["n"]), "undefined": int(value["undefined"])})


def _cost_from_json(value: Any) -> Cost:
    strange = {key: number for key, number in value.items() if not isinstance(number, int | float | None)}
    if strange:
        raise TypeError(f"cost holds {strange!r}")
    return Cost(**value)


def _calibration_from_json(value: Any) -> Calibration | None:
    if value is None:
        return None
    return Calibration(
        bin_edges=tuple(float(edge) for edge in value["bin_edges"]),
        mean_probability=tuple(_null_to_nan(p) for p in value["mean_probability"]),
        observed_frequency=tuple(_null_to_nan(p) for p in value["observed_frequency"]),
        counts=tuple(int(count) for count in value["counts"]),
    )
