"""What a part of a split lacks is refused, or said, before the first step."""

from dataclasses import replace
from pathlib import Path

import pytest
from runs import tiny_recipe, toy_and_split

from segmed.core.errors import SplitError
from segmed.core.split import PartName, Split
from segmed.data.decoded import DecodedDataset
from segmed.data.lacking import require_labels
from segmed.training import Hardware, train

CPU = Hardware(accelerator="cpu")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[DecodedDataset, Split]:
    return toy_and_split(tmp_path_factory.mktemp("toy"))


def emptied(data: DecodedDataset, split: Split, part: PartName) -> Split:
    """The split with only those slices in a part that have no foreground."""
    fold = split.fold(0)
    empty = tuple(slice_id for slice_id in fold.part(part) if not data.mask(slice_id).any())
    return replace(split, folds=(replace(fold, **{part: empty}),))


@pytest.mark.parametrize(
    ("part", "why"), [("train", "there is nothing to learn"), ("validation", "epoch and threshold cannot be chosen")]
)
def test_a_part_of_empty_masks_is_refused_before_training(
    toy: tuple[DecodedDataset, Split], tmp_path: Path, part: PartName, why: str
) -> None:
    data, split = toy
    with pytest.raises(SplitError, match=f"Fold 0: all masks of the {part} part are empty, so {why}"):
        train(tiny_recipe(), data=data, split=emptied(data, split, part), out=tmp_path / "run", hardware=CPU)
    assert not (tmp_path / "run").exists()


def test_a_test_part_without_a_label_is_a_warning_in_the_log(
    toy: tuple[DecodedDataset, Split], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, split = toy
    out = train(
        tiny_recipe("epochs=1"), data=data, split=emptied(data, split, "test"), out=tmp_path / "run", hardware=CPU
    )
    said = f"Fold 0: no mask of the test part has {data.dataset.labels.names[0]}: it has no score there."
    assert said in caplog.text
    assert said in (out / "log.txt").read_text()


def test_a_run_that_is_trained_on_all_needs_no_validation_masks(toy: tuple[DecodedDataset, Split]) -> None:
    data, split = toy
    require_labels(data, split.without_validation(), 0)
