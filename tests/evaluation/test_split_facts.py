import pytest

from segmed.core.errors import DataError
from segmed.core.reading import validated
from segmed.evaluation.split_facts import SplitFacts, StoredSplit

PATIENTS = {
    "strategy": "slice", "seed": 3, "fold": 0, "folds": 2, "patients_known": True, "patients": 8, "slices": 70,
    "train_patients": 9, "train_slices": 90, "patients_also_in_train": 7, "slices_with_train_neighbour": 64,
    "share_with_train_neighbour": 0.914,
}  # fmt: skip
IMAGES = {"strategy": "image", "fold": "all", "patients_known": False, "images": 8, "slices": 8, "train_images": 9}


@pytest.mark.parametrize("stored", [PATIENTS, IMAGES, {}, {"strategy": "patient", "author": {"of": "it"}}])
def test_what_is_stored_of_a_split_is_read_and_written_as_it_was(stored):
    assert SplitFacts.from_json(stored).to_json() == stored


def test_units_are_patients_or_images_as_the_split_knows():
    assert SplitFacts.from_json(PATIENTS).units == SplitFacts.from_json(IMAGES).units == 8
    assert SplitFacts.from_json(IMAGES).train_units == 9


def test_a_share_that_is_no_number_is_refused_by_the_schema():
    with pytest.raises(DataError, match="share_with_train_neighbour"):
        validated({"share_with_train_neighbour": "most"}, StoredSplit, source="a.json", what="facts", remedy="Again.")
