"""A cascade's settings are chosen on validation patients, and nothing is refined where nothing is gained."""

from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_runs as tiny

from box_filler import filler, half_finder
from segmed.core.errors import SplitError
from segmed.data.decoded import DecodedDataset
from segmed.evaluation import tune_cascade as tuning
from segmed.evaluation.evaluate import evaluate
from segmed.evaluation.part import records_of, volumes
from segmed.evaluation.tune_cascade import facts_of, tune_cascade
from segmed.inference.cascade import NEVER, join
from segmed.models.prediction import PredictionConfig


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    return tiny.decoded_of(tiny.kaggle_folder(tmp_path_factory.mktemp("data") / "kaggle_3m", "abc"))


def test_a_refiner_that_fills_the_tight_box_is_chosen_without_margin(decoded: DecodedDataset) -> None:
    choice = tune_cascade(half_finder(), filler(), decoded, tiny.slice_ids("ab"))
    assert choice.dice == 1.0
    assert choice.dense == pytest.approx(2 / 3, abs=0.01)  # half of a square's pixels, none wrong
    assert choice.settings.margin == 0.0
    assert choice.settings.gate == 0.9
    assert facts_of(choice)["patients"] == 2


def test_a_refiner_that_takes_everything_away_is_never_used(decoded: DecodedDataset) -> None:
    choice = tune_cascade(half_finder(), filler(answer=-20.0), decoded, tiny.slice_ids("ab"))
    assert choice.settings.gate == NEVER
    assert choice.dice == choice.dense
    assert choice.always == 0.0


@pytest.mark.parametrize("removed", [{}, {"smallest_in_slice": 100}, {"smallest_in_volume": 200}])  # half has 72, 144
def test_the_chosen_dice_is_the_one_that_evaluation_finds(decoded: DecodedDataset, removed: dict[str, int]) -> None:
    dense, promptable = half_finder(threshold=0.4, prediction=PredictionConfig(**removed)), filler()
    choice = tune_cascade(dense, promptable, decoded, tiny.slice_ids("abc"), kinds=["box"])
    for settings, dice in choice.tried[::25]:
        joined = join(dense, promptable, settings, Path("cascade"))

        def predict(records, joined=joined):  # type: ignore[no-untyped-def]
            read = [np.array(decoded.image(record.slice_id)) for record in records]
            return [mask.array for mask in joined.predict_volume(read)], None

        groups = records_of(decoded, tiny.slice_ids("abc"))
        found = evaluate(volumes(decoded, groups, predict), decoded.dataset.labels, name="cascade", resamples=100)
        assert found.metrics["dice"].value == pytest.approx(dice)


def test_a_patient_with_two_volumes_counts_once(decoded: DecodedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        replace(each, patient=each.patient.replace("b", "a"), of_case=each.patient) for each in decoded.dataset.records
    ]
    two = copy(decoded)
    two.dataset = replace(decoded.dataset, records=tuple(records))
    dice = {"a": 0.2, "b": 0.6, "c": 1.0}
    monkeypatch.setattr(
        tuning, "_volume", lambda _, __, ___, some, candidates: np.full(len(candidates), dice[some[0].volume])
    )
    choice = tune_cascade(half_finder(), filler(), two, tiny.slice_ids("abc"))
    assert (choice.patients, choice.dice) == (2, pytest.approx(0.7))


def test_without_validation_patients_nothing_is_chosen(decoded: DecodedDataset) -> None:
    with pytest.raises(SplitError, match="no validation patients"):
        tune_cascade(half_finder(), filler(), decoded, ())
