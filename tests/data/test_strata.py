"""Parts have every label as far as patients go round, and no other split than before where all have the same."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from segmed.core.errors import SplitError
from segmed.core.labels import LabelMap
from segmed.core.split import PARTS, Split
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.lacking import lacking_warnings, require_labels
from segmed.data.sources import open_dataset
from segmed.data.splits import split_by_patient
from segmed.data.strata import Strata
from toydata import toy

SIZE = (24, 31)


def labelled(root: Path, labels: Sequence[tuple[int, ...]]) -> DecodedDataset:
    """Two slices of each patient; its second has a patch of each of its labels, larger from patient to patient."""
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number, some in enumerate(labels):
        for position in (1, 2):
            mask = np.zeros(SIZE, np.uint8)
            for label in some if position == 2 else ():
                mask[4 * label : 4 * label + 3, 2 : 5 + number] = label
            for folder, array in (("images", mask * 20 + 1), ("masks", mask)):
                Pillow.fromarray(array).save(root / folder / f"p{number:02d}_{position}.png")
    names = LabelMap(("core", "rim", "spot"), (0, 1, 2, 3))
    return decode(open_dataset(root, labels=names, patient_regex=r"^(?P<patient>p\d+)_(?P<slice>\d)$"))


def found(data: DecodedDataset, split: Split, fold: int, part: str) -> set[int]:
    slice_ids = split.fold(fold).part(part)  # type: ignore[arg-type]
    return set(np.unique(np.concatenate([data.mask(slice_id).ravel() for slice_id in slice_ids]))) - {0}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    """Of 20 patients six have a lesion."""
    return labelled(
        tmp_path_factory.mktemp("few"), [(1,) if number % 3 == 1 else () for number in range(18)] + [(), ()]
    )


@pytest.mark.parametrize("seed", range(12))
def test_no_part_lacks_the_lesions_that_six_of_20_patients_have(few: DecodedDataset, seed: int) -> None:
    split = split_by_patient(few, seed=seed)
    assert [found(few, split, 0, part) for part in PARTS] == [{1}, {1}, {1}]
    sizes = [len({split.patient_of[slice_id] for slice_id in split.fold(0).part(part)}) for part in PARTS]
    assert sizes == [14, 2, 4]


@pytest.mark.parametrize("seed", range(4))
def test_every_fold_trains_chooses_and_judges_on_lesions(few: DecodedDataset, seed: int) -> None:
    split = split_by_patient(few, folds=5, seed=seed)
    assert all(found(few, split, fold, part) == {1} for fold in range(5) for part in PARTS)
    tested = [patient for fold in split.folds for patient in {split.patient_of[slice_id] for slice_id in fold.test}]
    assert sorted(tested) == sorted(few.dataset.patients)


@pytest.mark.parametrize("seed", range(6))
def test_rare_labels_of_other_patients_are_in_every_part(tmp_path: Path, seed: int) -> None:
    kinds = [(1,)] * 12 + [(1, 2)] * 4 + [(3,)] * 3 + [()] * 6
    data = labelled(tmp_path, [kinds[place] for place in np.random.default_rng(seed).permutation(len(kinds))])
    split = split_by_patient(data, ratios=(0.6, 0.2, 0.2), seed=seed)
    assert [found(data, split, 0, part) for part in PARTS] == [{1, 2, 3}] * 3


@pytest.mark.parametrize("seed", range(6))
def test_of_two_patients_with_a_label_one_trains_and_one_validates(tmp_path: Path, seed: int) -> None:
    data = labelled(tmp_path, [(1,), (1,)] + [()] * 10)
    split = split_by_patient(data, seed=seed)
    assert [found(data, split, 0, part) for part in PARTS] == [{1}, {1}, set()]


def test_labels_are_dealt_in_proportion() -> None:
    order = tuple(f"p{number:03d}" for number in range(100))
    labels = {name: frozenset({1} if number >= 60 else ()) for number, name in enumerate(order)}
    parts = Strata(order, labels).deal((0.7, 0.1, 0.2))
    with_label = [sum(part == each for name, part in parts.items() if labels[name]) for each in range(3)]
    assert with_label == [28, 4, 8]


def test_splits_are_those_of_earlier_versions_where_all_patients_have_the_same_labels(tmp_path: Path) -> None:
    data = toy(tmp_path, patients=20, slices=2, size=(40, 36))

    def numbers(slice_ids: Sequence[str]) -> set[int]:
        records = data.dataset.by_slice_id()
        return {int(records[slice_id].patient[-2:]) for slice_id in slice_ids}

    split = split_by_patient(data, seed=3).fold(0)
    assert (numbers(split.validation), numbers(split.test)) == ({14, 15}, {3, 6, 7, 12})
    assert [numbers(fold.test) for fold in split_by_patient(data, seed=3, folds=5).folds] == [
        {4, 9, 14, 15},
        {7, 12, 13, 18},
        {3, 6, 10, 11},
        {0, 1, 8, 19},
        {2, 5, 16, 17},
    ]


def test_a_part_that_lacks_a_label_is_warned_of_with_what_comes_of_it(tmp_path: Path) -> None:
    data = labelled(tmp_path, [(1, 2, 3), (1, 2), (1, 2), *[(1,)] * 7])
    split = split_by_patient(data)
    assert lacking_warnings(data, split, 0) == (
        "Fold 0: no mask of the validation part has spot: epoch and threshold are chosen without it.",
        "Fold 0: no mask of the test part has spot: it has no score there.",
    )
    require_labels(data, split, 0)


def test_a_fold_without_any_label_to_learn_or_to_choose_by_is_refused(tmp_path: Path) -> None:
    data = labelled(tmp_path, [(1,)] + [()] * 9)
    with pytest.raises(SplitError, match=r"all masks of the validation part are empty, so epoch and threshold cannot"):
        require_labels(data, split_by_patient(data), 0)


def test_masks_that_are_all_empty_are_nothing_to_learn(tmp_path: Path) -> None:
    data = labelled(tmp_path, [()] * 6)
    with pytest.raises(SplitError, match=r"all masks of the train part are empty, so there is nothing to learn"):
        require_labels(data, split_by_patient(data), 0)
