"""The area under Dice against the severity of a shift, by variant: the metric of experiment C.

    python benchmarks/studies/shift_area.py runs/gafl-shift [--kinds bandgain ringnoise]

The trapezoids run over the images as they are (severity 0) and every severity that the spec names, and are divided by
the largest severity, so that an area is a mean Dice. Differences are paired by patient, on the seeds that both variants
have. Their intervals hold for another training where there are two seeds or more, and for other patients alone where
there is one. The last column is the stopping rule of docs/results/featup-gafl.md, which is asked after seed 0.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ablation_spec import Spec, read_spec
from collect import Scores, degraded_scores, read_scores
from jaxtyping import Float64

from segmed.core.errors import DataError, SegmedError
from segmed.data.degrade import Degradation, parse_degradations
from segmed.evaluation.compare import PRIMARY
from segmed.evaluation.seeds import interval_over_seeds
from segmed.evaluation.statistics import Interval

STOP_BELOW = 0.01
"""An experiment stops where the upper end of the difference in area lies below this Dice."""


@dataclass(frozen=True)
class Difference:
    """How far a variant is from the one that it is tested against, on the seeds that both have."""

    against: str
    seeds: int
    area: Interval
    worst: Interval


@dataclass(frozen=True)
class Row:
    """What one variant reaches under one kind of shift."""

    kind: str
    variant: str
    seeds: int
    """Seeds that were evaluated under every severity."""
    area: Interval
    worst: Interval
    """Dice at the largest severity."""
    difference: Difference | None = None


def main() -> int:
    """Print the table of every kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--kinds", nargs="+", help="kinds of shift; all of the spec by default")
    options = parser.parse_args()
    try:
        spec = read_spec(options.study / "spec.yaml")
        clean = read_scores(spec, options.study, "test")[PRIMARY]
        degraded = degraded_scores(spec, options.study, "test")
        found = [
            row for kind, shifts in severities(spec, options.kinds) for row in rows(spec, kind, shifts, clean, degraded)
        ]
    except SegmedError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(table(found))
    return 0


def severities(spec: Spec, kinds: Sequence[str] | None) -> list[tuple[str, list[Degradation]]]:
    """Each kind of shift with its severities, mild to bad; raises `DataError` for a kind that the spec lacks."""
    shifts = parse_degradations(",".join(spec.degrade)) if spec.degrade else ()
    by_kind: dict[str, list[Degradation]] = {}
    for each in sorted(shifts, key=lambda each: each.severity):
        by_kind.setdefault(each.kind, []).append(each)
    for kind in kinds or ():
        if kind not in by_kind:
            raise DataError(f"The study has no shift {kind!r}. Choose from: {', '.join(by_kind) or 'none'}.")
    return [(kind, several) for kind, several in by_kind.items() if kinds is None or kind in kinds]


def rows(
    spec: Spec, kind: str, shifts: Sequence[Degradation], clean: Scores, degraded: Mapping[str, Scores]
) -> list[Row]:
    """A row per variant with a seed that has every severity."""
    under = [clean, *(degraded.get(str(shift), {}) for shift in shifts)]
    severity = np.array([0.0, *(shift.severity for shift in shifts)])
    seeds = {name: _complete(name, under) for name in spec.variants}
    found = []
    for name, variant in spec.variants.items():
        if not seeds[name]:
            continue
        ours = _curves(name, seeds[name], under)
        row = Row(
            kind,
            name,
            len(seeds[name]),
            area=interval_over_seeds(area(severity, ours)),
            worst=interval_over_seeds(ours[-1]),
        )
        if variant.against is not None:
            row = replace(row, difference=_difference(name, variant.against, seeds, under, severity))
        found.append(row)
    return found


def _difference(
    name: str,
    against: str,
    seeds: Mapping[str, Sequence[int]],
    under: Sequence[Scores],
    severity: Float64[np.ndarray, " v"],
) -> Difference | None:
    common = [seed for seed in seeds[name] if seed in seeds[against]]
    if not common:
        return None
    ours, theirs = _curves(name, common, under), _curves(against, common, under)
    return Difference(
        against,
        len(common),
        area=interval_over_seeds(area(severity, ours), area(severity, theirs)),
        worst=interval_over_seeds(ours[-1], theirs[-1]),
    )


def area(severity: Float64[np.ndarray, " v"], dice: Float64[np.ndarray, "v s p"]) -> Float64[np.ndarray, "s p"]:
    """The mean Dice over severities from 0 to the largest, by trapezoids: for each seed and patient."""
    return np.trapezoid(dice, severity, axis=0) / severity[-1]


def _complete(name: str, under: Sequence[Scores]) -> list[int]:
    """The seeds of a variant that were evaluated under every severity."""
    sets = [set(scores.get(name, {})) for scores in under]
    return sorted(set.intersection(*sets))


def _curves(name: str, seeds: Sequence[int], under: Sequence[Scores]) -> Float64[np.ndarray, "v s p"]:
    patients = list(under[0][name][seeds[0]])
    return np.array(
        [[[scores[name][seed][patient] for patient in patients] for seed in seeds] for scores in under], np.float64
    )


def table(found: Sequence[Row]) -> str:
    """The rows as Markdown, with the stopping rule's answer for each difference."""
    lines = [
        "| Shift | Variant | Seeds | Area under Dice | Dice, worst severity | Against (seeds) | Area | Worst | |",
        "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | --- |",
    ]
    for row in found:
        values = [row.kind, row.variant, str(row.seeds), _plain(row.area), _plain(row.worst)]
        if row.difference is None:
            values += ["–", "–", "–", ""]
        else:
            stops = row.difference.area.high < STOP_BELOW
            values += [f"{row.difference.against} ({row.difference.seeds})", _signed(row.difference.area)]
            values += [_signed(row.difference.worst), "stop" if stops else "go on"]
        lines.append(f"| {' | '.join(values)} |")
    return "\n".join(lines)


def _plain(value: Interval) -> str:
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _signed(value: Interval) -> str:
    return f"{value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


if __name__ == "__main__":
    sys.exit(main())
