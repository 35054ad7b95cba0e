"""A cross-validation's runs become one row."""

import dataclasses
from pathlib import Path

import pytest
import report_samples as samples
from pool import for_another_training, joined, pooled, smallest_third, table

from segmed.core.errors import DataError
from segmed.evaluation.result import Evaluation
from segmed.training.recipe import Recipe, save_recipe


def named(evaluation: Evaluation, prefix: str) -> Evaluation:
    return dataclasses.replace(
        evaluation,
        patients=tuple(dataclasses.replace(row, patient=prefix + row.patient) for row in evaluation.patients),
        slices=tuple(
            dataclasses.replace(row, patient=prefix + row.patient, slice_id=prefix + row.slice_id)
            for row in evaluation.slices
        ),
        predictions={prefix + slice_id: mask for slice_id, mask in evaluation.predictions.items()},
    )


def run(folder: Path, *, seed: int, dice: tuple[float, ...], prefix: str = "") -> Path:
    folder.mkdir()
    save_recipe(folder / "recipe.yaml", Recipe(seed=seed))
    named(samples.evaluation("fold", dice), prefix).save(folder / "evaluation-test")
    return folder


def test_folds_are_joined_and_seeds_are_averaged_in_each_patient(tmp_path: Path) -> None:
    runs = [
        run(tmp_path / "a", seed=0, dice=(0.9, 0.5)),
        run(tmp_path / "b", seed=0, dice=(0.1,), prefix="Q"),
        run(tmp_path / "c", seed=1, dice=(0.7, 0.5)),
        run(tmp_path / "d", seed=1, dice=(0.3,), prefix="Q"),
    ]
    seeds = joined(runs, "both")
    evaluation = pooled(seeds, "both")
    assert evaluation.by_patient("dice") == pytest.approx({"P0": 0.8, "P1": 0.5, "QP0": 0.2})
    assert "| Dice, mean | 0.500 [" in table(evaluation)
    assert for_another_training(seeds).value == pytest.approx(0.5)


def test_an_ensemble_is_one_seed_though_it_has_no_recipe(tmp_path: Path) -> None:
    runs = [run(tmp_path / "a", seed=3, dice=(0.9, 0.5)), run(tmp_path / "b", seed=3, dice=(0.1,), prefix="Q")]
    for each in runs:
        (each / "recipe.yaml").unlink()
        (each / "ensemble.json").write_text("{}")
    assert [len(each.patients) for each in joined(runs, "mean")] == [3]


def test_the_folder_of_an_evaluation_is_taken_as_it_is_and_needs_no_run(tmp_path: Path) -> None:
    samples.evaluation("masks", (0.9, 0.5)).save(tmp_path / "a")
    named(samples.evaluation("masks", (0.1,)), "Q").save(tmp_path / "b")
    assert [len(each.patients) for each in joined([tmp_path / "a", tmp_path / "b"], "masks")] == [3]


def test_a_seed_that_lacks_a_fold_is_refused(tmp_path: Path) -> None:
    runs = [
        run(tmp_path / "a", seed=0, dice=(0.9, 0.5)),
        run(tmp_path / "b", seed=0, dice=(0.1,), prefix="Q"),
        run(tmp_path / "c", seed=1, dice=(0.7, 0.5)),
    ]
    with pytest.raises(DataError, match="not tested on the same patients"):
        joined(runs, "both")


def test_the_smallest_third_is_of_the_patients_with_least_in_the_reference() -> None:
    evaluation = samples.evaluation("a", (0.9, 0.5, 0.3))
    sizes = {"P0": 500, "P1": 20, "P2": 900}
    rows = tuple(dataclasses.replace(row, reference_px=sizes[row.patient]) for row in evaluation.patients)
    assert smallest_third(dataclasses.replace(evaluation, patients=rows)).value == pytest.approx(0.5)
