"""Compare evaluations of the same cases: who leads, by how much, and whether that can be told from chance.

The unit is the patient and the number is the patient's Dice, averaged over labels. Floors (baselines that learn
nothing) are kept apart from systems: they are not ranked, but the leader is tested against each.

Results of prompts made from the reference (oracles) are compared apart, each kind of prompts by itself, and never
ranked beside results that were told nothing.

All of it is over one set of patients, those on which every evaluation has a Dice. Dice has no value where reference
and prediction are both empty, so in a patient without foreground only false alarms would have one.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from jaxtyping import Float64

from segmed.core.errors import DataError
from segmed.core.units import Unit, unit_of
from segmed.core.wording import plural
from segmed.evaluation import statistics
from segmed.evaluation.result import Evaluation

PRIMARY = "dice"
"""The column of `patients.csv` that ranks systems and that tests compare."""
ALPHA = 0.05
"""Below this Holm-adjusted p value a difference is called separable from chance."""


class Verdict(Enum):
    """What a paired test says of a difference."""

    SEPARABLE = auto()
    NOT_SEPARABLE = auto()
    TOO_FEW = auto()

    def words(self, unit: Unit) -> str:
        """As tables and sentences have it: `separable`, `too few patients to tell`."""
        if self is Verdict.TOO_FEW:
            return f"too few {unit.many} to tell"
        return "separable" if self is Verdict.SEPARABLE else "not separable"


@dataclass(frozen=True)
class Difference:
    """The paired difference `first - second` in mean patient Dice, with its 95 % interval and tests.

    `p_sign_flip` is the exact or sampled sign-flip permutation test, `p_holm` the same after Holm's correction over
    the tests of its table, `p_wilcoxon` the signed-rank test for those who expect it. `patients` were compared, which
    could give no lower `p_holm` than `least_p` as the test with the lowest p, however large the difference. `label` is
    the one whose Dice was compared; empty for a patient's Dice over all labels.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p_sign_flip: float
    p_wilcoxon: float
    p_holm: float
    least_p: float
    patients: int
    label: str = ""

    @property
    def separable(self) -> bool:
        """Whether the difference can be told from chance: Holm-adjusted p below 0.05."""
        return self.verdict is Verdict.SEPARABLE

    @property
    def verdict(self) -> Verdict:
        """What the test says.

        With fewer than 6 patients (more when several tests are corrected) no difference can be significant by itself.
        """
        if self.p_holm < ALPHA:
            return Verdict.SEPARABLE
        return Verdict.TOO_FEW if self.least_p >= ALPHA else Verdict.NOT_SEPARABLE


@dataclass(frozen=True)
class Comparison:
    """Systems, best first; floors, best first; tests between systems and of the leader against floors.

    `patients` are those on which every evaluation has a Dice; order, tests and ranks rest on them alone. `left_out`
    has the other patients, whose reference is empty, each with the names of the evaluations that predict something.
    `rank_shares[s, r]` is the share of patient bootstraps in which system `s` takes rank `r`, best being 0;
    equal systems share the better rank. `oracles` holds comparisons of systems and floors under prompts made from the
    reference, one per kind of prompts; only they are oracles, unless there is nothing else to compare.
    `label_tests` are between systems on each label alone, where there are several; Holm's correction is over them all.
    """

    systems: tuple[Evaluation, ...]
    floors: tuple[Evaluation, ...]
    patients: tuple[str, ...]
    left_out: Mapping[str, tuple[str, ...]]
    tests: tuple[Difference, ...]
    floor_tests: tuple[Difference, ...]
    rank_shares: Float64[np.ndarray, "m m"]
    oracles: "tuple[Comparison, ...]" = ()
    label_tests: tuple[Difference, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, where there are several; a patient's Dice is then the mean over them."""
        found = tuple(dict.fromkeys(row.label for row in self.evaluations[0].patients))
        return found if len(found) > 1 else ()

    @property
    def oracle_prompts(self) -> str | None:
        """The kind of prompts, made from the reference, under which all these systems are; None where they are not."""
        return next((kind_of(system) for system in self.systems if system.oracle), None)

    @property
    def all_evaluations(self) -> tuple[Evaluation, ...]:
        """`evaluations`, then those of the oracles."""
        return self.evaluations + tuple(e for oracle in self.oracles for e in oracle.evaluations)

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """Systems, then floors."""
        return self.systems + self.floors

    @property
    def leaking(self) -> bool:
        """Whether any of the results comes from a split that leaks; then the whole comparison says so."""
        return any(evaluation.leaking for evaluation in self.all_evaluations)

    @property
    def patients_known(self) -> bool:
        """Whether all results are of known patients; where one is not, the whole comparison says so."""
        return all(evaluation.patients_known for evaluation in self.all_evaluations)

    @property
    def unit(self) -> Unit:
        """What is ranked, tested and drawn again: patients, or images where these are not known."""
        return unit_of(patients_known=self.patients_known)

    def metric_names(self) -> tuple[str, ...]:
        """The metrics that any of the evaluations has, in the order in which they list them."""
        return tuple(dict.fromkeys(name for evaluation in self.evaluations for name in evaluation.metrics))


def compare(evaluations: Sequence[Evaluation], *, seed: int = 0) -> Comparison:
    """Rank systems by mean patient Dice and test every pair on the same patients.

    Oracles are compared apart, for each kind of prompts.

    Args:
        evaluations: What `evaluate_run` returned, or what was loaded from a run's `evaluation-test` folder.
        seed: Draws the bootstraps and sampled sign flips, so the result is the same every time.

    Returns:
        The ranking with intervals, and every pair's difference with its p-value.

    Raises:
        DataError: Not all were scored on the same part, cases, references and data.

    Example:
        >>> from segmed.evaluation.result import Evaluation
        >>> result = segmed.compare([Evaluation.load(Path("runs/unet/evaluation-test"))])
        >>> [system.name for system in result.systems]
        ['unet']
    """
    require_comparable(evaluations)
    kinds = dict.fromkeys(kind_of(e) for e in evaluations if e.oracle and e.kind != "floor")
    oracles = [_compared([e for e in evaluations if e.oracle and kind_of(e) == kind], seed) for kind in kinds]
    automatic = [e for e in evaluations if not e.oracle]
    if oracles and not any(e.kind != "floor" for e in automatic):
        return dataclasses.replace(oracles[0], oracles=tuple(oracles[1:]))
    return dataclasses.replace(_compared(automatic or evaluations, seed), oracles=tuple(oracles))


def kind_of(evaluation: Evaluation) -> str:
    """The prompts that were drawn, whether or not answers to several boxes around each were averaged."""
    return evaluation.prompts.drawn if evaluation.prompts else ""


def _compared(evaluations: Sequence[Evaluation], seed: int) -> Comparison:
    patients, left_out = shared_patients(evaluations)
    systems = _best_first([e for e in evaluations if e.kind != "floor"], patients)
    floors = _best_first([e for e in evaluations if e.kind == "floor"], patients)
    pairs = list(itertools.combinations(systems, 2))
    leader_pairs = [(systems[0], floor) for floor in floors] if systems else []
    return Comparison(
        systems=systems,
        floors=floors,
        patients=patients,
        left_out=left_out,
        tests=_tests(pairs, patients, seed),
        floor_tests=_tests(leader_pairs, patients, seed),
        rank_shares=_rank_shares(systems, patients, seed),
        label_tests=_label_tests(evaluations, pairs, seed),
    )


def can_be_ranked(comparison: Comparison) -> bool:
    """Whether there are patients enough that drawing them again says how firm the order is.

    Of one patient every draw is that patient, and the order would be called certain. Below 6 no test could tell two
    systems apart, and the shares of ranks say no more than it.
    """
    patients = len(comparison.patients)
    return patients > 0 and statistics.least_p(patients, statistics.RESAMPLES) < ALPHA


def of_label(comparison: Comparison, label: str) -> Comparison:
    """The same systems and floors in the same order, with metrics and patients of one label; tests stay as they are.

    Raises `DataError` where an evaluation does not have the label.
    """

    def seen(evaluation: Evaluation) -> Evaluation:
        if label not in evaluation.by_label:
            raise DataError(f"{evaluation.name}: has no scores of {label!r}. Evaluate it with the same labels.")
        rows = tuple(row for row in evaluation.patients if row.label == label)
        return dataclasses.replace(evaluation, metrics=evaluation.by_label[label], patients=rows)

    systems, floors = (tuple(map(seen, some)) for some in (comparison.systems, comparison.floors))
    return dataclasses.replace(comparison, systems=systems, floors=floors)


def mean_dice(evaluation: Evaluation, patients: Sequence[str]) -> float:
    """Mean Dice over patients who all have one; NaN where there are none."""
    dice = evaluation.by_patient(PRIMARY)
    return sum(dice[patient] for patient in patients) / len(patients) if patients else math.nan


def require_comparable(evaluations: Sequence[Evaluation]) -> None:
    """Raise `DataError` for the first evaluation whose part, data, cases or references differ from the first's."""
    if not evaluations:
        raise DataError("Nothing to compare. Name at least one run that `segmed evaluate` has scored.")
    names = [evaluation.name for evaluation in evaluations]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"Two evaluations are called {name!r}. Give each its own name.")
    first = evaluations[0]
    for other in evaluations[1:]:
        _require_same(first, other)


def _require_same(first: Evaluation, other: Evaluation) -> None:
    who = f"{other.name} and {first.name} cannot be compared"
    if other.part != first.part:
        raise DataError(f"{who}: scored on {other.part} and on {first.part}. Evaluate both on the same part.")
    if other.space != first.space:
        spaces = [
            f"{each.space.unit}, NSD {each.space.tolerances}" if each.space else "slices" for each in (other, first)
        ]
        raise DataError(f"{who}: scored in {spaces[0]} and in {spaces[1]}. Score both in the same way.")
    images = [str(each.provenance.degradation or "as they are") for each in (other, first)]
    if images[0] != images[1]:
        raise DataError(f"{who}: scored on images {images[0]} and {images[1]}. Compare results on the same images.")
    if None not in (first.data_hash, other.data_hash) and first.data_hash != other.data_hash:
        hashes = f"{str(other.data_hash)[:12]} and {str(first.data_hash)[:12]}"
        raise DataError(f"{who}: scored on different data ({hashes}). Evaluate both on the same data.")
    ours, theirs = _references(first), _references(other)
    if ours.keys() != theirs.keys():
        counted = ("slice was", "slices were") if first.space is None else ("case was", "cases were")
        odd = sorted({name for name, _ in ours.keys() ^ theirs.keys()})
        raise DataError(
            f"{who}: {plural(len(odd), *counted)} scored for only one of them, such as {odd[0]}. "
            "Evaluate both with the same split and fold."
        )
    if first.by_patient(PRIMARY).keys() != other.by_patient(PRIMARY).keys():
        raise DataError(f"{who}: their patients differ. Evaluate both with the same data and split.")
    for (name, label), pixels in ours.items():
        if theirs[name, label] != pixels:
            raise DataError(
                f"{who}: the reference of {name} has {theirs[name, label]} and {pixels} pixels of {label}. "
                "Evaluate both against the same references."
            )


def _references(evaluation: Evaluation) -> dict[tuple[str, str], int]:
    voxels = {(row.case, row.label): row.reference_voxels for row in evaluation.cases}
    return voxels or {(row.slice_id, row.label): row.reference_px for row in evaluation.slices}


def shared_patients(
    evaluations: Sequence[Evaluation], label: str | None = None
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """The patients on which all have a Dice; the others, with the names of those that have one."""
    columns = {evaluation.name: evaluation.by_patient(PRIMARY, label) for evaluation in evaluations}
    having = {
        patient: tuple(name for name, dice in columns.items() if not math.isnan(dice[patient]))
        for patient in columns[evaluations[0].name]
    }
    shared = tuple(patient for patient, names in having.items() if len(names) == len(columns))
    return shared, {patient: names for patient, names in having.items() if len(names) < len(columns)}


def _best_first(evaluations: Sequence[Evaluation], patients: Sequence[str]) -> tuple[Evaluation, ...]:
    def key(evaluation: Evaluation) -> float:
        value = mean_dice(evaluation, patients)
        return math.inf if math.isnan(value) else -value

    return tuple(sorted(evaluations, key=key))


def _tests(
    pairs: Sequence[tuple[Evaluation, Evaluation]], patients: Sequence[str], seed: int
) -> tuple[Difference, ...]:
    """Test every pair; Holm's correction is over these pairs together."""
    flips = statistics.flips_for(len(pairs))
    return _corrected([_test(first, second, patients, flips, seed) for first, second in pairs], flips)


def _label_tests(
    evaluations: Sequence[Evaluation], pairs: Sequence[tuple[Evaluation, Evaluation]], seed: int
) -> tuple[Difference, ...]:
    """Test every pair on each of several labels, on the patients on which all evaluations have a Dice of it."""
    labels = tuple(dict.fromkeys(row.label for row in evaluations[0].patients))
    if len(labels) < 2:
        return ()
    flips = statistics.flips_for(len(pairs) * len(labels))
    shared = {label: shared_patients(evaluations, label)[0] for label in labels}
    return _corrected([_test(*pair, shared[label], flips, seed, label) for label in labels for pair in pairs], flips)


def _corrected(drafts: Sequence[Difference], flips: int) -> tuple[Difference, ...]:
    """Tests with Holm's correction over all of them together."""
    adjusted = statistics.holm([draft.p_sign_flip for draft in drafts])
    tests = max(1, sum(not math.isnan(p) for p in adjusted))
    return tuple(
        dataclasses.replace(draft, p_holm=p, least_p=min(1.0, tests * statistics.least_p(draft.patients, flips)))
        for draft, p in zip(drafts, adjusted, strict=True)
    )


def _test(
    first: Evaluation, second: Evaluation, patients: Sequence[str], flips: int, seed: int, label: str = ""
) -> Difference:
    ours, theirs = patient_scores([first, second], patients, label)
    found = statistics.paired_sign_flip(ours, theirs, flips=flips, seed=seed)
    return Difference(
        first=first.name,
        second=second.name,
        difference=found.difference,
        low=found.low,
        high=found.high,
        p_sign_flip=found.p_value,
        p_wilcoxon=statistics.paired_wilcoxon(ours, theirs, seed=seed).p_value,
        p_holm=math.nan,
        least_p=math.nan,
        patients=found.n,
        label=label,
    )


def patient_scores(
    evaluations: Sequence[Evaluation], patients: Sequence[str], label: str = ""
) -> Float64[np.ndarray, "m p"]:
    """Dice of patients, a row per evaluation, a column per patient, of one of several labels; NaN where undefined."""
    columns = [evaluation.by_patient(PRIMARY, label or None) for evaluation in evaluations]
    scores = np.array([[column[patient] for patient in patients] for column in columns], np.float64)
    return scores.reshape(len(evaluations), len(patients))


def _rank_shares(systems: Sequence[Evaluation], patients: Sequence[str], seed: int) -> Float64[np.ndarray, "m m"]:
    if len(systems) < 2:
        return np.ones((len(systems), len(systems)))
    return statistics.rank_stability(patient_scores(systems, patients), seed=seed)
