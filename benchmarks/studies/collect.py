"""Tables and pictures of an ablation, from the run folders of `ablation.py` and as far as it has come.

    python benchmarks/studies/collect.py runs/study [--evaluation test] [--out FOLDER]

Writes `study.md` and `study.csv` (Dice, IoU and HD95: mean over seeds per patient, then over patients; intervals;
paired tests of every variant against the one it is compared with, Holm-adjusted over each table), `learning.md` (how
fast each learns), `curves.png`, and `degraded.png` where images were made worse. What the numbers mean is said in the
files. Seeds that not all variants of a comparison have finished are left out of that comparison, and named. An
evaluation under prompts is named with its kind, as in `--evaluation test/prompts/jitter-5`.
"""

import argparse
import csv
import io
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ablation_spec import Spec, read_spec, run_folder
from pictures import draw_curves, draw_degraded, mean_curve

from segmed.core.errors import DataError, SegmedError
from segmed.core.files import written_aside
from segmed.evaluation.compare import PRIMARY, require_comparable
from segmed.evaluation.report import numbers
from segmed.evaluation.report.history import Points, read_history
from segmed.evaluation.result import Evaluation
from segmed.evaluation.robustness import degraded_evaluations
from segmed.evaluation.seeds import interval_over_seeds
from segmed.evaluation.statistics import PairedTest, bootstrap_ci, holm, paired_sign_flip

Scores = dict[str, dict[int, dict[str, float]]]
"""A metric by variant, seed and patient."""

METRICS = {PRIMARY: "Dice", "iou": "IoU", "hd95": "HD95"}
"""Columns of `patients.csv` and their headings; a shorter HD95, in pixels of the slice, is a better one."""


@dataclass(frozen=True)
class Line:
    """A variant's numbers; those of its comparison are None where it is compared with none."""

    variant: str
    against: str | None
    seeds: tuple[int, ...]
    by_seed: tuple[float, ...]
    """Mean over patients, seed by seed."""
    mean: float
    low: float
    high: float
    test: PairedTest | None = None
    """Patients as the unit, each with its mean over seeds."""
    wide: tuple[float, float] | None = None
    """Interval of the difference for other patients and other seeds."""
    p_holm: float = math.nan


def main() -> int:
    """Collect, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--evaluation", default="test", help="which of the spec's evaluations")
    parser.add_argument("--out", type=Path, help="folder for the files; the study's own by default")
    options = parser.parse_args()
    try:
        spec = read_spec(options.study / "spec.yaml")
        out = options.out or options.study
        scores = read_scores(spec, options.study, options.evaluation)
        tables = {metric: compare_variants(spec, scores[metric]) for metric in METRICS}
        text = study_table(spec, tables[PRIMARY], options.evaluation)
        text += "\n## IoU of each patient's volume\n\n" + _rows(tables["iou"], "iou")
        text += "\n## HD95 in pixels of the slice, less is better\n\n" + _rows(tables["hd95"], "hd95")
        degraded = {
            title: compare_variants(spec, some)
            for title, some in degraded_scores(spec, options.study, options.evaluation).items()
        }
        for title, lines in degraded.items():
            text += f"\n## Images degraded: {title}\n\n" + _rows(lines)
        histories = read_histories(spec, options.study)
        _write(out / "study.md", text)
        _write(out / "study.csv", study_csv(tables))
        _write(out / "learning.md", learning_table(spec, histories))
        draw_curves(spec, histories, out / "curves.png")
        if degraded:
            means = {"none": tables[PRIMARY], **degraded}
            draw_degraded(
                spec, {how: {line.variant: line.mean for line in means[how]} for how in means}, out / "degraded.png"
            )
    except SegmedError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(text)
    return 0


def read_scores(spec: Spec, study: Path, evaluation: str) -> dict[str, Scores]:
    """All metrics by patient of every finished run. Raises `DataError` where there is none, or slices differ."""
    scores: dict[str, Scores] = {metric: {} for metric in METRICS}
    first: Evaluation | None = None
    for name in spec.variants:
        for seed in spec.seeds:
            folder = run_folder(study, name, seed) / f"evaluation-{evaluation}"
            if not (folder / "evaluation.json").is_file():
                continue
            found = Evaluation.load(folder)
            if first is not None:
                named = {"first": f"{name} seed {seed}", "second": "the study's first run"}
                require_comparable([_named(first, named["second"]), _named(found, named["first"])])
            first = first or found
            for metric, by_variant in scores.items():
                by_variant.setdefault(name, {})[seed] = found.by_patient(metric)
    if first is None:
        raise DataError(f"{study}: holds no finished evaluation-{evaluation}. Run ablation.py first.")
    return scores


def degraded_scores(spec: Spec, study: Path, evaluation: str) -> dict[str, Scores]:
    """The same for every degradation under which runs were evaluated."""
    found: dict[str, Scores] = {}
    for name in spec.variants:
        for seed in spec.seeds:
            for degradation, each in degraded_evaluations(run_folder(study, name, seed), evaluation).items():
                found.setdefault(str(degradation), {}).setdefault(name, {})[seed] = each.by_patient(PRIMARY)
    return found


def compare_variants(spec: Spec, scores: Scores) -> list[Line]:
    """A line per variant that has a run, with tests adjusted over all of them."""
    lines = [_line(name, spec.variants[name].against, scores) for name in spec.variants if name in scores]
    adjusted = iter(holm([line.test.p_value for line in lines if line.test is not None]))
    return [Line(**{**vars(line), "p_holm": next(adjusted)}) if line.test is not None else line for line in lines]


def _line(name: str, against: str | None, scores: Scores) -> Line:
    seeds = tuple(sorted(scores[name]))
    ours = _matrix(scores[name], seeds)
    interval = bootstrap_ci(_over_seeds(ours))
    by_seed = tuple(float(np.nanmean(row)) for row in ours)
    plain = Line(name, against, seeds, by_seed, interval.value, interval.low, interval.high)
    common = tuple(seed for seed in seeds if against is not None and seed in scores.get(against, {}))
    if against is None or not common:
        return plain
    mine, theirs = _matrix(scores[name], common), _matrix(scores[against], common)
    test = paired_sign_flip(_over_seeds(mine), _over_seeds(theirs))
    wide = interval_over_seeds(mine, theirs)
    return Line(**{**vars(plain), "test": test, "wide": (wide.low, wide.high)})


def _matrix(by_seed: dict[int, dict[str, float]], seeds: tuple[int, ...]) -> np.ndarray:
    patients = list(by_seed[seeds[0]])
    return np.array([[by_seed[seed][patient] for patient in patients] for seed in seeds], np.float64)


def _over_seeds(matrix: np.ndarray) -> np.ndarray:
    """Mean over seeds of each patient; NaN where any seed has none, as when all is empty and nothing is predicted."""
    return matrix.mean(axis=0)


def study_table(spec: Spec, lines: list[Line], evaluation: str) -> str:
    """The table with what it means."""
    wanted = len(spec.seeds)
    missing = [f"{line.variant} ({len(line.seeds)} of {wanted})" for line in lines if len(line.seeds) < wanted]
    missing += [f"{name} (0 of {wanted})" for name in spec.variants if name not in {line.variant for line in lines}]
    note = f"\nNot all seeds are finished: {', '.join(missing)}.\n" if missing else ""
    return (
        f"# {spec.title}\n\nMean patient Dice on evaluation `{evaluation}`: of each patient over seeds, then over "
        "patients; 95 % bootstrap intervals over patients. ± is the standard deviation between seeds. The difference "
        "is paired by patient on the seeds that both have; in braces its interval with the variance of seeds (t), "
        "which holds for another training too. p: sign-flip test over patients, Holm-adjusted over the table."
        f"\n{note}\n{_rows(lines)}"
    )


def _rows(lines: list[Line], metric: str = PRIMARY) -> str:
    digits = 1 if metric == "hd95" else 3

    def number(value: float, sign: str = "") -> str:
        return f"{value:{sign}.{digits}f}"

    text = (
        f"| Variant | Seeds | {METRICS[metric]} | ± | Against | Difference | p | p Holm |\n"
        "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |\n"
    )
    for line in lines:
        spread = number(float(np.std(line.by_seed, ddof=1))) if len(line.by_seed) > 1 else "–"
        cells = ["–"] * 4
        if line.test is not None and line.wide is not None:
            test, wide = line.test, line.wide
            ends = [number(each, "+") for each in (test.difference, test.low, test.high, *wide)]
            difference = "{} [{}, {}] {{{}, {}}}".format(*ends)
            cells = [str(line.against), difference, numbers.p_value(test.p_value), numbers.p_value(line.p_holm)]
        value = f"{number(line.mean)} [{number(line.low)}, {number(line.high)}]"
        text += f"| {line.variant} | {len(line.seeds)} | {value} | {spread} | {' | '.join(cells)} |\n"
    return text


def study_csv(tables: dict[str, list[Line]]) -> str:
    """Every digit, and the mean of every seed, metric by metric."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    ends = (
        "difference",
        "difference_low",
        "difference_high",
        "difference_low_with_seeds",
        "difference_high_with_seeds",
    )
    writer.writerow(
        ["metric", "variant", "against", "seeds", "value", "low", "high", *ends, "p", "p_holm", "patients", "by_seed"]
    )
    for metric, line in ((metric, line) for metric, lines in tables.items() for line in lines):
        test, wide = line.test, line.wide or ("", "")
        tested = [test.difference, test.low, test.high, *wide, test.p_value, line.p_holm, test.n] if test else [""] * 8
        seeds, by_seed = " ".join(map(str, line.seeds)), " ".join(map(str, line.by_seed))
        found = [metric, line.variant, line.against or "", seeds, line.mean, line.low, line.high]
        writer.writerow([*found, *tested, by_seed])
    return buffer.getvalue()


def read_histories(spec: Spec, study: Path) -> dict[str, list[Points]]:
    """Validation Dice by epoch of every run with at least one epoch, by variant."""
    histories = {
        name: [read_history(run_folder(study, name, seed)).get("validation/dice", ()) for seed in spec.seeds]
        for name in spec.variants
    }
    return {name: [each for each in several if each] for name, several in histories.items() if any(several)}


def learning_table(spec: Spec, histories: dict[str, list[Points]]) -> str:
    """Mean over epochs (the area under the curve), the last epoch, and how soon the other's last level is reached."""
    text = (
        f"# {spec.title}: learning\n\nValidation Dice of the averaged weights, mean ± standard deviation over seeds. "
        "Area: mean over all epochs. Epochs: until 95 % of the level at which the variant it is compared with (itself, "
        "if none) ends, on the mean curve.\n\n"
        "| Variant | Runs | Area | Last epoch | Epochs to level |\n| --- | ---: | ---: | ---: | ---: |\n"
    )
    for name, several in histories.items():
        other = histories.get(spec.variants[name].against or name, several)
        level = 0.95 * float(np.mean([points[-1][1] for points in other]))
        curve = mean_curve(several)
        soon = next((f"{epoch + 1:.0f}" for epoch, dice in curve if dice >= level), "not reached")
        areas = [float(np.mean([dice for _, dice in points])) for points in several]
        lasts = [points[-1][1] for points in several]
        text += f"| {name} | {len(several)} | {_spread(areas)} | {_spread(lasts)} | {soon} |\n"
    return text


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def _named(evaluation: Evaluation, name: str) -> Evaluation:
    return Evaluation(**{**vars(evaluation), "name": name})


def _write(path: Path, text: str) -> None:
    with written_aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
