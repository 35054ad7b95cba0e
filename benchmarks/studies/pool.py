"""One row from the runs of a cross-validation: folds joined, then seeds nested in patients.

python benchmarks/studies/pool.py runs/f0 runs/f1 runs/f2 [runs/f0-s1 …] --name NAME --out FOLDER

Each run holds its `evaluation-test`. Seeds are those of the runs' recipes; every seed has all folds. The pooled
evaluation is written to FOLDER, where `segmed compare` reads it, and a table of it is printed.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segmed.core.errors import DataError
from segmed.evaluation.result import Evaluation
from segmed.evaluation.statistics import Interval, bootstrap_ci
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


def pooled(runs: Sequence[Path], name: str) -> Evaluation:
    """The evaluation of all patients; raises `DataError` where a seed lacks a patient that another has."""
    by_seed: dict[int, list[Evaluation]] = defaultdict(list)
    for run in runs:
        by_seed[load_recipe(run / "recipe.yaml").seed].append(Evaluation.load(run / "evaluation-test"))
    seeds = [pool_folds(folds, name=name) for _, folds in sorted(by_seed.items())]
    tested = {frozenset(row.patient for row in each.patients) for each in seeds}
    if len(tested) > 1:
        raise DataError(f"{name}: the seeds were not tested on the same patients. Give every fold of every seed.")
    return seeds[0] if len(seeds) == 1 else nest_seeds(seeds, name=name)


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
    evaluation = pooled(arguments.runs, arguments.name)
    evaluation.save(arguments.out)
    print(table(evaluation))


if __name__ == "__main__":
    main()
