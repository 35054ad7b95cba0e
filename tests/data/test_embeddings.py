"""An embedding cache gives back what was put in, goes on after a kill, and names what is stale or damaged."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from segmed.core.errors import DataError
from segmed.data.embeddings import EmbeddingCache, EmbeddingKey, EmbeddingPlan
from segmed.data.embeddings import build as building
from segmed.data.embeddings import plan as planning
from segmed.data.embeddings.build import alone, fill, require_room, require_same_plan, whole_shards
from segmed.data.embeddings.plan import Entry, shard_path
from segmed.layers.embedding import Embedding

KEY = EmbeddingKey("d" * 64, "w" * 64, {"normalisation": "minmax", "size": [32, 32]})
ENTRIES: tuple[Entry, ...] = tuple((f"case_{number}", view) for number in range(5) for view in ("identity", "hflip"))
PLAN = EmbeddingPlan(KEY, ENTRIES, ((3, 2, 4),), "32-true")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SHARD_ENTRIES", 4)


def value_of(entry: Entry) -> torch.Tensor:
    return torch.full(PLAN.shapes[0], float(ENTRIES.index(entry)))


def encode(entries: Sequence[Entry]) -> Embedding:
    return Embedding((torch.stack([value_of(entry) for entry in entries]),))


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return fill(PLAN, tmp_path / "cache", encode, batch=3)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_every_view_of_every_slice_comes_back(cache: EmbeddingCache) -> None:
    for entry in ENTRIES:
        assert torch.equal(cache.embedding(*entry).first[0], value_of(entry).half())


def test_an_entry_takes_two_bytes_a_number_so_a_slice_at_1024_takes_2_mib() -> None:
    assert replace(PLAN, shapes=((256, 64, 64),)).entry_bytes == 2 * 2**20
    assert replace(PLAN, shapes=((256, 16, 16),)).entry_bytes == 128 * 2**10


def test_shards_are_plain_safetensors_of_half_precision(cache: EmbeddingCache) -> None:
    with safe_open(shard_path(cache.folder, 1), "pt") as shard:
        assert set(shard.keys()) == {
            f"0:{view}:case_{slice_id}" for view in ("identity", "hflip") for slice_id in (2, 3)
        }
        assert shard.get_tensor("0:hflip:case_2").dtype == torch.float16


def test_views_are_those_that_all_slices_have(tmp_path: Path) -> None:
    cache = fill(replace(PLAN, entries=ENTRIES[:-1]), tmp_path, encode)
    assert cache.views(["case_0", "case_1"]) == ("identity", "hflip")
    assert cache.views(["case_0", "case_4"]) == ("identity",)


def test_it_travels_to_another_process_as_its_folder(cache: EmbeddingCache) -> None:
    cache.embedding("case_0")
    sent = pickle.dumps(cache)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent).embedding("case_1").first[0], value_of(("case_1", "identity")).half())


def test_what_is_whole_is_not_made_again(cache: EmbeddingCache) -> None:
    shard_path(cache.folder, 1).unlink()
    asked: list[Entry] = []

    def watched(entries: Sequence[Entry]) -> Embedding:
        asked.extend(entries)
        return encode(entries)

    whole, damaged = whole_shards(PLAN, cache.folder)
    seen: list[tuple[int, int]] = []
    fill(PLAN, cache.folder, watched, whole=whole, batch=3, progress=lambda done, total: seen.append((done, total)))
    assert (whole, damaged, asked) == ([0, 2], [], list(ENTRIES[4:8]))
    assert seen == [(3, 4), (4, 4)]


SCRIPT = """
import os, signal, sys
from pathlib import Path
import test_embeddings as t
from segmed.data.embeddings import plan
plan.SHARD_ENTRIES = 4
def encode(entries):
    if t.ENTRIES.index(entries[0]) >= 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return t.encode(entries)
with t.alone(Path(sys.argv[1])):
    t.fill(t.PLAN, Path(sys.argv[1]), encode, batch=2)
"""


def test_a_build_killed_in_a_shard_keeps_the_shards_before_and_goes_on(tmp_path: Path) -> None:
    beside = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path], check=False, env=os.environ | {"PYTHONPATH": beside}
    )
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match=r"2 of 3 shards are not there yet\. Run the same"):
        EmbeddingCache(tmp_path)
    (tmp_path / ".segmed-part-x1.safetensors").write_bytes(b"half")
    with alone(tmp_path):
        whole, damaged = whole_shards(PLAN, tmp_path)
        cache = fill(PLAN, tmp_path, encode, whole=whole)
    assert (whole, damaged) == ([0], [])
    assert torch.equal(cache.embedding("case_4", "hflip").first[0], value_of(("case_4", "hflip")).half())
    assert not list(tmp_path.glob(".segmed-part-*"))


def test_two_processes_do_not_fill_one_cache(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(DataError, match="another process is filling"), alone(tmp_path):
        pass


def test_a_cache_cannot_take_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(DataError, match=r"cache: cannot be written"), alone(tmp_path / "cache"):
        pass


def test_a_damaged_embedding_is_named_when_it_is_read(cache: EmbeddingCache) -> None:
    damage(shard_path(cache.folder, 1))
    assert EmbeddingCache(cache.folder).embedding("case_0") is not None
    message = r"shard-00001\.safetensors: holds a damaged embedding of slice case_3\. Run the same `segmed embed` again"
    with pytest.raises(DataError, match=message):
        EmbeddingCache(cache.folder).embedding("case_3")


@pytest.mark.parametrize(
    "harm",
    [
        damage,
        lambda path: os.truncate(path, path.stat().st_size - 5),
        lambda path: os.truncate(path, 0),
        lambda path: path.write_bytes(b"\xff" * 300),
    ],
    ids=["a flipped bit", "cut short", "empty", "not safetensors"],
)
def test_a_shard_that_is_not_whole_is_found_and_made_anew(cache: EmbeddingCache, harm: Callable[[Path], None]) -> None:
    harm(shard_path(cache.folder, 1))
    whole, damaged = whole_shards(PLAN, cache.folder)
    assert whole == [0, 2]
    assert "shard-00001" in damaged[0]
    again = fill(PLAN, cache.folder, encode, whole=whole)
    assert torch.equal(again.embedding("case_3").first[0], value_of(("case_3", "identity")).half())


def test_a_shard_of_another_cache_is_not_taken_for_ones_own(cache: EmbeddingCache, tmp_path: Path) -> None:
    other = fill(replace(PLAN, precision="bf16-mixed"), tmp_path / "other", encode)
    shutil.copy(shard_path(other.folder, 1), shard_path(cache.folder, 1))
    with pytest.raises(DataError, match="belongs to another cache"):
        EmbeddingCache(cache.folder).embedding("case_3")


@pytest.mark.parametrize(
    ("key", "what"),
    [
        (replace(KEY, weights="v" * 64), "another encoder's weights"),
        (replace(KEY, data="e" * 64), r"other data \(d+, not e+\)"),
        (replace(KEY, preprocess={**KEY.preprocess, "size": [64, 64]}), r"size \[32, 32\], not \[64, 64\]"),
    ],
    ids=["weights", "data", "preprocessing"],
)
def test_a_stale_cache_is_refused_in_training_and_is_not_overwritten(
    cache: EmbeddingCache, key: EmbeddingKey, what: str
) -> None:
    with pytest.raises(DataError, match=rf"embeddings are stale, they are of .*{what}"):
        cache.require(key, ["case_0"])
    with pytest.raises(DataError, match=rf"holds embeddings of .*{what}.*Choose another folder"):
        require_same_plan(replace(PLAN, key=key), cache.folder)


def test_a_cache_of_other_views_or_arithmetic_is_not_overwritten(cache: EmbeddingCache) -> None:
    with pytest.raises(DataError, match=r"other slices or views \(10 embeddings, not 4\)"):
        require_same_plan(replace(PLAN, entries=ENTRIES[:4]), cache.folder)
    with pytest.raises(DataError, match="another arithmetic"):
        require_same_plan(replace(PLAN, precision="bf16-mixed"), cache.folder)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="holds files, but no embedding cache"):
        require_same_plan(PLAN, tmp_path)


def test_a_slice_that_is_missing_is_named_with_what_to_do(cache: EmbeddingCache) -> None:
    with pytest.raises(DataError, match=r"lacks 1 of 2 slices, such as nobody\..*or without --split"):
        cache.require(KEY, ["case_0", "nobody"])


def test_a_cache_larger_than_its_cap_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"takes 2\.\d+ GiB, more than --max-gib 2\."):
        require_room(replace(PLAN, shapes=((256, 1024, 512),)), tmp_path, missing=10, max_gib=2.0)


def test_a_disk_without_room_for_what_is_missing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "SPARE", 0)
    usage = type("Usage", (), {"free": 4 * PLAN.entry_bytes})
    monkeypatch.setattr(building.shutil, "disk_usage", lambda path: usage)
    require_room(PLAN, tmp_path / "not" / "there", missing=4, max_gib=None)
    with pytest.raises(DataError, match=r"still to be written, but the disk has .* free"):
        require_room(PLAN, tmp_path, missing=5, max_gib=None)


def test_values_that_half_precision_cannot_hold_are_an_error_with_the_slice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="case_0: its embedding is not finite in half precision"):
        fill(PLAN, tmp_path, lambda entries: Embedding((encode(entries).first + 70_000,)))


def test_a_folder_without_an_index_is_no_cache(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"index of an embedding cache made by `segmed embed`"):
        EmbeddingCache(tmp_path)


def test_embeddings_are_copies_that_may_be_written_to(cache: EmbeddingCache) -> None:
    cache.embedding("case_1").first.zero_()
    assert np.all(cache.embedding("case_1").first.numpy() == 2)
