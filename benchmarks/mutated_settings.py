"""Damaged settings and tables: a sound file for every reader of text and weights, and seeded ways to damage them."""

import copy
import io
import json
import random
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file

from damage import Tally
from segmed.core.errors import SegmedError
from segmed.core.files import write_json, write_table
from segmed.core.labels import LabelMap
from segmed.core.pseudonyms import Pseudonyms
from segmed.core.split import Partition, Split
from segmed.data.check.hashes import check_hashes, write_hashes
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.embeddings.plan import EmbeddingKey, EmbeddingPlan, entry_name, shard_path
from segmed.data.embeddings.shard import Shard, write_shard
from segmed.data.imported import import_split
from segmed.data.layouts.fairseg_facts import facts_of
from segmed.data.listing import Findings
from segmed.data.oof_maps import MapFile, ProposalMaps, write_index, write_maps
from segmed.data.sources import open_dataset
from segmed.evaluation.evaluate import evaluate
from segmed.evaluation.report.history import read_history
from segmed.evaluation.result import Evaluation
from segmed.evaluation.volume import PatientVolume
from segmed.inference.cascade import read_cascade
from segmed.inference.ensemble import read_ensemble
from segmed.inference.prompt_files import read_given
from segmed.layers.featup import JBUStack, load_published
from segmed.layers.weight_files import read_safetensors
from segmed.models.checkpoint import RunConfig, load_config
from segmed.models.config import ModelConfig
from segmed.models.sam.checkpoint_formats import read_source
from segmed.models.training_facts import TrainingFacts
from segmed.preprocess import PreprocessConfig
from segmed.study.settings import StudySettings, load_settings, save_settings
from segmed.training.recipe import Recipe, load_recipe, save_recipe
from segmed.training.resume import RunInputs, begin, require_place

OUTCOMES = ("value", "refused", "other error")
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, 1e999, 10**400, 2**70, "", "x" * 5000, "a\0b", "\ud800", "../..", "/etc", "nan", "=1",
    "2024-13-45", [], {}, [[]], {"a": 1},
)  # fmt: skip
"""What is put in place of values of JSON."""
PIECES = (b"\xff", b"\0", b"\r", b'"', b",", b"\n", b"nan", b"-inf", b"1e999", b"2024-99-99")
"""What is put between bytes."""


@dataclass(frozen=True)
class Reader:
    """A sound file, and what reads it."""

    kind: str
    path: Path
    read: Callable[[], object]
    named: str = ""
    """The folder that an error may name instead of the file or the folder that it lies in."""


def readers(folder: Path) -> list[Reader]:
    """A sound file of every kind, below `folder`."""
    return [*_settings(folder), *_data(folder), *_tables(folder), *_weights(folder)]


def run(folder: Path, number: int, seed: int) -> dict[str, Tally]:
    """Read `number` damaged files and count what comes of it, by kind of file.

    Args:
        folder: Where the files are written.
        number: How many in all; every kind has an equal share.
        seed: Of the damages.

    Returns:
        A tally for each kind. `failures` holds errors that are no `SegmedError`, or one that does not name the file (or
        the folder that it makes) on one line.
    """
    sound, tallies = readers(folder), dict[str, Tally]()
    for reader in sound:
        tally = tallies.setdefault(reader.kind, Tally())
        content = reader.path.read_bytes()
        reader.read()  # the sound file is one
        rng = random.Random(f"{seed} {reader.kind}")
        for count in range(-(-number // len(sound))):
            reader.path.write_bytes(damaged(content, rng))
            started = time.monotonic()
            outcome, detail = _outcome(reader)
            tally.slowest = max(tally.slowest, time.monotonic() - started)
            tally.outcomes[outcome] += 1
            if detail:
                tally.failures.append(f"{reader.kind}, {count}: {detail}")
        reader.path.write_bytes(content)
    return tallies


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file with one to three values of its JSON, or stretches of its bytes, changed."""
    if content[:1] in b"{[" and rng.random() < 0.6:
        value = json.loads(content)
        for _ in range(rng.randint(1, 2)):
            value = _changed(value, rng)
        return json.dumps(value).encode("utf-8", "surrogatepass")
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        _damage(changed, rng)
    return bytes(changed)


def _changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict | list) and value and rng.random() < 0.8:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if rng.random() < 0.15:
            del value[key]
        else:
            value[key] = _changed(value[key], rng)
        return value
    return copy.deepcopy(rng.choice(ODD))


def _damage(content: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(content) + 1)
    kind = rng.randrange(9)
    if kind == 0:
        del content[place : place + rng.randint(1, 40)]
    elif kind == 1 and place < len(content):
        content[place] ^= 1 << rng.randrange(8)
    elif kind == 2:
        content[place:place] = rng.choice([b"[", b"{", b"&a ", b"*a", b"!!int ", b"- "]) * rng.choice([1, 300, 3000])
    elif kind == 3:
        content[place:place] = b"9" * rng.choice([1, 400, 5000])
    elif kind == 4:
        content[place:place] = rng.choice(PIECES)
    elif kind == 5:
        content[place:place] = b"x" * 140_000
    elif kind == 6:
        del content[place:]
    elif kind == 7:
        start = rng.randrange(len(content) + 1)
        content[place:place] = content[start : start + 200]
    else:
        content[place:place] = rng.randbytes(4)


def _outcome(reader: Reader) -> tuple[str, str]:
    """What became of a file, and what is wrong with that."""
    try:
        reader.read()
    except SegmedError as error:
        text = str(error)
        if "\n" in text:
            return "refused", f"not on one line: {text[:200]!r}"
        named = any(name and name in text for name in (reader.path.name, reader.path.parent.name, reader.named))
        return "refused", "" if named else f"names no file: {text[:200]!r}"
    except Exception as error:
        frames = [each for each in traceback.extract_tb(error.__traceback__) if "segmed" in each.filename]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        return "other error", f"{type(error).__name__} at {where}: {str(error)[:160]!r}"
    return "value", ""


CONFIG = RunConfig(
    model=ModelConfig(),
    preprocess=PreprocessConfig(),
    labels=LabelMap(),
    threshold=0.5,
    training=TrainingFacts(seconds=1.0, others={"seed": 0}),
    seen={"train": ["ab"], "validation": ["0123456789ab:cd"]},
)


def _settings(folder: Path) -> Iterator[Reader]:
    """What runs and studies keep."""
    run = folder / "run"
    write_json(run / "config.json", CONFIG.to_json())
    (run / "model.safetensors").touch()
    yield Reader("run: config.json", run / "config.json", lambda: load_config(run))
    header = "epoch,step,train/loss,validation/dice,threshold,seconds"
    (run / "metrics.csv").write_text(f"{header}\n0,10,0.5,0.4,0.5,1\n1,20,0.4,0.5,0.5,1\n")
    yield Reader("run: metrics.csv", run / "metrics.csv", lambda: read_history(run))
    member = {"folder": "../run", "config_sha256": "ab", "weights_sha256": "cd"}
    ensemble = folder / "ensemble"
    write_json(ensemble / "ensemble.json", {"format": 1, "members": [member], "config": CONFIG.to_json()})
    yield Reader("ensemble.json", ensemble / "ensemble.json", lambda: read_ensemble(ensemble))
    cascade, other = folder / "cascade", {"folder": "../run", "weights": "ab"}
    write_json(cascade / "cascade.json", {"format": 1, "settings": {}, "dense": other, "promptable": other})
    yield Reader("cascade.json", cascade / "cascade.json", lambda: read_cascade(cascade))
    recipe = folder / "recipe.yaml"
    save_recipe(recipe, Recipe())
    yield Reader("recipe.yaml", recipe, lambda: load_recipe(recipe))
    study = folder / "study"
    save_settings(study, StudySettings(protocol="both", budget="cpu"), "ab")
    yield Reader("study.json", study / "study.json", lambda: load_settings(study))
    key = folder / "key" / ".segmed-pseudonyms.key"
    Pseudonyms.of_data(key.parent)
    yield Reader("key of pseudonyms", key, lambda: Pseudonyms.of_data(key.parent))


def _decoded(folder: Path) -> DecodedDataset:
    root = folder / "data"
    for number in range(6):
        mask = np.zeros((9, 7), np.uint8)
        mask[2:5, 2 : 4 + number % 3] = 255
        for place, pixels in (("images", np.full((9, 7), 20 + number, np.uint8)), ("masks", mask)):
            path = root / place / f"p{number}_1.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(pixels).save(path)
    return decode(open_dataset(root, patient_regex="^([^_]+)_"), cache_dir=folder / "decoded")


def _data(folder: Path) -> Iterator[Reader]:
    """Splits, caches, and what is kept of a data set."""
    data = _decoded(folder)
    slice_ids = [record.slice_id for record in data.dataset.records]
    patient_of = {record.slice_id: record.patient for record in data.dataset.records}
    parts = (tuple(slice_ids[:2]), tuple(slice_ids[2:4]), tuple(slice_ids[4:]))
    split = Split("patient", 0, data.data_hash, False, patient_of, (Partition(*parts),))
    split.save(folder / "split.json")
    yield Reader("split.json", folder / "split.json", lambda: Split.load(folder / "split.json"))
    run = folder / "begun"
    inputs = RunInputs(Recipe(), split, data)
    begin(run, inputs, resume=False)

    for name in ("resume/begun.json", "recipe.yaml", "split.json"):
        path = run / name
        yield Reader(
            f"unfinished run: {path.name}",
            path,
            lambda: require_place(run, inputs, resume=True),
            run.name,
        )
    (index,) = (folder / "decoded").glob("*/index.json")

    def images() -> None:
        again = DecodedDataset(data.dataset, index.parent)
        for slice_id in slice_ids:
            again.image(slice_id), again.mask(slice_id)

    yield Reader("decoded cache: index.json", index, images)
    yield from _lists(folder, data, parts)
    hashes = folder / "hashes.csv"
    write_hashes(hashes, data.dataset)
    yield Reader("hashes.csv", hashes, lambda: check_hashes(hashes, data.dataset, Findings()))
    embeddings = folder / "embeddings"
    embeddings.mkdir()
    plan = EmbeddingPlan(
        EmbeddingKey("d" * 64, "w" * 64, {"size": 64}), (("a", "identity"), ("b", "identity")), ((3, 2, 2),), "32"
    )
    plan.save(embeddings)
    yield Reader("embeddings: index.json", embeddings / "index.json", lambda: EmbeddingPlan.load(embeddings))
    shard = shard_path(embeddings, 0)
    write_shard(shard, {entry_name(each, 0): np.ones((3, 2, 2), np.float16) for each in plan.entries}, plan.digest)
    yield Reader("embeddings: shard", shard, lambda: [Shard(embeddings, plan, 0)[entry] for entry in plan.entries])
    yield from _maps(folder / "maps", data)


def _lists(folder: Path, data: DecodedDataset, parts: tuple[tuple[str, ...], ...]) -> Iterator[Reader]:
    """Splits of others."""
    words = ("train", "validation", "test")
    rows = [[slice_id, word] for word, some in zip(words, parts, strict=True) for slice_id in some]
    write_table(folder / "lists.csv", ["slice_id", "split"], rows)
    write_json(folder / "lists.json", {word: list(some) for word, some in zip(words, parts, strict=True)})
    for name in ("lists.csv", "lists.json"):
        path = str(folder / name)
        yield Reader(f"split of others: {name}", folder / name, lambda path=path: import_split(data, path))


def _maps(folder: Path, data: DecodedDataset) -> Iterator[Reader]:
    maps = {record.slice_id: np.zeros((9, 7), np.uint8) for record in data.dataset.records}
    folder.mkdir()
    write_maps(folder / "fold-0.safetensors", maps, ["ab"])

    def described() -> MapFile:
        from segmed.core.files import sha256_of

        return MapFile("fold-0.safetensors", sha256_of(folder / "fold-0.safetensors"), ("ab",), ("x",), ("y",), ("p0",))

    write_index(folder, [described()], data_hash=data.data_hash)

    def read() -> None:
        found = ProposalMaps(folder)
        for slice_id in found.slice_ids:
            found.map(slice_id)

    yield Reader("out-of-fold maps: maps.json", folder / "maps.json", read)
    yield Reader("out-of-fold maps: maps", folder / "fold-0.safetensors", read)


def _tables(folder: Path) -> Iterator[Reader]:
    """What users write, and what an evaluation holds."""
    (folder / "boxes.csv").write_text("file,x0,y0,x1,y1\na.png,1,2,3,4\nb.png,1,2,3,5\n")
    (folder / "points.csv").write_text("file,x,y,label,object\na.png,1,2,1,0\nb.png,1,2,0,0\nb.png,2,2,1,0\n")
    asked = {"a.png": {"boxes": [[1, 2, 3, 4]], "points": [[1, 2]], "labels": [1], "objects": [0]}}
    write_json(folder / "prompts.json", asked)
    for name in ("boxes.csv", "points.csv", "prompts.json"):
        yield Reader(f"prompts: {name}", folder / name, lambda path=folder / name: read_given(path))
    header = ["slice_id", "patient", "image", "mask", "slice", "sex"]
    rows = [
        [f"c{number}", f"p{number}", f"data/images/p{number}_1.png", f"data/masks/p{number}_1.png", number, sex]
        for number, sex in ((1, "f"), (2, "m"))
    ]
    write_table(folder / "manifest.csv", header, rows)
    write_json(folder / "manifest.json", [dict(zip(header, row, strict=True)) for row in rows])
    for name in ("manifest.csv", "manifest.json"):
        yield Reader(name, folder / name, lambda path=folder / name: open_dataset(path))
    yield from _clinical(folder)
    result = folder / "evaluation"
    mask = np.zeros((9, 7), np.uint8)
    mask[2:5, 2:5] = 1
    volumes = [
        PatientVolume(
            patient=f"p{i}",
            slice_ids=(f"p{i}_1",),
            reference=[mask],
            prediction=[np.roll(mask, i, 0)],
            slice_indices=(1,),
        )
        for i in range(3)
    ]
    evaluate(volumes, LabelMap(), name="x", resamples=50).save(result)
    for name in ("evaluation.json", "patients.csv", "slices.csv"):
        yield Reader(f"evaluation: {name}", result / name, lambda: Evaluation.load(result))


def _clinical(folder: Path) -> Iterator[Reader]:
    """Facts of patients beside LGG's images, and in FairSeg's files."""
    study = folder / "lgg" / "TCGA_AA_0001_20000101"
    study.mkdir(parents=True)
    for name in ("TCGA_AA_0001_20000101_1.tif", "TCGA_AA_0001_20000101_1_mask.tif"):
        Pillow.fromarray(np.zeros((9, 7), np.uint8)).save(study / name)
    table = folder / "lgg" / "data.csv"
    table.write_text("Patient,gender,age_at_initial_pathologic\nTCGA_AA_0001,1,40\nTCGA_AA_0002,2,50\n")
    yield Reader("LGG: data.csv", table, lambda: open_dataset(folder / "lgg"))
    stream, image = io.BytesIO(), np.zeros((9, 7), np.uint8)
    np.savez(stream, slo_fundus=image, disc_cup_mask=image.astype(np.float32), age=61.0, gender=1, race=2, language=0)
    npz = folder / "data_00001.npz"
    npz.write_bytes(stream.getvalue())
    yield Reader("FairSeg: facts", npz, lambda: facts_of(npz))


def _weights(folder: Path) -> Iterator[Reader]:
    """Weights of others and of ours, small ones."""
    torch.manual_seed(0)
    stack = JBUStack(3)
    jbu = folder / "jbu.pth"
    torch.save({"state_dict": {f"upsampler.{name}": value for name, value in stack.state_dict().items()}}, jbu)
    yield Reader("FeatUp: .pth", jbu, lambda: load_published(JBUStack(3), jbu))
    sam = folder / "sam.pth"
    torch.save({name: torch.zeros(3, 2) for name in _SAM}, sam)
    yield Reader("SAM: .pth", sam, lambda: read_source(sam))
    file = folder / "weights.safetensors"
    save_file({"a.weight": torch.arange(35.0).reshape(5, 7), "b": torch.ones(3)}, file)
    yield Reader("weights: .safetensors", file, lambda: read_safetensors(file))


_SAM = (
    "image_encoder.pos_embed", "image_encoder.patch_embed.proj.weight", "image_encoder.blocks.0.norm1.weight",
    "prompt_encoder.no_mask_embed.weight", "mask_decoder.iou_token.weight",
)  # fmt: skip
