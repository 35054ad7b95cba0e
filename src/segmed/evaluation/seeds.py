"""Intervals that hold for another training as well: of patients and of seeds, which are few.

A bootstrap that draws 2 or 3 seeds again is too narrow: it covers the seeds' part in 0.67 and 0.81 of cases where 0.95
are promised. Here the variance of the mean is the sum of what patients contribute and what networks contribute, each
estimated from its own mean square, and the quantile is Student's t with Satterthwaite's degrees of freedom
(Satterthwaite, Biometrics Bulletin 1946), which are few where seeds decide.
"""

import math

import numpy as np
from jaxtyping import Float
from scipy import stats

from segmed.evaluation.statistics import Interval


def interval_over_seeds(
    ours: Float[np.ndarray, "s p"], theirs: Float[np.ndarray, "t p"] | None = None, *, level: float = 0.95
) -> Interval:
    """The mean score of a system over patients and seeds, or the mean difference of two, with its interval.

    Patients are paired; seeds are not, as seed 0 of one recipe has nothing in common with seed 0 of another. Patients
    that are undefined in any seed are left out. One seed tells nothing of others: then the interval is over patients
    alone. Fewer than two patients give none.

    Args:
        ours: A row per seed, a column per patient.
        theirs: The system that it is compared with, for the same patients.
        level: How often the interval is to hold the value.

    Returns:
        Mean and ends; NaN where there is nothing to compute.
    """
    systems = [ours] if theirs is None else [ours, theirs]
    defined = ~np.isnan(np.concatenate(systems)).any(axis=0)
    systems = [each[:, defined].astype(np.float64) for each in systems]
    patients = int(defined.sum())
    if patients == 0:
        return Interval(math.nan, math.nan, math.nan)
    by_patient = systems[0].mean(axis=0) - (systems[1].mean(axis=0) if theirs is not None else 0.0)
    mean = float(by_patient.mean())
    if patients < 2:
        return Interval(mean, math.nan, math.nan)
    parts = [(float(by_patient.var(ddof=1)) / patients, patients - 1)]
    parts += [(float(each.mean(axis=1).var(ddof=1)) / len(each), len(each) - 1) for each in systems if len(each) > 1]
    total = sum(part for part, _ in parts)
    if total <= 0:
        return Interval(mean, mean, mean)
    freedom = total**2 / sum(part**2 / degrees for part, degrees in parts)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(total)
    return Interval(mean, mean - half, mean + half)
