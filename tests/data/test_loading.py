"""Batches have the promised share of tumour, depend on seed and epoch alone, and lose no slice in validation."""

from pathlib import Path

import numpy as np
import pytest
import torch

from segmed.core.errors import ConfigError, DataError, SplitError
from segmed.data.loading import (
    Collate,
    Drawn,
    Item,
    OrderedBatches,
    PreprocessedSlices,
    SamplingConfig,
    TrainingBatches,
    make_loader,
    slice_chances,
)
from segmed.preprocess import Preprocess, PreprocessConfig, Undo
from toydata import toy

POSITIVE = np.arange(50) % 5 == 0


def drawn_of(foreground: np.ndarray, patients: int = 1) -> Drawn:
    return Drawn(foreground.astype(np.int64), tuple(f"p{index % patients}" for index in range(len(foreground))))


def sampler(share: float | None = 0.5, size: int = 8, **settings: int) -> TrainingBatches:
    return TrainingBatches(
        drawn_of(POSITIVE), SamplingConfig(batch_size=size, positive_share=share), seed=0, **settings
    )


SHARES = [(0.5, 8), (0.25, 8), (0.3, 7), (0.7, 2), (0.7, 1), (0.5, 5), (0.5, 1)]


@pytest.mark.parametrize(("share", "size"), SHARES)
def test_the_share_of_positive_slices_is_kept_over_an_epoch(share: float, size: int) -> None:
    drawn = [index for batch in sampler(share, size) for index in batch]
    assert POSITIVE[drawn].sum() == pytest.approx(share * len(drawn), abs=1)


@pytest.mark.parametrize(("share", "size"), SHARES)
def test_every_batch_has_the_size_asked_for(share: float, size: int) -> None:
    assert {len(batch) for batch in sampler(share, size)} == {size}


def test_a_share_of_one_passes_once_over_the_slices_with_foreground_alone() -> None:
    drawn = [index for batch in sampler(1.0, 2) for index in batch]
    assert sorted(drawn) == np.flatnonzero(POSITIVE).tolist()


def test_without_a_share_an_epoch_repeats_no_slice() -> None:
    drawn = [index for batch in sampler(None) for index in batch]
    assert len(drawn) == len(set(drawn)) == 48


def test_the_order_is_that_of_seed_and_epoch_alone() -> None:
    one, two = sampler(), sampler()
    two.set_epoch(3)
    list(two)
    two.set_epoch(0)
    assert list(one) == list(two)
    one.set_epoch(1)
    assert list(one) != list(two)


def test_ranks_share_the_batches_of_one_stream_between_them() -> None:
    whole = [sorted(batch) for batch in sampler(size=8)]
    halves = [sampler(size=4, rank=rank, world=2) for rank in range(2)]
    joined = [sorted(a + b) for a, b in zip(*halves, strict=True)]
    assert joined == whole


def test_a_part_of_only_positive_slices_is_sampled_as_it_is() -> None:
    batches = TrainingBatches(drawn_of(np.ones(9)), SamplingConfig(batch_size=3), seed=0)
    assert sorted(index for batch in batches for index in batch) == list(range(9))


def test_drawn_by_patient_every_patient_comes_equally_often_however_many_slices_it_has() -> None:
    patients = ("many",) * 40 + ("few",) * 3 + ("one",)
    drawn = Drawn(np.array([9] * 20 + [0] * 20 + [5, 0, 0] + [7]), patients)
    batches = TrainingBatches(drawn, SamplingConfig(batch_size=6, by="patient", steps_per_epoch=10), seed=0)
    numbers = [number for batch in batches for number in batch]
    with_tumour = [patients[number] for number in numbers if drawn.foreground[number]]
    without = [patients[number] for number in numbers if not drawn.foreground[number]]
    assert {name: with_tumour.count(name) for name in set(patients)} == {"many": 10, "few": 10, "one": 10}
    assert {name: without.count(name) for name in ("many", "few")} == {"many": 15, "few": 15}


def test_a_patients_slices_are_drawn_by_their_foreground_and_none_is_left_out() -> None:
    assert slice_chances(np.array([30, 10])).tolist() == pytest.approx([(0.75 + 0.05) / 1.1, (0.25 + 0.05) / 1.1])
    assert slice_chances(np.array([0, 0, 0, 0])).tolist() == [0.25] * 4
    drawn = Drawn(np.array([300, 100]), ("a", "a"))
    batches = TrainingBatches(drawn, SamplingConfig(batch_size=10, by="patient", steps_per_epoch=200), seed=0)
    share = np.mean([number == 0 for batch in batches for number in batch])
    assert share == pytest.approx(0.8 / 1.1, abs=0.03)


def test_order_by_patient_is_that_of_seed_and_epoch_alone() -> None:
    def order(epoch: int, seed: int) -> list[list[int]]:
        batches = TrainingBatches(
            drawn_of(POSITIVE, 7), SamplingConfig(batch_size=4, by="patient", steps_per_epoch=9), seed=seed
        )
        batches.set_epoch(epoch)
        return list(batches)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(2, 0) != order(2, 1)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_validation_sees_every_slice_exactly_once_over_all_ranks(world: int) -> None:
    seen = [i for rank in range(world) for batch in OrderedBatches(11, 4, rank=rank, world=world) for i in batch]
    assert sorted(seen) == list(range(11))


def test_a_batch_has_one_binary_channel_per_label() -> None:
    labels = torch.tensor([[0, 1], [2, 2]])
    undo = Undo((2, 2), (2, 2))
    batch = Collate(2)([Item(torch.zeros(3, 2, 2), labels, "a", undo)])
    assert batch.mask.tolist() == [[[[0, 1], [0, 0]], [[0, 0], [1, 1]]]]


def test_soft_targets_are_shares_of_area_and_keep_the_area(tmp_path: Path) -> None:
    data = toy(tmp_path)
    height, width = data.shape(data.dataset.records[0].slice_id)[:2]
    preprocess = Preprocess(PreprocessConfig(size=(height // 2, width // 2), divisor=1))
    slices = PreprocessedSlices(data, [r.slice_id for r in data.dataset.records], preprocess, soft=True)
    batch = Collate(1)([slices[index] for index in range(len(slices))])
    masks = np.stack([data.mask(slice_id) > 0 for slice_id in batch.slice_ids])
    assert batch.mask.shape == (len(slices), 1, height // 2, width // 2)
    np.testing.assert_allclose(batch.mask.sum((1, 2, 3)).numpy() * 4, masks.sum((1, 2)), atol=1e-3)


def test_images_of_two_sizes_in_a_batch_are_refused_with_the_remedy() -> None:
    items = [Item(torch.zeros(3, s, 32), torch.zeros(s, 32).long(), "a", Undo((s, 32), (s, 32))) for s in (32, 64)]
    with pytest.raises(DataError, match=r"differ in size.*Set preprocess\.size"):
        Collate(1)(items)


def test_slices_are_normalised_by_the_whole_volume_even_if_the_part_holds_one_slice(tmp_path: Path) -> None:
    data = toy(tmp_path)
    preprocess = Preprocess(PreprocessConfig())
    records = [record for record in data.dataset.records if record.patient == data.dataset.patients[0]]
    item = PreprocessedSlices(data, [records[1].slice_id], preprocess)[0]
    statistics = preprocess.statistics([data.image(record.slice_id) for record in records])
    assert torch.equal(item.image, preprocess.apply(data.image(records[1].slice_id), statistics)[0])


def test_a_loader_with_processes_gives_the_same_batches(tmp_path: Path) -> None:
    data = toy(tmp_path)
    slices = PreprocessedSlices(data, [r.slice_id for r in data.dataset.records], Preprocess(PreprocessConfig()))
    batches = OrderedBatches(len(slices), 5)
    alone, helped = (list(make_loader(slices, batches, labels=1, workers=n)) for n in (0, 1))
    assert all(torch.equal(a.image, b.image) and a.slice_ids == b.slice_ids for a, b in zip(alone, helped, strict=True))


def test_a_slice_of_another_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="stranger: not in the data set"):
        PreprocessedSlices(toy(tmp_path), ["stranger"], Preprocess(PreprocessConfig()))


@pytest.mark.parametrize(
    "settings", [{"batch_size": 0}, {"positive_share": 1.1}, {"positive_share": 0.0}, {"steps_per_epoch": 0}]
)
def test_impossible_sampling_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        SamplingConfig(**settings)  # type: ignore[arg-type]
