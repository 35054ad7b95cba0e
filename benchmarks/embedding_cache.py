"""What an epoch of decoder-only fine-tuning costs from an embedding cache, beside the loop that encodes in every step.

SAM's ViT-B at 1024 pixels with random weights, batch 2, one box per slice, the focal loss on the decoder's own mask
grid: the loop of the fine-tuning tutorials, in float32 as published and in bf16, against the same steps from cached
embeddings. All use our decoder, so that the ratio is the cache's alone; the decoder is compared with transformers'
beside it. A few steps of each are timed, alternately, from loading the batch to the optimiser's step, and scaled by
the steps of an epoch. Beside wall time the processor time of all threads is kept: it says what a step costs however
busy the machine is, and the ratios on a CPU are taken from it.

    python benchmarks/embedding_cache.py --out benchmarks/results/embedding-cache.json
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from segmed.core.files import write_json
from segmed.core.provenance import commit, machine, versions
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.embeddings import EmbeddingCache
from segmed.data.phantom import write_phantom
from segmed.data.sources import open_dataset
from segmed.data.splits import split_by_patient
from segmed.inference.embedding import EmbeddingCost, embed
from segmed.layers.embedding import Embedding
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.sam.network import PromptableSam
from segmed.prompts.value import Prompts
from segmed.training.build import prepare
from segmed.training.recipe import Recipe, recipe_from_mapping

BATCH = 2
SETTINGS = {
    "model": {"name": "sam-vit-b", "encoder": "vit-b", "encoder_weights": "none"},
    "augment": "none",
    "loss": {"name": "focal"},
    "sampling": {"batch_size": BATCH, "positive_share": None, "steps_per_epoch": 1000},
    "prompting": {
        "mix": {"jitter:20@1024": 1.0}, "objects": 1, "decoys": 0.0, "promptless": 0.0, "compare_at": "mask",
        "iou_weight": 0.0,
    },
    "ema_decay": 0.0,
}  # fmt: skip


def recipe_at(side: int) -> Recipe:
    """The tutorial's model and loss in our recipe."""
    sam = {"size": side, "trains": "decoder", "box_map": False, "promptless_tokens": 0, "presence": False}
    values = {**SETTINGS, "preprocess": {"size": [side, side]}, "model": {**SETTINGS["model"], "sam": sam}}  # type: ignore[dict-item]
    return recipe_from_mapping(values, source="benchmark")


class Loop:
    """Steps of training, one at a time, from loading the batch to the optimiser's step."""

    def __init__(self, module: Any, loader: Any, device: torch.device, *, bf16: bool) -> None:
        self.module, self.device, self.bf16 = module, device, bf16
        self._batches: Iterator[Any] = iter(loader)
        trained = [parameter for parameter in module.model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, lr=1e-5)
        self._done = 0

    def step(self) -> tuple[float, float]:
        """Take one; wall and processor seconds."""
        _wait(self.device)
        started = _now()
        batch = next(self._batches).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self.module.objective.loss(self.module.model, batch, seed=self._done)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        _wait(self.device)
        self._done += 1
        return _since(started)


def decoder_seconds(model: PromptableSam, device: torch.device, repeats: int) -> dict[str, Any]:
    """Seconds of a decoding of two boxes with its way back: transformers' decoder and ours, float32 and bf16."""
    embedding = torch.randn(BATCH, 256, model.grid, model.grid, device=device)
    boxes = [Prompts(boxes=[(100, 100, 300, 300)])] * BATCH
    prompts = ObjectPrompts.of(boxes).to(device)

    def ours() -> torch.Tensor:
        return model.decode(Embedding((embedding,)), prompts).logits

    def theirs() -> torch.Tensor:
        sparse, dense = model.prompt_encoder(None, None, prompts.boxes[:, None], None)
        logits: torch.Tensor = model.mask_decoder(embedding, model._position(), sparse, dense, multimask_output=False)[
            0
        ]
        return logits.float()

    with torch.inference_mode():
        difference = (ours() - theirs()[:, 0, 0]).abs().max().item()
    found: dict[str, list[tuple[float, float]]] = {}
    for repeat in range(repeats + 1):
        for name, run, bf16 in (
            ("transformers_float32", theirs, False), ("transformers_bf16", theirs, True),
            ("ours_float32", ours, False), ("ours_bf16", ours, True),
        ):  # fmt: skip
            seconds = _timed(run, device, bf16=bf16)
            model.zero_grad()
            if repeat:
                found.setdefault(name, []).append(seconds)
    return {**_medians(found), "largest_difference_of_float32_logits": difference}


def measure(side: int, device: torch.device, options: argparse.Namespace) -> dict[str, Any]:
    """Build a cache of a few slices and time steps of each loop."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_phantom(root / "data", patients=3, seed=0, size=256)
        data = decode(open_dataset(root / "data"), cache_dir=root / "decoded")
        recipe, split = recipe_at(side), split_by_patient(data, ratios=(0.34, 0.33, 0.33))
        slice_ids = _with_tumour(data, split.fold(0).train)[: options.slices]
        partition = type(split.fold(0))(slice_ids, slice_ids[:1], split.fold(0).test)
        split = type(split)(split.strategy, 0, split.data_hash, False, split.patient_of, (partition,))
        module, loaders = prepare(recipe, data=data, split=split, fold=0)
        module.to(device)
        cache, built, planned = _built(module.model, recipe, data, slice_ids, root / "cache", device)
        cached_module, cached = prepare(recipe, data=data, split=split, fold=0, embeddings=cache)
        cached_module.to(device)
        loops = {
            "published_float32": Loop(module, loaders[0], device, bf16=False),
            "published_bf16": Loop(module, loaders[0], device, bf16=True),
            "cached_bf16": Loop(cached_module, cached[0], device, bf16=True),
            "cached_float32": Loop(cached_module, cached[0], device, bf16=False),
        }
        counts = {name: options.cached if "cached" in name else options.published for name in loops}
        for name in ("cached_bf16", "cached_float32"):
            loops[name].step()
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
        for turn in range(options.published):
            for name, loop in loops.items():
                share = range(turn * counts[name] // options.published, (turn + 1) * counts[name] // options.published)
                times[name].extend(loop.step() for _ in share)
        decoder = decoder_seconds(cached_module.model, device, options.cached)
    steps = _medians(times)
    kind = "wall" if device.type == "cuda" else "processor"
    cost = {name: seconds[kind] / BATCH for name, seconds in steps.items()}
    return {
        "steps_timed": counts,
        "seconds_per_step": steps,
        "cost_is": f"{kind} seconds per slice",
        "cost": cost,
        "cost_of_an_epoch_of_1000_slices": {name: 1000 * seconds for name, seconds in cost.items()},
        "times_cheaper_than_published_float32": cost["published_float32"] / cost["cached_bf16"],
        "times_cheaper_than_published_bf16": cost["published_bf16"] / cost["cached_bf16"],
        "cache": {
            "seconds_per_slice": {name: seconds / len(slice_ids) for name, seconds in built.items()},
            "mib_per_slice": planned.entry_bytes / 2**20,
            "slices": len(slice_ids),
        },
        "decoder_seconds_for_2_boxes": decoder,
    }  # fmt: skip


def _with_tumour(data: DecodedDataset, slice_ids: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(slice_id for slice_id in slice_ids if data.mask(slice_id).any())


def _built(
    model: Any, recipe: Recipe, data: DecodedDataset, slice_ids: tuple[str, ...], out: Path, device: torch.device
) -> tuple[EmbeddingCache, dict[str, float], EmbeddingCost]:
    """The cache, the seconds that its pass took (measuring before it not counted), and what was announced."""
    told: list[tuple[tuple[float, float], EmbeddingCost]] = []
    entries = [(slice_id, "identity") for slice_id in slice_ids]
    cache = embed(
        model, recipe.preprocess, data=data, entries=entries, out=out, precision="bf16-mixed", device=device,
        announce=lambda cost: told.append((_now(), cost)),
    )  # type: ignore[arg-type]  # fmt: skip
    wall, processor = _since(told[0][0])
    return cache, {"wall": wall, "processor": processor}, told[0][1]


def _timed(run: Callable[[], torch.Tensor], device: torch.device, *, bf16: bool) -> tuple[float, float]:
    _wait(device)
    started = _now()
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        logits = run()
    logits.square().mean().backward()
    _wait(device)
    return _since(started)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(started: tuple[float, float]) -> tuple[float, float]:
    """Wall and processor seconds since then."""
    return time.perf_counter() - started[0], time.process_time() - started[1]


def _medians(times: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, float]]:
    """The median of wall and of processor seconds, by name."""
    return {
        name: {kind: statistics.median(row[place] for row in rows) for place, kind in enumerate(("wall", "processor"))}
        for name, rows in times.items()
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--published", type=int, default=2, help="steps of each loop that encodes")
    parser.add_argument("--cached", type=int, default=10, help="steps of each loop from the cache")
    parser.add_argument("--slices", type=int, default=4, help="slices in the cache")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    found = measure(options.size, torch.device(options.device), options)
    result = {
        "model": "sam-vit-b, random weights, decoder only",
        "size": options.size,
        "batch": BATCH,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else machine(),
        "commit": commit(),
        "versions": versions(),
        **found,
    }
    write_json(options.out, result)
    for key, value in found.items():
        print(key, value)


if __name__ == "__main__":
    main()
