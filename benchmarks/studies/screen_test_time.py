"""What test-time images are worth on validation patients: several sizes, with mirror images, or smoothed in depth.

    python benchmarks/studies/screen_test_time.py DATA split.json --size 128 --size 160 runs/f0 runs/f1 runs/f2

The first run is of fold 0 of the split, and so on. Every run is asked about the validation patients of its fold at each
size; a row is the mean of the probabilities at some of the sizes. Dice is volumetric, after the run's own removal of
small components, at the run's own threshold. The first size should be the one that the runs were trained at.
"""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from jaxtyping import Float

from segmed.cli.inputs import open_decoded, open_split
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.part import records_of
from segmed.evaluation.tune import patient_dice
from segmed.inference import Predictor
from segmed.inference.from_data import patient_slices
from segmed.models.checkpoint import TrainedModel, load_run
from segmed.models.prediction import Tta

Maps = list[Float[np.ndarray, "k h w"]]
KINDS: tuple[Tta, ...] = ("none", "mirror")


def rows_of(by_size: dict[str, Maps], smoothing: list[float], trained_at: str) -> dict[str, Maps]:
    """What is compared: means over some of the sizes, and the first alone smoothed over neighbouring slices."""
    sizes = list(dict.fromkeys(name.split()[0] for name in by_size))
    found: dict[str, Maps] = {}
    for kind in KINDS:
        for count in range(1, len(sizes) + 1):
            for some in combinations(sizes, count):
                maps = [by_size[f"{size} {kind}"] for size in some]
                found[f"{' + '.join(some)}, {kind}"] = [np.mean(each, axis=0) for each in zip(*maps, strict=True)]
    plain = np.stack(by_size[f"{trained_at} none"])
    below, above = np.concatenate([plain[:1], plain[:-1]]), np.concatenate([plain[1:], plain[-1:]])
    for weight in smoothing:
        found[f"{trained_at}, smoothed {weight:g}"] = list((1 - 2 * weight) * plain + weight * (below + above))
    return found


def at_size(trained: TrainedModel, side: int) -> Predictor:
    """The run, reading its images at another size."""
    preprocess = replace(trained.config.preprocess, size=(side, side))
    return Predictor(replace(trained, config=replace(trained.config, preprocess=preprocess)), device="cpu")


def dice_of_patients(
    run: Path, data: DecodedDataset, slice_ids: tuple[str, ...], sizes: list[int], smoothing: list[float]
) -> dict[str, list[float]]:
    """The Dice of each patient (of one volume each) by row."""
    trained, found = load_run(run), dict[str, list[float]]()
    threshold, share = trained.config.threshold, trained.config.prediction.smallest_share
    predictors = {str(side): at_size(trained, side) for side in sizes}
    for records in records_of(data, slice_ids).values():
        slices = patient_slices(data, records)
        reference = [data.mask(record.slice_id) for record in records]
        positions = [record.slice_index for record in records]
        by_size: dict[str, Maps] = {}
        for side, predictor in predictors.items():
            each = list(predictor.iterate_ttas(slices, KINDS))
            by_size |= {f"{side} {kind}": [one[kind] for one in each] for kind in KINDS}
        for name, maps in rows_of(by_size, smoothing, str(sizes[0])).items():
            (dice,) = patient_dice(maps, reference, positions, [(threshold, "share", share)])
            found.setdefault(name, []).append(float(dice))
    return found


app = typer.Typer(add_completion=False)


@app.command()
def main(
    data: Path,
    split: Path,
    runs: list[Path],
    size: Annotated[list[int], typer.Option(help="Side of the input in pixels; several, that of training first.")],
    smooth: Annotated[list[float], typer.Option(help="Weight of each neighbouring slice.")] = [],  # noqa: B006
) -> None:
    """Print each row's mean Dice and its difference from the first."""
    decoded, dealt = open_decoded(data, None, None), open_split(split)
    found: dict[str, list[float]] = {}
    for fold, run in enumerate(runs):
        slice_ids = dealt.fold(fold).part("validation")
        for name, dice in dice_of_patients(run, decoded, slice_ids, size, smooth).items():
            found.setdefault(name, []).extend(dice)
    first = np.array(next(iter(found.values())))
    for name, dice in found.items():
        difference = np.array(dice) - first
        error = difference.std(ddof=1) / len(difference) ** 0.5
        print(
            f"{name:28} {np.mean(dice):.4f}  {difference.mean():+.4f} +- {error:.4f}  better in "
            f"{int((difference > 0).sum())} of {len(difference)}"
        )


if __name__ == "__main__":
    app()
