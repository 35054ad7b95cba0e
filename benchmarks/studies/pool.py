"""One row from the runs of a cross-validation: folds joined, then seeds nested in patients.

python benchmarks/studies/pool.py runs/f0 runs/f1 runs/f2 [runs/f0-s1 …] --name NAME --out FOLDER

Each run, or ensemble, holds its `evaluation-test`. Seeds are those of the runs' recipes; every seed has all folds. A
folder that is an evaluation itself, of masks or with prompts, is taken as it is and counts as of seed 0. The
pooled evaluation is written to FOLDER, where `segmed compare` reads it, and a table of it is printed. Of two seeds or
more the mean Dice has a second interval (t, Satterthwaite), as a bootstrap over so few seeds is too narrow.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segmed.core.errors import DataError
from segmed.evaluation.result import Evaluation
from segmed.evaluation.seeds import interval_over_seeds
from segmed.evaluation.statistics import Interval, bootstrap_ci
from segmed.models.checkpoint import ENSEMBLE
from segmed.study.pool import nest_seeds, pool_folds
from segmed.training.recipe import load_recipe

SHOWN = {
    "dice": "Dice, mean",
    "dice_median": "Dice, median",
    "iou": "IoU, mean",
    "lesion_f1": "Lesion F1",
    "nsd_2px_shared": "NSD at 2 px, slices that both mark",
    "hd95_shared": "HD95 in px, slices that both mark",
    "one_sided_slices": "Slices that one mask marks alone, share",
    "iou_positive_slices": "IoU, tumour slices",
    "iou_pooled": "IoU, pooled",
    "iou_per_image_empty_one": "IoU per image, empty = 1",
}
"""The metrics of the table and what it calls them."""


def joined(runs: Sequence[Path], name: str) -> list[Evaluation]:
    """The evaluation of all patients by each seed; raises `DataError` where a seed lacks a patient that another has."""
    by_seed: dict[int, list[Evaluation]] = defaultdict(list)
    for run in runs:
        itself = (run / "evaluation.json").is_file()
        by_seed[0 if itself else seed_of(run)].append(Evaluation.load(run if itself else run / "evaluation-test"))
    seeds = [pool_folds(folds, name=name) for _, folds in sorted(by_seed.items())]
    tested = {frozenset(row.patient for row in each.patients) for each in seeds}
    if len(tested) > 1:
        raise DataError(f"{name}: the seeds were not tested on the same patients. Give every fold of every seed.")
    return seeds


def pooled(seeds: Sequence[Evaluation], name: str) -> Evaluation:
    """One evaluation: the seeds' scores are averaged in each patient."""
    return seeds[0] if len(seeds) == 1 else nest_seeds(seeds, name=name)


def for_another_training(seeds: Sequence[Evaluation]) -> Interval:
    """The mean Dice with an interval over patients and seeds."""
    dice = [each.by_patient("dice") for each in seeds]
    return interval_over_seeds(np.array([[scores[patient] for patient in dice[0]] for scores in dice]))


def seed_of(run: Path) -> int:
    """The seed of a run's recipe; 0 for an ensemble, which has no training of its own."""
    return 0 if (run / ENSEMBLE).is_file() else load_recipe(run / "recipe.yaml").seed


def smallest_third(evaluation: Evaluation) -> Interval:
    """The mean Dice of the third of patients with the least foreground in the reference."""
    pixels, dice = evaluation.by_patient("reference_px"), evaluation.by_patient("dice")
    chosen = sorted(pixels, key=lambda patient: (pixels[patient], patient))[: len(pixels) // 3]
    return bootstrap_ci(np.array([dice[patient] for patient in chosen]))


def table(evaluation: Evaluation) -> str:
    """Values with their intervals, as Markdown."""
    rows = {title: evaluation.metrics[metric] for metric, title in SHOWN.items()}
    third = smallest_third(evaluation)
    lines = [f"| {title} | {each.value:.3f} [{each.low:.3f}, {each.high:.3f}] |" for title, each in rows.items()]
    lines.append(f"| Dice, the smallest third of patients | {third.value:.3f} [{third.low:.3f}, {third.high:.3f}] |")
    return "\n".join([f"| | {evaluation.name} |", "| --- | ---: |", *lines])


def main() -> None:
    """Pool, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--name", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    seeds = joined(arguments.runs, arguments.name)
    evaluation = pooled(seeds, arguments.name)
    evaluation.save(arguments.out)
    print(table(evaluation))
    if len(seeds) > 1:
        found = for_another_training(seeds)
        print(f"| Dice, mean, for another training too | {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] |")


if __name__ == "__main__":
    main()
