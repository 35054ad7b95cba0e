"""The decoded cache returns the files' pixels, notices every change, and is never half-built."""

import errno
import json
import os
import pickle
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.records import SliceDataset
from segmed.data import decoded as module
from segmed.data import pixels, signature
from segmed.data.decoded import DecodedDataset, cache_root, decode
from segmed.data.sources import open_dataset
from toydata import toy, write_toy


def fresh(root: Path) -> DecodedDataset:
    return decode(open_dataset(root), cache_dir=root / "cache")


def test_pixels_and_labels_are_those_of_the_files(tmp_path: Path) -> None:
    data = toy(tmp_path)
    for record in data.dataset.records:
        assert np.array_equal(data.image(record.slice_id), np.asarray(Pillow.open(record.image)))
        assert record.mask is not None
        assert np.array_equal(data.mask(record.slice_id), np.asarray(Pillow.open(record.mask)) // 255)


def test_images_of_different_sizes_live_in_one_cache(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name, size in (("a", (5, 7)), ("b", (9, 4))):
        Pillow.fromarray(np.full((*size, 3), 3, np.uint8)).save(tmp_path / "images" / f"{name}.png")
    data = fresh(tmp_path)
    assert data.shape("a") == (5, 7, 3)
    assert data.image("b").shape == (9, 4, 3)


def test_a_second_opening_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = toy(tmp_path)
    monkeypatch.setattr(pixels, "read_image", lambda path: pytest.fail(f"{path} was read again"))
    assert fresh(tmp_path).data_hash == first.data_hash


def test_a_changed_file_is_decoded_again_and_changes_the_hash(tmp_path: Path) -> None:
    before = toy(tmp_path)
    record = before.dataset.records[0]
    Pillow.fromarray(np.zeros((48, 40, 3), np.uint8)).save(record.image)
    after = fresh(tmp_path)
    assert not after.image(record.slice_id).any()
    assert after.data_hash != before.data_hash


def test_the_hash_is_of_pixels_not_of_files(tmp_path: Path) -> None:
    before = toy(tmp_path)
    record = before.dataset.records[0]
    Pillow.open(record.image).save(record.image, compression="tiff_lzw")
    assert fresh(tmp_path).data_hash == before.data_hash


def test_the_hash_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    assert toy(tmp_path / "one").data_hash == toy(tmp_path / "two").data_hash


def test_the_hash_depends_on_the_volume_that_a_slice_is_said_to_be_of(tmp_path: Path) -> None:
    plain = toy(tmp_path)
    records = tuple(replace(record, of_case=f"{record.patient} before") for record in plain.dataset.records)
    named = decode(replace(plain.dataset, records=records), cache_dir=tmp_path / "cache")
    assert named.data_hash != plain.data_hash
    assert fresh(tmp_path).data_hash == plain.data_hash


def in_order_of(root: Path, *dtypes: str) -> DecodedDataset:
    """An image of equal numbers in each of these types."""
    (root / "images").mkdir(parents=True)
    for number, dtype in enumerate(dtypes):
        np.save(root / "images" / f"{number}.npy", np.arange(20, dtype=dtype).reshape(5, 4))
    return fresh(root)


def test_files_of_another_byte_order_are_the_same_data(tmp_path: Path) -> None:
    assert in_order_of(tmp_path / "a", ">u2", "<u2").data_hash == in_order_of(tmp_path / "b", "<u2", "<u2").data_hash


def test_a_cache_of_an_earlier_version_in_another_byte_order_is_made_again(tmp_path: Path) -> None:
    data = in_order_of(tmp_path, "<u2")
    (index,) = (tmp_path / "cache").glob("*/index.json")
    index.write_text(index.read_text().replace("<u2", ">u2"))
    assert np.array_equal(fresh(tmp_path).image("0"), data.image("0"))


def write_fixed(root: Path) -> Path:
    """Two patients of twelve slices with the same pixels on any machine."""
    for patient in ("TCGA_CS_0001_20000101", "TCGA_DU_0002_19990203"):
        folder = root / "kaggle_3m" / patient
        folder.mkdir(parents=True)
        for number in range(1, 13):
            image = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3) + number
            mask = (image[..., 0] % 7 == 0).astype(np.uint8) * 255
            Pillow.fromarray(image).save(folder / f"{patient}_{number}.tif")
            Pillow.fromarray(mask).save(folder / f"{patient}_{number}_mask.tif")
    return root


def test_the_hash_of_data_in_the_kaggle_layout_is_what_it_has_always_been(tmp_path: Path) -> None:
    """Splits and runs of earlier versions are tied to the data by it."""
    found = fresh(write_fixed(tmp_path)).data_hash
    assert found == "b666092bb94ff4cd6d67fa6ceaa2302eeee3acbe101a2b270a00e29ca59e647c"


def ordered(root: Path, places: list[int], ids: list[str]) -> DecodedDataset:
    """A patient's slices at these places, by a manifest; the pixels of a slice go with its id."""
    for slice_id in ids:
        Pillow.fromarray(np.full((5, 4), len(slice_id), np.uint8)).save(root / f"{slice_id}.png")
    rows = [f"{slice_id},p,{slice_id}.png,{place}" for slice_id, place in zip(ids, places, strict=True)]
    (root / "list.csv").write_text("\n".join(["slice_id,patient,image,slice", *rows]))
    return decode(open_dataset(root / "list.csv"), cache_dir=root / "cache")


def test_the_hash_depends_on_the_order_of_the_slices_of_a_volume(tmp_path: Path) -> None:
    ids = ["a", "bb", "ccc"]
    hashes = [ordered(tmp_path, places, ids).data_hash for places in ([1, 2, 3], [2, 1, 3], [3, 2, 1], [2, 1, 3])]
    assert len(set(hashes)) == 3
    assert hashes[1] == hashes[3]


def test_an_order_that_the_numbers_in_the_ids_tell_leaves_the_hash_as_it_is(tmp_path: Path) -> None:
    ids = ["s2", "s9", "s10"]
    assert ordered(tmp_path, [1, 2, 3], ids).data_hash == ordered(tmp_path, [5, 6, 9], ids).data_hash


def test_a_cache_of_an_earlier_version_whose_hash_lacks_the_order_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "stated_orders", lambda _: {})
        earlier.setattr(signature, "stated_orders", lambda _: {})
        before = ordered(tmp_path, [2, 1], ["a", "bb"]).data_hash
    assert ordered(tmp_path, [2, 1], ["a", "bb"]).data_hash != before


def with_other_labels(data: DecodedDataset, cache: Path) -> DecodedDataset:
    return decode(replace(data.dataset, labels=LabelMap(("spot",), (0, 255))), cache_dir=cache)


def test_a_cache_in_use_stays_when_the_data_is_opened_with_other_labels(tmp_path: Path) -> None:
    data = toy(tmp_path)
    with_other_labels(data, tmp_path / "cache")
    again: DecodedDataset = pickle.loads(pickle.dumps(data))
    assert again.image(data.dataset.records[0].slice_id).any()


def test_a_cache_that_nobody_has_opened_for_a_day_goes_when_the_data_is_decoded_anew(tmp_path: Path) -> None:
    data = toy(tmp_path)
    (folder,) = (tmp_path / "cache").iterdir()
    a_day_ago = time.time() - 90_000
    os.utime(folder, (a_day_ago, a_day_ago))
    with_other_labels(data, tmp_path / "cache")
    assert not folder.exists()


def test_opening_a_cache_counts_as_use_of_it(tmp_path: Path) -> None:
    data = toy(tmp_path)
    (folder,) = (tmp_path / "cache").iterdir()
    os.utime(folder, (time.time() - 90_000,) * 2)
    fresh(tmp_path)
    with_other_labels(data, tmp_path / "cache")
    assert folder.exists()


def test_an_index_that_lacks_a_slice_is_named_with_what_to_do(tmp_path: Path) -> None:
    data = toy(tmp_path)
    (index,) = (tmp_path / "cache").glob("*/index.json")
    stored = json.loads(index.read_text())
    slice_id = data.dataset.records[3].slice_id
    del stored["slices"][slice_id]
    index.write_text(json.dumps(stored))
    with pytest.raises(DataError, match=rf"index\.json: has no slice {slice_id}\. Delete .* and run again"):
        fresh(tmp_path)


def test_a_damaged_cache_is_noticed_when_the_slice_is_read(tmp_path: Path) -> None:
    data = toy(tmp_path)
    pixels = next((tmp_path / "cache").glob("*/pixels.bin"))
    content = bytearray(pixels.read_bytes())
    content[3] ^= 1
    pixels.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"the decoded copy is damaged\. Delete"):
        fresh(tmp_path).image(data.dataset.records[0].slice_id)


def test_a_failed_build_leaves_no_cache(tmp_path: Path) -> None:
    write_toy(tmp_path)
    record = open_dataset(tmp_path).records[5]
    record.image.write_bytes(record.image.read_bytes()[:300])
    with pytest.raises(DataError, match=record.image.name):
        fresh(tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk_is_one_error_that_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(DataError, match=r"No space left on device\)\. Set SEGMED_CACHE"):
        fresh(tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_mask_of_another_size_is_refused_naming_the_file(tmp_path: Path) -> None:
    write_toy(tmp_path)
    record = open_dataset(tmp_path).records[2]
    assert record.mask is not None
    Pillow.fromarray(np.zeros((47, 40), np.uint8)).save(record.mask)
    with pytest.raises(DataError, match=rf"{record.mask.name}: the mask is 47x40 but its image is 48x40"):
        fresh(tmp_path)


def test_a_slice_without_mask_is_readable_but_has_none(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Pillow.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "images" / "a.png")
    data = fresh(tmp_path)
    assert not data.has_mask("a")
    with pytest.raises(DataError, match="a: has no mask"):
        data.mask("a")


def test_an_unknown_slice_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nobody: not in the data set"):
        toy(tmp_path).image("nobody")


def test_it_travels_to_another_process_as_its_folder(tmp_path: Path) -> None:
    data = toy(tmp_path)
    sent = pickle.dumps(data)
    slice_id = data.dataset.records[0].slice_id
    assert len(sent) < 10_000
    assert np.array_equal(pickle.loads(sent).image(slice_id), data.image(slice_id))


def test_pixels_cannot_be_written_to(tmp_path: Path) -> None:
    data = toy(tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        data.image(data.dataset.records[0].slice_id)[0, 0, 0] = 1


def test_progress_ends_at_the_number_of_slices(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_toy(tmp_path, patients=3)
    decode(
        open_dataset(tmp_path), cache_dir=tmp_path / "cache", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(number, 12) for number in range(1, 13)]


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "elsewhere"))
    assert cache_root() == tmp_path / "elsewhere"


def test_a_data_set_without_records_is_refused_with_every_layout(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"holds no image; expected a folder with images/.*nnU-Net.*Kaggle.*FairSeg.*manifest"
    ):
        decode(SliceDataset("none", tmp_path, ()), cache_dir=tmp_path)


@pytest.mark.parametrize("name", ["d" * 245, "\u00e9" * 122, "a[b]*c"])
def test_a_data_set_of_any_name_has_a_place_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(module, "ABANDONED", -1.0)
    folder = tmp_path / name / "images"
    folder.mkdir(parents=True)
    Pillow.fromarray(np.full((5, 7), 9, np.uint8)).save(folder / f"{'i' * 246}.png")
    cache = tmp_path / "cache"
    assert decode(open_dataset(tmp_path / name), cache_dir=cache).image("i" * 246).shape == (5, 7, 1)
    Pillow.fromarray(np.full((6, 7), 9, np.uint8)).save(folder / "b.png")
    assert decode(open_dataset(tmp_path / name), cache_dir=cache).shape("b") == (6, 7, 1)
    assert len(list(cache.iterdir())) == 1  # the state before is gone
